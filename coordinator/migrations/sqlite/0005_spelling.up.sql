-- One spelling of the word everywhere.
ALTER TABLE models RENAME COLUMN optimiser_blob TO optimizer_blob;
