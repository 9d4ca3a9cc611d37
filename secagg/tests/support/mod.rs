//! Loading the known answers, and judging refusals by their exact words.

use hex::FromHex;
use scale_secagg::error::Refusal;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Declares one test that runs natively and in wasm.
macro_rules! known_answers {
    ($($(#[$meta:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$meta])*
        #[cfg_attr(not(target_arch = "wasm32"), test)]
        #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
        fn $name() $body
    )*};
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../vectors/", $name, ".json")))),*];
    };
}

files![
    "01_round_config",
    "02_roster",
    "03_keys",
    "04_hkdf_aead",
    "05_prg",
    "06_shamir",
    "07_graph",
    "08_packing",
    "09_quantiser",
    "10_session_n10",
    "10_session_n12",
    "10_session_n13",
    "10_session_n140",
    "10_session_n300",
    "10_session_n50",
    "11_client_refusals",
    "11_server_refusals",
    "12_statements",
    "13_params",
    "14_certificates",
];

/// One file of known answers. A missing file fails the test.
pub(crate) fn load(name: &str) -> Value {
    let file: Value = serde_json::from_str(&text(name)).expect(name);
    assert_eq!((&file["protocol"], &file["suite"]), (&Value::from(1), &Value::from(1)), "{name}: protocol and suite");
    assert_eq!(file["file"], name, "the file is what its name says");
    file
}

#[cfg(not(target_arch = "wasm32"))]
fn text(name: &str) -> String {
    match std::env::var("SECAGG_VECTORS") {
        Ok(folder) => std::fs::read_to_string(format!("{folder}/{name}.json")).expect(name),
        Err(_) => built_in(name),
    }
}

#[cfg(target_arch = "wasm32")]
fn text(name: &str) -> String {
    built_in(name)
}

fn built_in(name: &str) -> String {
    FILES.iter().find(|(file, _)| *file == name).expect(name).1.to_owned()
}

/// The list under `key`. An empty or missing one fails the test.
pub(crate) fn list<T: DeserializeOwned>(file: &Value, key: &str) -> Vec<T> {
    let list: Vec<T> = parse(&file[key], key);
    assert!(!list.is_empty(), "{key} is empty");
    list
}

/// Any part of a file, as a type.
pub(crate) fn parse<T: DeserializeOwned>(value: &Value, what: &str) -> T {
    T::deserialize(value).unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// A value that stands as hex in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hex<T>(pub(crate) T);

impl<'de, T: FromHex<Error = hex::FromHexError>> Deserialize<'de> for Hex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::from_hex(text).map(Self).map_err(D::Error::custom)
    }
}

/// 32 bytes in hex.
pub(crate) type Hex32 = Hex<[u8; 32]>;
/// Any number of bytes in hex.
pub(crate) type HexBytes = Hex<Vec<u8>>;

/// Little-endian u32s.
pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, rest) = bytes.as_chunks();
    assert!(rest.is_empty(), "whole words");
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// The little-endian bytes of u32s.
pub(crate) fn bytes_of(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// What a `bad_` case has to be refused with.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Refused {
    pub(crate) reason: String,
    pub(crate) check: Option<String>,
    pub(crate) blame: Option<u32>,
}

impl Refused {
    /// Reason, check and blame are exactly these.
    #[track_caller]
    pub(crate) fn assert_is<T: std::fmt::Debug>(&self, result: Result<T, Refusal>, case: &str) {
        let refusal = result.expect_err(case);
        assert_eq!(refusal.code(), self.reason, "{case}: reason");
        assert_eq!(refusal.check.map(scale_secagg::check::Check::name), self.check.as_deref(), "{case}: check");
        assert_eq!(refusal.blame, self.blame, "{case}: blame");
    }
}

known_answers! {
    /// The words of the known answers are those of this crate, and in the file of the quantizer those of `scale_privacy`.
    fn every_word_in_the_vectors_has_a_reason() {
        use scale_secagg::error::Reason;
        fn collect(value: &Value, words: &mut std::collections::BTreeSet<String>) {
            match value {
                Value::Object(map) => {
                    if let Some(word) = map.get("reason").and_then(Value::as_str) {
                        words.insert(word.to_owned());
                    }
                    map.values().for_each(|value| collect(value, words));
                }
                Value::Array(list) => list.iter().for_each(|value| collect(value, words)),
                _ => {}
            }
        }
        let mut words = std::collections::BTreeSet::new();
        FILES.iter().for_each(|(name, _)| collect(&load(name), &mut words));
        assert!(words.len() > 20, "{words:?}");
        let mut known: Vec<_> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        known.extend([scale_privacy::Error::NotFinite { index: 0 }, scale_privacy::Error::Norm].map(|error| error.code()));
        for word in &words {
            assert!(known.contains(&word.as_str()), "{word} is no reason of these crates");
        }
    }
}
