-- When a person was given a token that enrolls a device: it counts for a day. The token itself is nowhere.
CREATE TABLE enrollment_tokens (
    id         BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id    BLOB    NOT NULL CHECK (length(user_id) = 16),
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_enrollment_tokens_user_created ON enrollment_tokens (user_id, created_at DESC);
CREATE INDEX idx_enrollment_tokens_created ON enrollment_tokens (created_at);
