DROP TABLE things;
DROP TABLE counters;
PRAGMA application_id = 0;
