-- The coordinator's rows. Ids are 16 bytes, digests and keys 32 bytes, times milliseconds since 1970.
CREATE TABLE devices (
    id           BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    identity_key BYTEA  NOT NULL UNIQUE CHECK (octet_length(identity_key) = 32),
    enrolled_at  BIGINT NOT NULL
);

-- Which secrets this database belongs to: one row, written at the first start.
CREATE TABLE identity (
    only_row   BIGINT NOT NULL PRIMARY KEY CHECK (only_row = 1),
    task_key   BYTEA  NOT NULL CHECK (octet_length(task_key) = 32),
    token_hash BYTEA  NOT NULL CHECK (octet_length(token_hash) = 32)
);

-- Enrollment tokens that enroll one key: those that were used and have not ended, and which key each of them enrolled.
CREATE TABLE used_tokens (
    id           BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    identity_key BYTEA  NOT NULL CHECK (octet_length(identity_key) = 32),
    expires_at   BIGINT NOT NULL
);
CREATE INDEX used_tokens_by_end ON used_tokens (expires_at);

CREATE TABLE tasks (
    id              TEXT   NOT NULL PRIMARY KEY,
    config          TEXT   NOT NULL,
    state           TEXT   NOT NULL CHECK (state IN ('active', 'paused', 'finished')),
    created_at      BIGINT NOT NULL,
    next_round      BIGINT NOT NULL CHECK (next_round >= 1),
    current_version BIGINT NOT NULL,
    last_opened_at  BIGINT,
    finished_rounds BIGINT NOT NULL
);

CREATE TABLE rounds (
    id           BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    task         TEXT   NOT NULL REFERENCES tasks (id),
    number       BIGINT NOT NULL,
    phase        TEXT   NOT NULL,
    base_version BIGINT NOT NULL,
    opened_at    BIGINT NOT NULL,
    closed_at    BIGINT,
    -- When the round's times were last compared with the clock: a long gap says that nobody heard the devices.
    looked_at    BIGINT NOT NULL,
    revision     BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    plan         BYTEA  NOT NULL,
    config       BYTEA  NOT NULL,
    signature    BYTEA  NOT NULL,
    UNIQUE (task, number)
);
CREATE UNIQUE INDEX rounds_one_open ON rounds (task) WHERE closed_at IS NULL;

CREATE TABLE participants (
    round        BYTEA  NOT NULL REFERENCES rounds (id),
    device       BYTEA  NOT NULL CHECK (octet_length(device) = 16),
    identity_key BYTEA  NOT NULL CHECK (octet_length(identity_key) = 32),
    session      BYTEA  CHECK (octet_length(session) = 16),
    joined_at    BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL,
    status       TEXT   NOT NULL CHECK (status IN ('admitted', 'left')),
    PRIMARY KEY (round, device),
    UNIQUE (round, identity_key)
);
CREATE INDEX participants_of_device ON participants (device);

CREATE TABLE sessions (
    id       BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 16),
    round    BYTEA  NOT NULL REFERENCES rounds (id),
    ordinal  BIGINT NOT NULL,
    stage    TEXT   NOT NULL,
    -- What the stage still takes: everything; uploads that were whole in time; nothing.
    gate     TEXT   NOT NULL CHECK (gate IN ('open', 'closing', 'frozen')),
    sum_blob TEXT,
    UNIQUE (round, ordinal)
);

-- What devices sent; replaying it rebuilds a session anywhere.
CREATE TABLE messages (
    session BYTEA  NOT NULL REFERENCES sessions (id),
    stage   BIGINT NOT NULL CHECK (stage BETWEEN 0 AND 4),
    device  BYTEA  NOT NULL CHECK (octet_length(device) = 16),
    payload BYTEA  NOT NULL,
    PRIMARY KEY (session, stage, device)
);

-- Random bytes: trying to compress them is lost time.
ALTER TABLE messages ALTER COLUMN payload SET STORAGE EXTERNAL;

-- A part of a session's sum that is durable in the object store.
CREATE TABLE segments (
    id      TEXT   NOT NULL PRIMARY KEY,
    session BYTEA  NOT NULL REFERENCES sessions (id),
    blob    TEXT   NOT NULL,
    uploads BIGINT NOT NULL
);
CREATE INDEX segments_of_session ON segments (session);

-- Committed rows are the survivors: exactly these are in the sum.
CREATE TABLE uploads (
    session           BYTEA  NOT NULL REFERENCES sessions (id),
    device            BYTEA  NOT NULL CHECK (octet_length(device) = 16),
    participant_index BIGINT NOT NULL,
    digest            BYTEA  NOT NULL CHECK (octet_length(digest) = 32),
    total             BIGINT NOT NULL,
    state             TEXT   NOT NULL CHECK (state IN ('staging', 'complete', 'committed')),
    segment           TEXT   CHECK ((segment IS NOT NULL) = (state = 'committed')),
    created_at        BIGINT NOT NULL,
    PRIMARY KEY (session, device)
);
CREATE INDEX uploads_by_state ON uploads (session, state);

CREATE TABLE models (
    task            TEXT   NOT NULL REFERENCES tasks (id),
    version         BIGINT NOT NULL,
    parent          BIGINT,
    round           BYTEA  UNIQUE REFERENCES rounds (id),
    cohort          BIGINT NOT NULL,
    digest          BYTEA  NOT NULL CHECK (octet_length(digest) = 32),
    fingerprint     BYTEA  NOT NULL CHECK (octet_length(fingerprint) = 32),
    bytes           BIGINT NOT NULL,
    blob            TEXT   NOT NULL,
    optimizer_blob  TEXT,
    origin          TEXT   NOT NULL CHECK (origin IN ('initial', 'round', 'rollback')),
    created_at      BIGINT NOT NULL,
    privacy         TEXT   CHECK (privacy IN ('none', 'example', 'distributed', 'local')),
    counted_through BIGINT CHECK ((counted_through IS NULL) = (privacy IS NULL)),
    noisy_rounds    BIGINT CHECK ((noisy_rounds IS NULL) = (privacy IS NULL)),
    rho_aggregate   BIGINT CHECK ((rho_aggregate IS NULL) = (privacy IS NULL)),
    rho_alone       BIGINT CHECK ((rho_alone IS NULL) = (privacy IS NULL)),
    clip            DOUBLE PRECISION CHECK (clip > 0),
    PRIMARY KEY (task, version)
);

-- Effects of steps, kept in the step's transaction and done by whoever leases them.
CREATE TABLE work (
    id           TEXT   NOT NULL PRIMARY KEY,
    kind         TEXT   NOT NULL,
    round        BYTEA  NOT NULL REFERENCES rounds (id),
    session      BYTEA  CHECK (octet_length(session) = 16),
    stage        BIGINT CHECK (stage BETWEEN 0 AND 4),
    run_after    BIGINT NOT NULL,
    lease        BYTEA  CHECK (octet_length(lease) = 16),
    leased_until BIGINT CHECK ((leased_until IS NULL) = (lease IS NULL)),
    attempts     BIGINT NOT NULL
);
CREATE INDEX work_by_time ON work (run_after);
