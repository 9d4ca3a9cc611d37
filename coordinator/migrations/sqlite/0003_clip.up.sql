-- Clip norm of rounds that train a version, where it follows the devices.
ALTER TABLE models ADD COLUMN clip REAL CHECK (clip > 0);
