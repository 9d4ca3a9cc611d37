DROP TABLE training_jobs;
DROP TABLE categories;
DROP TABLE uploaded_files;
DROP TABLE transactions;
PRAGMA application_id = 0;
