//! The trainings of `src/testing/training.rs`, natively. With `SCALE_WASM_PARITY_REFERENCE`, the path of a file, their
//! results are left there for `parity.test.mjs`, which compares a browser's results with them.
#![cfg(not(target_arch = "wasm32"))]

#[path = "../src/testing/training.rs"]
mod training;

#[test]
fn trainings_learn_and_leave_a_reference() {
    let runs = training::runs().expect("every training ends");
    for (name, run) in &runs {
        // Weights that stay as they were would be the same everywhere.
        assert!(run.moved > 0.01, "{name}: {}", run.moved);
        let (first, last) = (run.losses.first(), run.losses.last());
        assert!(name.contains("DP-SGD") == run.losses.is_empty(), "{name}: {:?}", run.losses);
        assert!(first.zip(last).is_none_or(|(first, last)| *last < first - 0.1), "{name}: {:?}", run.losses);
        assert!(run.weights.iter().all(|weight| weight.is_finite()), "{name}");
    }
    if let Some(path) = std::env::var_os("SCALE_WASM_PARITY_REFERENCE").filter(|path| !path.is_empty()) {
        let json = training::json().expect("the same runs as before");
        std::fs::write(&path, json).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }
}
