//! Known answers of an independent reference implementation (tests/vectors), native and wasm.
//!
//! Set `SECAGG_VECTORS` to a folder with the same files made from another seed to run on those (native only).

#[allow(dead_code, reason = "each test program uses its part")]
mod common;
#[macro_use]
mod support;

#[path = "known_answers/certificates.rs"]
mod certificates;
#[path = "known_answers/config.rs"]
mod config;
#[path = "known_answers/graphs.rs"]
mod graphs;
#[path = "known_answers/primitives.rs"]
mod primitives;
#[path = "known_answers/quantizer.rs"]
mod quantizer;
#[path = "known_answers/refusals.rs"]
mod refusals;
#[path = "known_answers/sessions.rs"]
mod sessions;
#[path = "known_answers/transcript.rs"]
mod transcript;
