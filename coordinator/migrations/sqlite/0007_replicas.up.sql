-- Rounds that any number of processes may work on: what a step needs is in its rows, and work is leased from rows.

-- When the round's times were last compared with the clock: a long gap says that nobody heard the devices.
ALTER TABLE rounds ADD COLUMN looked_at INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX rounds_one_open ON rounds (task) WHERE closed_at IS NULL;

-- What a session's stage still takes: everything; uploads that were whole in time; nothing.
ALTER TABLE sessions ADD COLUMN gate TEXT NOT NULL DEFAULT 'open' CHECK (gate IN ('open', 'closing', 'frozen'));

-- Without the order of arrival: what a stage has fixed does not depend on it.
CREATE TABLE messages (
    session BLOB    NOT NULL REFERENCES sessions (id),
    stage   INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 4),
    device  BLOB    NOT NULL CHECK (length(device) = 16),
    payload BLOB    NOT NULL,
    PRIMARY KEY (session, stage, device)
) STRICT, WITHOUT ROWID;
INSERT INTO messages (session, stage, device, payload) SELECT session, stage, device, payload FROM session_messages;
DROP TABLE session_messages;

CREATE INDEX uploads_by_state ON uploads (session, state);

-- Effects of steps, kept in the step's transaction and done by whoever leases them.
CREATE TABLE work (
    id         TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL,
    round      BLOB    NOT NULL REFERENCES rounds (id),
    session    BLOB    CHECK (length(session) = 16),
    stage      INTEGER CHECK (stage BETWEEN 0 AND 4),
    run_after  INTEGER NOT NULL,
    lease      BLOB    CHECK (length(lease) = 16),
    leased_until INTEGER CHECK ((leased_until IS NULL) = (lease IS NULL)),
    attempts   INTEGER NOT NULL
) STRICT;
CREATE INDEX work_by_time ON work (run_after);
