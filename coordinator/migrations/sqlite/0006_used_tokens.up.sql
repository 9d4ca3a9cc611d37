-- Enrollment tokens that enroll one key: those that were used and have not ended, and which key each of them enrolled.
CREATE TABLE used_tokens (
    id           BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    identity_key BLOB    NOT NULL CHECK (length(identity_key) = 32),
    expires_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX used_tokens_by_end ON used_tokens (expires_at);
