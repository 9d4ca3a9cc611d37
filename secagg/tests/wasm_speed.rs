//! What a sample of exact noise costs in WebAssembly, from the stream that devices draw it from: `cargo xtask wasm --speed`.
//! Says it and holds nobody to it: machines differ. Natively: `cargo run --release -p scale-privacy --example noise_speed`.
#![cfg(target_arch = "wasm32")]

use scale_privacy::gaussian::DiscreteGaussian;
use scale_secagg::prg::Stream;
use wasm_bindgen_test::{console_log, wasm_bindgen_test};

const SAMPLES: usize = 500_000;

/// The best of so many counts: other work on the machine only ever adds to one.
const RUNS: usize = 8;

#[wasm_bindgen_test]
fn cpu_time_of_a_sample() {
    for deviation in [1u64, 2, 10, 1000, 1 << 16, 1 << 20] {
        let noise = DiscreteGaussian::new(deviation * deviation).expect("at most 2^40");
        let mut rng = Stream::new(&[9; 32]);
        let mut values = vec![0u32; SAMPLES];
        let mut took: Vec<f64> = Vec::new();
        for _ in 0..RUNS {
            let started = cpu_micros();
            noise.add_to(&mut values, &mut rng);
            took.push((cpu_micros() - started) / SAMPLES as f64 * 1e3);
        }
        // Uses the result: the work must not be left out.
        let sum = values.iter().fold(0u32, |sum, &value| sum.wrapping_add(value));
        let best = took.iter().copied().fold(f64::INFINITY, f64::min);
        // The engine compiles what runs often a second time, better, while it runs.
        let first = took[0];
        console_log!(
            "std {deviation:>9}: {best:>6.1} ns of CPU a sample, {first:>6.1} in the first run (sum {sum:08x})"
        );
    }
}

/// CPU time of the process so far, in microseconds.
fn cpu_micros() -> f64 {
    let usage = js_sys::Function::new_no_args("const { user, system } = process.cpuUsage(); return user + system");
    let answer = usage.call0(&js_sys::global());
    answer.ok().and_then(|micros| micros.as_f64()).expect("Node.js counts CPU time")
}
