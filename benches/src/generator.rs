//! Speed of the mask generator on this machine: the floor of every round.

use std::hint::black_box;
use std::time::Duration;

use scale_secagg::prg::{self, MaskKey, Sign};

use crate::clock;

/// Entries of one run: 64 KiB, which stay in the cache.
const ENTRIES: usize = 16 * 1024;
const KEYS: usize = 64;
const RUNS: usize = 31;

/// Bytes of keystream that one thread generates and adds per second of CPU time: the best of some runs.
pub fn bytes_per_second() -> f64 {
    let keys: Vec<_> = (0..KEYS).map(|i| MaskKey::new(&[i as u8; 32])).collect();
    let masks: Vec<_> = keys.iter().map(|key| (Sign::Plus, key)).collect();
    let mut acc = vec![0; ENTRIES];
    let run = |_| {
        let mut time = Duration::ZERO;
        clock::timed(&mut time, || prg::accumulate(black_box(&mut acc), 0, 0, &masks));
        time
    };
    let best = (0..RUNS).map(run).min().unwrap_or_default();
    (4 * ENTRIES * KEYS) as f64 / best.as_secs_f64()
}
