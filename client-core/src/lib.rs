//! The device side of SCALE FL.
