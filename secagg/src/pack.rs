//! b-bit entries as one little-endian bit string (docs/protocol/session.md): entry `e` is in bits `e b .. e b + b`.
//!
//! Eight entries end on a whole byte, so both directions work on eight at a time: one unaligned load, one shift, one
//! mask per entry.

use crate::error::{Reason, Refusal};

/// Entries that end on a whole byte, whatever their width.
const BLOCK: usize = 8;

/// Calls a function that is compiled once per width: with the width known, every shift is a constant.
macro_rules! for_width {
    ($bits:expr, $function:ident($($argument:expr),*)) => {
        for_width!(@ $bits, $function($($argument),*),
            1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)
    };
    (@ $bits:expr, $function:ident $arguments:tt, $($width:literal)*) => {
        match $bits {
            $($width => $function::<$width> $arguments,)*
            _ => unreachable!("entries have 1 to 32 bits"),
        }
    };
}

/// Bytes of `count` entries of `bits` bits.
///
/// # Panics
/// If the number does not fit in `usize`: such a vector does not fit in memory either.
pub fn packed_len(count: usize, bits: u8) -> usize {
    let bytes = (count as u128 * u128::from(bits)).div_ceil(8);
    usize::try_from(bytes).expect("a vector that fits in memory")
}

/// Appends the low `bits` (1 to 32) bits of each value to `out`. Spare bits of the last byte are zero.
pub fn pack(values: &[u32], bits: u8, out: &mut Vec<u8>) {
    check_bits(bits);
    let (blocks, rest) = values.as_chunks::<BLOCK>();
    let start = out.len();
    out.resize(start + packed_len(values.len(), bits), 0);
    let (whole, last) = out[start..].split_at_mut(blocks.len() * usize::from(bits));
    for_width!(bits, pack_blocks(blocks, whole));
    // At most 7 entries: they end within 28 bytes, and a block of zeros ends where they do.
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    let mut bytes = [0; 32];
    for_width!(bits, pack_blocks(&[block], &mut bytes[..usize::from(bits)]));
    last.copy_from_slice(&bytes[..last.len()]);
}

/// The `count` entries of `bits` (1 to 32) bits in `data`.
///
/// # Errors
/// [`Reason::WrongLength`] unless `data` has exactly [`packed_len`] bytes; [`Reason::PaddingBits`] if a spare bit is set.
pub fn unpack(data: &[u8], count: usize, bits: u8) -> Result<Vec<u32>, Refusal> {
    if data.len() != packed_len(count, bits) {
        return Err(Reason::WrongLength.into());
    }
    let mut out = vec![0; count];
    let mut unpacker = Unpacker::new(count, bits);
    unpacker.feed(data, &mut out)?;
    unpacker.finish()?;
    Ok(out)
}

/// Adds a packed vector onto another one as its bytes arrive, in pieces of any size.
#[derive(Clone, Debug)]
pub struct Unpacker {
    count: usize,
    bits: u8,
    /// Entries added so far.
    done: usize,
    /// Bytes that may still come.
    bytes_left: usize,
    /// Bits that arrived but make no whole entry yet, lowest first.
    pending: u64,
    held: u32,
}

impl Unpacker {
    /// For `count` entries of `bits` (1 to 32) bits.
    pub fn new(count: usize, bits: u8) -> Self {
        check_bits(bits);
        Self { count, bits, done: 0, bytes_left: packed_len(count, bits), pending: 0, held: 0 }
    }

    /// Adds every entry that `data` completes onto its place in `acc`, modulo 2^32. `acc` holds the whole vector.
    ///
    /// # Errors
    /// [`Reason::WrongLength`] if more bytes come than the vector has; `acc` is as it was before this call.
    ///
    /// # Panics
    /// If `acc` has not `count` entries.
    pub fn feed(&mut self, mut data: &[u8], acc: &mut [u32]) -> Result<(), Refusal> {
        assert_eq!(acc.len(), self.count, "the sum has the vector's length");
        self.bytes_left = self.bytes_left.checked_sub(data.len()).ok_or(Reason::WrongLength)?;
        while !data.is_empty() {
            if self.held == 0 && self.done.is_multiple_of(8) {
                data = self.whole_blocks(data, acc);
            }
            // Up to the next whole block: byte by byte, at most eight entries.
            let Some((byte, rest)) = data.split_first() else { break };
            self.pending |= u64::from(*byte) << self.held;
            self.held += 8;
            while self.held >= u32::from(self.bits) && self.done < self.count {
                acc[self.done] = acc[self.done].wrapping_add((self.pending & low_mask(self.bits)) as u32);
                self.pending >>= self.bits;
                self.held -= u32::from(self.bits);
                self.done += 1;
            }
            data = rest;
        }
        Ok(())
    }

    /// Ends the vector.
    ///
    /// # Errors
    /// [`Reason::WrongLength`] if bytes are missing, [`Reason::PaddingBits`] if a spare bit of the last byte is set.
    pub fn finish(self) -> Result<(), Refusal> {
        if self.bytes_left > 0 {
            return Err(Reason::WrongLength.into());
        }
        if self.pending != 0 {
            return Err(Reason::PaddingBits.into());
        }
        Ok(())
    }

