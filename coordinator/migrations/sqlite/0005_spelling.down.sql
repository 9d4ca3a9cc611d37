ALTER TABLE models RENAME COLUMN optimizer_blob TO optimiser_blob;
