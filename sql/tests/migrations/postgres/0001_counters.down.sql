DROP TABLE things;
DROP TABLE counters;
