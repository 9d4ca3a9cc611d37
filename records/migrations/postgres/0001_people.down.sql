-- The roles, the schema `auth` and `auth.uid()` stay: others may use them.
DROP TABLE training_jobs;
DROP TABLE categories;
DROP TABLE uploaded_files;
DROP TABLE transactions;
REVOKE SELECT ON scale_records_migrations FROM PUBLIC;
