//! Uploads of masked inputs as a server receives them, with the values that they carry, for tests of the way from a piece
//! to a sum.

use std::sync::Arc;

use bytes::Bytes;
use scale_secagg::config::{RoundConfig, VectorSpec};
use scale_secagg::pack;

use super::setting;

/// Bits of one entry on the wire.
pub const BITS: u8 = 13;

/// A round whose update has `len` entries of [`BITS`] bits, beside four of statistics.
pub fn config(len: u64) -> Arc<RoundConfig> {
    let vector = |name: &str, len| VectorSpec { name: name.into(), len };
    Arc::new(RoundConfig {
        vectors: vec![vector("update", len), vector("statistics", 4)],
        wire_bits: BITS,
        ..setting::config(&setting::plan())
    })
}

/// The values that device `number` sends, and their packed form.
pub fn input(number: u8, config: &RoundConfig) -> (Vec<u32>, Bytes) {
    let (mut values, mut packed) = (Vec::new(), Vec::new());
    for vector in &config.vectors {
        let part: Vec<u32> =
            (0..vector.len as u32).map(|at| (at * 31 + u32::from(number) * 977) % (1 << BITS)).collect();
        pack::pack(&part, BITS, &mut packed);
        values.extend(part);
    }
    (values, packed.into())
}

/// What the inputs of these devices add up to, entry by entry, modulo 2^32.
pub fn plain_sum(numbers: impl Iterator<Item = u8>, config: &RoundConfig) -> Vec<u32> {
    let mut sum = Vec::new();
    for number in numbers {
        let (values, _) = input(number, config);
        sum.resize(values.len(), 0_u32);
        values.iter().zip(&mut sum).for_each(|(value, sum)| *sum = sum.wrapping_add(*value));
    }
    sum
}
