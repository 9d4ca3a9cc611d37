ALTER TABLE models DROP COLUMN rho_alone;
ALTER TABLE models DROP COLUMN rho_aggregate;
ALTER TABLE models DROP COLUMN noisy_rounds;
ALTER TABLE models DROP COLUMN counted_through;
ALTER TABLE models DROP COLUMN privacy;
