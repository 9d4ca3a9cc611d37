//! CPU time of one noise sample, by standard deviation, and of an update of a million parameters.
//!
//! `cargo run --release -p scale-privacy --example noise_speed`
#![allow(clippy::print_stdout)]

use std::time::Instant;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use scale_privacy::gaussian::DiscreteGaussian;

const SAMPLES: usize = 3_000_000;

fn main() {
    println!("{:>9}  {:>10}  {:>14}", "std", "ns/sample", "s per 1,000,000");
    for deviation in [1u64, 10, 1000, 1 << 16, 1 << 20] {
        let noise = DiscreteGaussian::new(deviation * deviation).expect("at most 2^40");
        let mut rng = ChaCha20Rng::from_seed([9; 32]);
        let mut values = vec![0u32; SAMPLES];
        noise.add_to(&mut values[..SAMPLES / 10], &mut rng);
        let started = cpu_seconds();
        noise.add_to(&mut values, &mut rng);
        let took = cpu_seconds() - started;
        // Uses the result: the work must not be left out.
        let sum = values.iter().fold(0u32, |sum, &value| sum.wrapping_add(value));
        println!(
            "{deviation:>9}  {:>10.1}  {:>14.3}   (sum {sum:08x})",
            took / SAMPLES as f64 * 1e9,
            took / SAMPLES as f64 * 1e6
        );
    }
}

/// CPU time of this process so far in seconds; elapsed time where the system does not say.
fn cpu_seconds() -> f64 {
    // Nanoseconds on the processor are the first field; the file is Linux's.
    let on_cpu = std::fs::read_to_string("/proc/self/schedstat").ok();
    let nanoseconds = on_cpu.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    nanoseconds.map_or_else(|| START.with(Instant::elapsed).as_secs_f64(), |ns| ns / 1e9)
}

std::thread_local! {
    static START: Instant = Instant::now();
}
