-- The coordinator's rows. Ids are 16-byte blobs, digests and keys 32-byte blobs, times milliseconds since 1970.
PRAGMA application_id = 0x53434C46; -- "SCLF"

CREATE TABLE devices (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    identity_key BLOB    NOT NULL UNIQUE CHECK (length(identity_key) = 32),
    enrolled_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    id              TEXT    NOT NULL PRIMARY KEY,
    config          TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('active', 'paused', 'finished')),
    created_at      INTEGER NOT NULL,
    next_round      INTEGER NOT NULL CHECK (next_round >= 1),
    current_version INTEGER NOT NULL,
    last_opened_at  INTEGER,
    finished_rounds INTEGER NOT NULL
) STRICT;

CREATE TABLE rounds (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    task         TEXT    NOT NULL REFERENCES tasks (id),
    number       INTEGER NOT NULL,
    phase        TEXT    NOT NULL,
    base_version INTEGER NOT NULL,
    opened_at    INTEGER NOT NULL,
    closed_at    INTEGER,
    revision     INTEGER NOT NULL,
    state        TEXT    NOT NULL,
    plan         BLOB    NOT NULL,
    config       BLOB    NOT NULL,
    signature    BLOB    NOT NULL,
    UNIQUE (task, number)
) STRICT;
CREATE INDEX rounds_open ON rounds (opened_at) WHERE closed_at IS NULL;

CREATE TABLE participants (
    round        BLOB    NOT NULL REFERENCES rounds (id),
    device       BLOB    NOT NULL CHECK (length(device) = 16),
    identity_key BLOB    NOT NULL CHECK (length(identity_key) = 32),
    session      BLOB    CHECK (session IS NULL OR length(session) = 16),
    joined_at    INTEGER NOT NULL,
    seen_at      INTEGER NOT NULL,
    status       TEXT    NOT NULL CHECK (status IN ('admitted', 'left')),
    PRIMARY KEY (round, device),
    UNIQUE (round, identity_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX participants_of_device ON participants (device);

CREATE TABLE sessions (
    id       BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    round    BLOB    NOT NULL REFERENCES rounds (id),
    ordinal  INTEGER NOT NULL,
    stage    TEXT    NOT NULL,
    sum_blob TEXT,
    UNIQUE (round, ordinal)
) STRICT;

-- What devices sent, in the order of acceptance: replaying it rebuilds a session after a crash.
CREATE TABLE session_messages (
    session BLOB    NOT NULL REFERENCES sessions (id),
    seq     INTEGER NOT NULL,
    stage   INTEGER NOT NULL CHECK (stage BETWEEN 0 AND 4),
    device  BLOB    NOT NULL CHECK (length(device) = 16),
    payload BLOB    NOT NULL,
    PRIMARY KEY (session, seq),
    UNIQUE (session, stage, device)
) STRICT;

-- A part of a session's sum that is durable in the object store.
CREATE TABLE segments (
    id      TEXT    NOT NULL PRIMARY KEY,
    session BLOB    NOT NULL REFERENCES sessions (id),
    blob    TEXT    NOT NULL,
    uploads INTEGER NOT NULL
) STRICT;
CREATE INDEX segments_of_session ON segments (session);

-- Committed rows are the survivors: exactly these are in the sum.
CREATE TABLE uploads (
    session           BLOB    NOT NULL REFERENCES sessions (id),
    device            BLOB    NOT NULL CHECK (length(device) = 16),
    participant_index INTEGER NOT NULL,
    digest            BLOB    NOT NULL CHECK (length(digest) = 32),
    total             INTEGER NOT NULL,
    state             TEXT    NOT NULL CHECK (state IN ('staging', 'complete', 'committed')),
    segment           TEXT    CHECK ((segment IS NOT NULL) = (state = 'committed')),
    created_at        INTEGER NOT NULL,
    PRIMARY KEY (session, device)
) STRICT, WITHOUT ROWID;

CREATE TABLE models (
    task           TEXT    NOT NULL REFERENCES tasks (id),
    version        INTEGER NOT NULL,
    parent         INTEGER,
    round          BLOB    UNIQUE REFERENCES rounds (id),
    cohort         INTEGER NOT NULL,
    digest         BLOB    NOT NULL CHECK (length(digest) = 32),
    fingerprint    BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    bytes          INTEGER NOT NULL,
    blob           TEXT    NOT NULL,
    optimiser_blob TEXT,
    origin         TEXT    NOT NULL CHECK (origin IN ('initial', 'round', 'rollback')),
    created_at     INTEGER NOT NULL,
    PRIMARY KEY (task, version)
) STRICT;
