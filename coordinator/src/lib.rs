//! The coordinator of SCALE FL.
