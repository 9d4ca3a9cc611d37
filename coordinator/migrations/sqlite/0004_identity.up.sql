-- Which secrets this database belongs to: one row, written at the first start that knows of it.
CREATE TABLE identity (
    only_row   INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    task_key   BLOB    NOT NULL CHECK (length(task_key) = 32),  -- public Ed25519 key that signs rounds
    token_hash BLOB    NOT NULL CHECK (length(token_hash) = 32) -- SHA-256 of the key of the tokens
) STRICT;
