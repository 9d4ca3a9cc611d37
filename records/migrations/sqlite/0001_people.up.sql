-- People's rows. Ids are 16-byte blobs, hashes 32-byte blobs, moments milliseconds since 1970. Days are texts such as
-- 2026-02-28: they sort as they should, are compared as they are written, and a person at the shell can read them.
PRAGMA application_id = 0x53434C52; -- "SCLR"

CREATE TABLE transactions (
    id               BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id          BLOB    NOT NULL CHECK (length(user_id) = 16),
    transaction_date TEXT    NOT NULL CHECK (date(transaction_date) IS transaction_date),
    direction        TEXT    NOT NULL CHECK (direction IN ('credit', 'debit')),
    amount_minor     INTEGER NOT NULL CHECK (amount_minor BETWEEN 0 AND 9007199254740992),
    currency         TEXT    NOT NULL CHECK (length(currency) = 3),
    description      TEXT    NOT NULL,
    merchant_name    TEXT,
    category         TEXT,
    -- A person may also say that there is none: then this is 'person' and the category NULL.
    category_source  TEXT CHECK (category_source IN ('import', 'prediction', 'person')),
    payment_method   TEXT,
    status           TEXT    NOT NULL CHECK (status IN ('pending', 'completed', 'failed', 'cancelled')),
    fingerprint      BLOB    NOT NULL CHECK (length(fingerprint) = 32),
    raw_data         TEXT CHECK (json_valid(raw_data)),
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    CHECK (category IS NULL OR category_source IS NOT NULL)
) STRICT;
CREATE INDEX idx_transactions_user_date ON transactions (user_id, transaction_date DESC, id DESC);
CREATE INDEX idx_transactions_category ON transactions (user_id, category, transaction_date DESC, id DESC);
CREATE UNIQUE INDEX idx_transactions_user_fingerprint ON transactions (user_id, fingerprint);
CREATE INDEX idx_transactions_merchant ON transactions (user_id, lower(merchant_name));
CREATE INDEX idx_transactions_amount_range ON transactions (user_id, amount_minor);

CREATE TABLE uploaded_files (
    id                 BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id            BLOB    NOT NULL CHECK (length(user_id) = 16),
    file_hash          BLOB    NOT NULL CHECK (length(file_hash) = 32),
    filename           TEXT    NOT NULL,
    upload_type        TEXT    NOT NULL CHECK (upload_type IN ('csv', 'json')),
    inserted           INTEGER NOT NULL,
    skipped_duplicates INTEGER NOT NULL,
    rejected           INTEGER NOT NULL,
    created_at         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX idx_uploaded_files_user_hash ON uploaded_files (user_id, file_hash);
CREATE INDEX idx_uploaded_files_user_created ON uploaded_files (user_id, created_at DESC, id DESC);

-- Without a user: everybody's.
CREATE TABLE categories (
    user_id BLOB CHECK (length(user_id) = 16),
    slug    TEXT NOT NULL CHECK (length(slug) BETWEEN 1 AND 40),
    name    TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX idx_categories_everybody ON categories (slug) WHERE user_id IS NULL;
CREATE UNIQUE INDEX idx_categories_own ON categories (user_id, slug) WHERE user_id IS NOT NULL;

CREATE TABLE training_jobs (
    id              BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 16),
    user_id         BLOB    NOT NULL CHECK (length(user_id) = 16),
    status          TEXT    NOT NULL CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    done_permille   INTEGER NOT NULL CHECK (done_permille BETWEEN 0 AND 1000),
    model_type      TEXT    NOT NULL,
    credential_hash BLOB    NOT NULL CHECK (length(credential_hash) = 32),
    round_id        BLOB CHECK (length(round_id) = 16),
    metrics         TEXT    NOT NULL CHECK (json_valid(metrics)),
    failure         TEXT,
    model_version   INTEGER,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX idx_training_jobs_pending ON training_jobs (created_at) WHERE status = 'pending';
CREATE INDEX idx_training_jobs_user_status ON training_jobs (user_id, status, created_at DESC);
-- One active job per person.
CREATE UNIQUE INDEX idx_training_jobs_one_active ON training_jobs (user_id) WHERE status IN ('pending', 'processing');
CREATE INDEX idx_training_jobs_active ON training_jobs (updated_at) WHERE status IN ('pending', 'processing');
CREATE INDEX idx_training_jobs_round ON training_jobs (round_id) WHERE status IN ('pending', 'processing');

INSERT INTO categories (user_id, slug, name) VALUES
    (NULL, 'auto', 'Car'),
    (NULL, 'clothing', 'Clothing'),
    (NULL, 'dining', 'Restaurants and cafés'),
    (NULL, 'education', 'Education'),
    (NULL, 'electronics', 'Electronics'),
    (NULL, 'entertainment', 'Entertainment'),
    (NULL, 'financial', 'Banking and insurance'),
    (NULL, 'fitness', 'Sports and fitness'),
    (NULL, 'fuel', 'Fuel'),
    (NULL, 'groceries', 'Groceries'),
    (NULL, 'health', 'Health'),
    (NULL, 'home', 'Home'),
    (NULL, 'income', 'Income'),
    (NULL, 'other', 'Other'),
    (NULL, 'personal-care', 'Personal care'),
    (NULL, 'services', 'Services'),
    (NULL, 'shopping', 'Shopping'),
    (NULL, 'telecom', 'Phone and internet'),
    (NULL, 'transfer', 'Transfers'),
    (NULL, 'transport', 'Public transport'),
    (NULL, 'travel', 'Travel');