    /// Adds as many blocks of eight entries as can be read with whole 8-byte loads; gives back what is left.
    fn whole_blocks<'a>(&mut self, data: &'a [u8], acc: &mut [u32]) -> &'a [u8] {
        let bits = usize::from(self.bits);
        // The last load of a block starts before its end, so it reads at most 8 bytes behind.
        let readable = data.len().saturating_sub(8) / bits;
        let blocks = acc[self.done..].as_chunks_mut::<BLOCK>().0;
        let count = readable.min(blocks.len());
        for_width!(self.bits, add_blocks(data, &mut blocks[..count]));
        self.done += BLOCK * count;
        &data[bits * count..]
    }
}

/// Writes every block of eight entries as `B` bytes.
fn pack_blocks<const B: usize>(blocks: &[[u32; BLOCK]], out: &mut [u8]) {
    let mask = low_mask(B as u8);
    for (block, bytes) in blocks.iter().zip(out.chunks_exact_mut(B)) {
        let (mut pending, mut held, mut at) = (0_u64, 0, 0);
        for value in block {
            // At most 31 bits are pending, so 32 more fit.
            pending |= (u64::from(*value) & mask) << held;
            held += B;
            if held >= 32 {
                bytes[at..at + 4].copy_from_slice(&(pending as u32).to_le_bytes());
                pending >>= 32;
                held -= 32;
                at += 4;
            }
        }
        bytes[at..].copy_from_slice(&pending.to_le_bytes()[..B % 4]);
    }
}

/// Adds blocks of eight entries; `data` goes on for 8 bytes behind the last one.
fn add_blocks<const B: usize>(data: &[u8], blocks: &mut [[u32; BLOCK]]) {
    let mask = low_mask(B as u8);
    for (number, block) in blocks.iter_mut().enumerate() {
        let bytes = &data[number * B..number * B + B + 8];
        for (j, entry) in block.iter_mut().enumerate() {
            let (byte, shift) = (j * B / 8, j * B % 8);
            // `byte` is below B, so 8 bytes are there.
            let word = bytes[byte..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            *entry = entry.wrapping_add(((word >> shift) & mask) as u32);
        }
    }
}

fn low_mask(bits: u8) -> u64 {
    (1 << bits) - 1
}

fn check_bits(bits: u8) {
    assert!((1..=32).contains(&bits), "entries have 1 to 32 bits");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_examples() {
        for (values, bits, expected) in
            [(&[1, 2, 3][..], 9, &[1, 4, 12, 0][..]), (&[0xffff_f001, 0xabc][..], 12, &[0x01, 0xc0, 0xab][..])]
        {
            let mut out = Vec::new();
            pack(values, bits, &mut out);
            assert_eq!(out, expected, "{bits} bits");
        }
        assert_eq!(unpack(&[1, 4, 12, 0], 3, 9), Ok(vec![1, 2, 3]));
        assert_eq!(unpack(&[1, 4, 12, 8], 3, 9), Err(Reason::PaddingBits.into()), "bit 27 is spare");
    }

    #[test]
    fn a_stream_that_is_too_long_leaves_the_sum_alone() {
        let mut unpacker = Unpacker::new(4, 8);
        let mut sum = vec![10; 4];
        unpacker.feed(&[1, 2], &mut sum).unwrap();
        assert_eq!(unpacker.clone().feed(&[3, 4, 5], &mut sum), Err(Reason::WrongLength.into()));
        assert_eq!(sum, [11, 12, 10, 10]);
        assert_eq!(unpacker.finish(), Err(Reason::WrongLength.into()), "two bytes are missing");
    }

    #[test]
    fn nothing_packs_to_nothing() {
        assert_eq!(unpack(&[], 0, 20), Ok(vec![]));
        assert_eq!(unpack(&[0], 0, 20), Err(Reason::WrongLength.into()));
    }

    #[cfg(not(target_arch = "wasm32"))]
    mod properties {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            /// Unpacking in any pieces adds exactly the low bits, modulo 2^32.
            #[test]
            fn pieces_of_any_size(
                values in proptest::collection::vec(any::<u32>(), 0..400),
                start: u32,
                bits in 1_u8..=32,
                sizes in proptest::collection::vec(1_usize..200, 1..20),
            ) {
                let mut packed = Vec::new();
                pack(&values, bits, &mut packed);
                prop_assert_eq!(packed.len(), packed_len(values.len(), bits));
                let mut sum = vec![start; values.len()];
                let mut unpacker = Unpacker::new(values.len(), bits);
                let mut rest = packed.as_slice();
                for size in sizes.iter().cycle() {
                    let (piece, later) = rest.split_at((*size).min(rest.len()));
                    unpacker.feed(piece, &mut sum).unwrap();
                    rest = later;
                    if rest.is_empty() {
                        break;
                    }
                }
                prop_assert_eq!(unpacker.finish(), Ok(()));
                for (value, sum) in values.iter().zip(sum) {
                    prop_assert_eq!(sum, start.wrapping_add((u64::from(*value) & low_mask(bits)) as u32));
                }
            }
        }
    }
}
