//! Compact serialization of integers: the entries of rounded updates are mostly small, and a device that waits in its
//! round has to store one.
//!
//! ```text
//! blocks of up to 256 entries, each: width u8 ‖ the entries in that many bits (secagg's packing)
//! ```
//!
//! The sign of an entry is moved to its lowest bit, so that small negative numbers also give small codes. The width of
//! a block is that of its largest entry. The norm bound of an update limits the total size: a million entries on a grid
//! of 2^16 need at most 12 bits per entry.

use scale_secagg::pack;
use zeroize::{Zeroize as _, Zeroizing};

/// Number of entries with a common width.
const BLOCK: usize = 256;

/// Serializes residues modulo 2^32, read as signed numbers, after `head`.
pub(super) fn write(head: &[u8], values: &[u32]) -> Zeroizing<Vec<u8>> {
    let len: usize = values.chunks(BLOCK).map(|block| 1 + pack::packed_len(block.len(), width(block))).sum();
    // Allocated once: growing the buffer would leave an old copy in memory.
    let mut out = Zeroizing::new(Vec::with_capacity(head.len() + len));
    out.extend_from_slice(head);
    let mut folded = Zeroizing::new([0; BLOCK]);
    for block in values.chunks(BLOCK) {
        let width = width(block);
        out.push(width);
        if width == 0 {
            continue;
        }
        for (slot, &value) in folded.iter_mut().zip(block) {
            *slot = fold(value);
        }
        pack::pack(&folded[..block.len()], width, &mut out);
    }
    out
}

/// Reads `len` values back; `None` for bytes that [`write`] does not produce.
pub(super) fn read(mut bytes: &[u8], len: usize) -> Option<Vec<u32>> {
    let mut out = Zeroizing::new(Vec::with_capacity(len));
    while out.len() < len {
        let count = BLOCK.min(len - out.len());
        let (&width, rest) = bytes.split_first()?;
        if width == 0 {
            let filled = out.len() + count;
            out.resize(filled, 0);
            bytes = rest;
            continue;
        }
        if width > 32 {
            return None;
        }
        let (block, rest) = rest.split_at_checked(pack::packed_len(count, width))?;
        let mut folded = pack::unpack(block, count, width).ok()?;
        out.extend(folded.iter().map(|&value| unfold(value)));
        folded.zeroize();
        bytes = rest;
    }
    bytes.is_empty().then(|| std::mem::take(&mut *out))
}

/// Bits of the block's largest entry; 0 when all are zero.
fn width(block: &[u32]) -> u8 {
    let all = block.iter().fold(0, |all, &value| all | fold(value));
    // At most 32.
    (u32::BITS - all.leading_zeros()) as u8
}

/// Maps 0, -1, 1, -2, … to 0, 1, 2, 3, ….
const fn fold(value: u32) -> u32 {
    (value << 1) ^ (value as i32 >> 31) as u32
}

const fn unfold(value: u32) -> u32 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    #[cfg(not(target_arch = "wasm32"))]
    use proptest::prelude::*;

    use super::*;

    fn written(values: &[u32]) -> Zeroizing<Vec<u8>> {
        write(&[], values)
    }

    #[test]
    fn small_numbers_of_either_sign_take_little_room() {
        let signed = |values: &[i32]| values.iter().map(|&value| value as u32).collect::<Vec<_>>();
        assert_eq!(written(&[]).len(), 0);
        assert_eq!(*written(&vec![0; 1000]), [0; 4], "four blocks of nothing");
        assert_eq!(*written(&signed(&[-1, 1, 0, -2])), [2, 0b11_00_10_01]);
        assert_eq!(written(&signed(&[i32::MIN, i32::MAX])).len(), 1 + 8);
        // One large entry widens its own block only.
        let mut values = signed(&[-3; 512]);
        values[300] = 1 << 20;
        assert_eq!(written(&values).len(), (1 + 256 * 3 / 8) + (1 + 256 * 22 / 8));
    }

    #[test]
    fn damage_is_found() {
        let values: Vec<u32> = (0..600).map(|at| at * 7919 % 4096).collect();
        let bytes = written(&values);
        assert_eq!(read(&bytes, 600), Some(values));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end], 600), None, "cut at {end}");
        }
        assert_eq!(read(&bytes, 599), None);
        assert_eq!(read(&bytes, 601), None);
        assert_eq!(read(&[33; 200], 8), None, "wider than a number");
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_was_written_is_read(values in proptest::collection::vec(any::<u32>(), 0..600), shift in 0u32..32) {
            let values: Vec<u32> = values.iter().map(|value| ((*value as i32) >> shift) as u32).collect();
            prop_assert_eq!(read(&written(&values), values.len()), Some(values));
        }
    }
}
