//! Speed of the mask generator per backend: `cargo run --release -p scale-secagg --example prg_speed`.
//!
//! Keystream generated and added to one chunk of 64 KiB that stays in the cache, best of 31 runs on one thread, in GB
//! (10^9 bytes) of keystream per second of wall time.
#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::time::Instant;

use scale_secagg::prg::{self, Backend, MaskKey, Sign};

const ENTRIES: usize = 16 * 1024;
const KEYS: usize = 64;

fn main() {
    let keys: Vec<_> = (0..KEYS).map(|i| MaskKey::new(&[i as u8; 32])).collect();
    let masks: Vec<_> = keys.iter().map(|key| (Sign::Plus, key)).collect();
    let mut acc = vec![0; ENTRIES];
    for backend in Backend::ALL.into_iter().filter(|backend| backend.is_available()) {
        let best = (0..31)
            .map(|_| {
                let start = Instant::now();
                prg::accumulate_with(backend, black_box(&mut acc), 0, 0, &masks);
                start.elapsed()
            })
            .min()
            .expect("31 runs");
        let bytes = (4 * ENTRIES * KEYS) as f64;
        println!("{:<9} {:.2} GB/s", backend.name(), bytes / best.as_secs_f64() / 1e9);
    }
    println!("default: {}", prg::backend());
}
