//! Reads the JSON of the vectors that hold configurations, sessions and refusals.

use scale_secagg::config::{Policy, VectorSpec};
use serde_json::Value;

/// The bytes of a hex string.
pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a hex string")).expect("hex")
}

/// A hex string of `N` bytes.
pub(crate) fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().expect("the right length")
}

/// A number; large ones are written as strings.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| value.as_str().expect("a number").parse().expect("a decimal number"))
}

/// A number below 2^32.
pub(crate) fn small(value: &Value) -> u32 {
    number(value).try_into().expect("a small number")
}

/// Little-endian words.
pub(crate) fn words(value: &Value) -> Vec<u32> {
    bytes(value).as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// Several vectors of words.
pub(crate) fn vectors(value: &Value) -> Vec<Vec<u32>> {
    list(value).iter().map(words).collect()
}

/// A list that must not be empty.
pub(crate) fn list(value: &Value) -> &[Value] {
    let list = value.as_array().expect("a list");
    assert!(!list.is_empty(), "an empty list of cases");
    list
}

/// A string.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// The plan's vectors.
pub(crate) fn specs(value: &Value) -> Vec<VectorSpec> {
    let spec = |v: &Value| VectorSpec { name: text(&v["name"]).to_owned(), len: number(&v["length"]) };
    list(value).iter().map(spec).collect()
}

/// What the device knows by itself.
pub(crate) fn policy(value: &Value) -> Policy {
    Policy {
        task_key: array(&value["task_pk"]),
        model_digest: array(&value["model_digest"]),
        vectors: specs(&value["vectors"]),
        last_round: number(&value["last_round"]),
        min_clients: small(&value["min_clients"]),
        identity_root: value.get("identity_root").map(array),
    }
}

/// Whether the case must be refused.
pub(crate) fn is_bad(case: &Value) -> bool {
    text(&case["name"]).starts_with("bad_")
}
