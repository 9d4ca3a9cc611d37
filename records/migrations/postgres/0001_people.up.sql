-- People's rows, each guarded by row level security: a statement reads and writes what `auth.uid()` owns, and nothing
-- before a transaction has said who it works for.
--
-- On Supabase the roles, the schema `auth` and `auth.uid()` are there already and stay as they are. On another Postgres
-- they are made here, which takes a superuser or a role with CREATEROLE. Nothing below needs a superuser.

DO $$
DECLARE
    wanted text;
    mine   text := current_setting('role');
BEGIN
    FOREACH wanted IN ARRAY ARRAY['authenticated', 'service_role'] LOOP
        -- Roles belong to the whole server: another database's migration may be making them at this moment.
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;
            END;
        END IF;
        -- Whoever migrates may work for either. Tried, not looked up: since Postgres 16 a member need not be allowed to.
        BEGIN
            PERFORM set_config('role', wanted, true);
            PERFORM set_config('role', mine, true);
        EXCEPTION WHEN insufficient_privilege THEN
            EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
        END;
    END LOOP;

    IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'auth') THEN
        CREATE SCHEMA auth;
        GRANT USAGE ON SCHEMA auth TO authenticated, service_role;
    END IF;
    IF to_regprocedure('auth.uid()') IS NULL THEN
        CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $body$
            SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
        $body$;
    END IF;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO authenticated, service_role', current_schema());
END
$$;

-- Start-up reads which steps were taken before it works for anybody; there is nothing personal in them.
GRANT SELECT ON scale_records_migrations TO PUBLIC;

CREATE TABLE transactions (
    id               uuid        NOT NULL PRIMARY KEY,
    user_id          uuid        NOT NULL,
    transaction_date date        NOT NULL,
    direction        text        NOT NULL CHECK (direction IN ('credit', 'debit')),
    amount_minor     bigint      NOT NULL CHECK (amount_minor BETWEEN 0 AND 9007199254740992),
    currency         text        NOT NULL CHECK (length(currency) = 3),
    description      text        NOT NULL,
    -- "C": lower() touches ASCII letters only, as SQLite's does, whatever the server's locale.
    merchant_name    text COLLATE "C",
    category         text COLLATE "C",
    -- A person may also say that there is none: then this is 'person' and the category NULL.
    category_source  text CHECK (category_source IN ('import', 'prediction', 'person')),
    payment_method   text,
    status           text        NOT NULL CHECK (status IN ('pending', 'completed', 'failed', 'cancelled')),
    fingerprint      bytea       NOT NULL CHECK (length(fingerprint) = 32),
    raw_data         jsonb,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    CHECK (category IS NULL OR category_source IS NOT NULL)
);
CREATE INDEX idx_transactions_user_date ON transactions (user_id, transaction_date DESC, id DESC);
CREATE INDEX idx_transactions_category ON transactions (user_id, category, transaction_date DESC, id DESC);
CREATE UNIQUE INDEX idx_transactions_user_fingerprint ON transactions (user_id, fingerprint);
CREATE INDEX idx_transactions_merchant ON transactions (user_id, lower(merchant_name));
CREATE INDEX idx_transactions_amount_range ON transactions (user_id, amount_minor);
CREATE INDEX idx_transactions_raw_data ON transactions USING gin (raw_data jsonb_path_ops);

CREATE TABLE uploaded_files (
    id                 uuid        NOT NULL PRIMARY KEY,
    user_id            uuid        NOT NULL,
    file_hash          bytea       NOT NULL CHECK (length(file_hash) = 32),
    filename           text        NOT NULL,
    upload_type        text        NOT NULL CHECK (upload_type IN ('csv', 'json')),
    inserted           bigint      NOT NULL,
    skipped_duplicates bigint      NOT NULL,
    rejected           bigint      NOT NULL,
    created_at         timestamptz NOT NULL
);
CREATE UNIQUE INDEX idx_uploaded_files_user_hash ON uploaded_files (user_id, file_hash);
CREATE INDEX idx_uploaded_files_user_created ON uploaded_files (user_id, created_at DESC, id DESC);

-- Without a user: everybody's.
CREATE TABLE categories (
    user_id uuid,
    slug    text COLLATE "C" NOT NULL CHECK (length(slug) BETWEEN 1 AND 40),
    name    text             NOT NULL
);
CREATE UNIQUE INDEX idx_categories_everybody ON categories (slug) WHERE user_id IS NULL;
CREATE UNIQUE INDEX idx_categories_own ON categories (user_id, slug) WHERE user_id IS NOT NULL;

CREATE TABLE training_jobs (
    id              uuid        NOT NULL PRIMARY KEY,
    user_id         uuid        NOT NULL,
    status          text        NOT NULL CHECK (status IN ('pending', 'processing', 'completed', 'failed')),
    done_permille   bigint      NOT NULL CHECK (done_permille BETWEEN 0 AND 1000),
    model_type      text        NOT NULL,
    credential_hash bytea       NOT NULL CHECK (length(credential_hash) = 32),
    round_id        uuid,
    metrics         jsonb       NOT NULL,
    failure         text,
    model_version   bigint,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);
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

-- Who may do what at all: a person corrects a category and nothing else, and never moves a job along.
GRANT SELECT, INSERT, DELETE, UPDATE (category, category_source, updated_at) ON transactions TO authenticated;
GRANT SELECT, INSERT, DELETE, UPDATE (inserted, skipped_duplicates, rejected) ON uploaded_files TO authenticated;
GRANT SELECT, INSERT, DELETE ON categories TO authenticated;
GRANT SELECT, INSERT, DELETE ON training_jobs TO authenticated;
GRANT SELECT, INSERT, UPDATE, DELETE ON transactions, uploaded_files, categories, training_jobs TO service_role;

-- And on which rows. `force`: the owner of the tables is nobody special. `(SELECT auth.uid())` is asked once for each
-- statement, `auth.uid()` alone would be for each row. A policy also holds for whoever inherits its role, as the role
-- that migrated may: the service's rows take somebody who has said that it works as the service.
DO $$
DECLARE
    guarded text;
BEGIN
    FOREACH guarded IN ARRAY ARRAY['transactions', 'uploaded_files', 'categories', 'training_jobs'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', guarded);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', guarded);
        EXECUTE format('CREATE POLICY own_rows ON %I TO authenticated USING (user_id = (SELECT auth.uid()))'
            ' WITH CHECK (user_id = (SELECT auth.uid()))', guarded);
        EXECUTE format('CREATE POLICY all_rows ON %I TO service_role USING (current_user = ''service_role'')'
            ' WITH CHECK (current_user = ''service_role'')', guarded);
    END LOOP;
END
$$;
CREATE POLICY everybodys ON categories FOR SELECT TO authenticated USING (user_id IS NULL);
