//! Whole rounds of SCALE FL; the tests are in `tests/`.
