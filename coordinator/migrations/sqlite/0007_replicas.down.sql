DROP TABLE work;
DROP INDEX uploads_by_state;
CREATE TABLE session_messages (
    session BLOB    NOT NULL REFERENCES sessions (id),
    seq     INTEGER NOT NULL,
    stage   INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 4),
    device  BLOB    NOT NULL CHECK (length(device) = 16),
    payload BLOB    NOT NULL,
    PRIMARY KEY (session, seq),
    UNIQUE (session, stage, device)
) STRICT;
INSERT INTO session_messages (session, seq, stage, device, payload)
    SELECT session, row_number() OVER (PARTITION BY session ORDER BY stage, device) - 1, stage, device, payload FROM messages;
DROP TABLE messages;
ALTER TABLE sessions DROP COLUMN gate;
DROP INDEX rounds_one_open;
ALTER TABLE rounds DROP COLUMN looked_at;
