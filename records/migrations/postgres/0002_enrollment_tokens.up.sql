-- When a person was given a token that enrolls a device: it counts for a day. The token itself is nowhere.
CREATE TABLE enrollment_tokens (
    id         uuid        NOT NULL PRIMARY KEY,
    user_id    uuid        NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX idx_enrollment_tokens_user_created ON enrollment_tokens (user_id, created_at DESC);
CREATE INDEX idx_enrollment_tokens_created ON enrollment_tokens (created_at);

-- A row is never changed. Guarded as in step 1.
GRANT SELECT, INSERT, DELETE ON enrollment_tokens TO authenticated, service_role;
ALTER TABLE enrollment_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE enrollment_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON enrollment_tokens TO authenticated USING (user_id = (SELECT auth.uid()))
    WITH CHECK (user_id = (SELECT auth.uid()));
CREATE POLICY all_rows ON enrollment_tokens TO service_role USING (current_user = 'service_role')
    WITH CHECK (current_user = 'service_role');
