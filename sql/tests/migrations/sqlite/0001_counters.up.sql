PRAGMA application_id = 0x53434C54; -- "SCLT"

CREATE TABLE counters (name TEXT NOT NULL PRIMARY KEY, value INTEGER NOT NULL CHECK (value < 1000000)) STRICT;
CREATE TABLE things (
    id      INTEGER NOT NULL PRIMARY KEY,
    counter TEXT REFERENCES counters (name),
    real    REAL,
    flag    INTEGER,
    text    TEXT,
    bytes   BLOB,
    uuid    BLOB,
    day     TEXT,
    millis  INTEGER,
    moment  INTEGER,
    json    TEXT
) STRICT;
