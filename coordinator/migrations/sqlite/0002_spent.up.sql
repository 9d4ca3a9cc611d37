-- What the rounds behind a version have cost in privacy; costs in units of 2^-40 zCDP. NULL in all of them: the version
-- is older than the account; the next one counts every round anew.
ALTER TABLE models ADD COLUMN privacy TEXT CHECK (privacy IN ('none', 'example', 'distributed', 'local'));
ALTER TABLE models ADD COLUMN counted_through INTEGER CHECK ((counted_through IS NULL) = (privacy IS NULL));
ALTER TABLE models ADD COLUMN noisy_rounds INTEGER CHECK ((noisy_rounds IS NULL) = (privacy IS NULL));
ALTER TABLE models ADD COLUMN rho_aggregate INTEGER CHECK ((rho_aggregate IS NULL) = (privacy IS NULL));
ALTER TABLE models ADD COLUMN rho_alone INTEGER CHECK ((rho_alone IS NULL) = (privacy IS NULL));
