//! Values that other implementations computed (tests/vectors/README.md), for unit tests and for tests/known_answers.rs.

use serde_json::Value;

/// One table of dp_reference.json.
pub(crate) fn table(name: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("../tests/vectors/dp_reference.json")).expect("JSON");
    rows(&file[name])
}

/// The rows of a table; an empty one fails the test.
pub(crate) fn rows(value: &Value) -> Vec<Value> {
    let rows = value.as_array().expect("a table").clone();
    assert!(!rows.is_empty(), "an empty table holds nothing");
    rows
}

/// A number of a row.
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("a number, not {value}"))
}

/// Asserts that `ours` is within `tolerance` of `theirs`, relatively.
#[track_caller]
pub(crate) fn close(ours: f64, theirs: f64, tolerance: f64, what: &str) {
    assert!((ours - theirs).abs() <= tolerance * theirs.abs(), "{what}: {ours} is not {theirs}");
}
