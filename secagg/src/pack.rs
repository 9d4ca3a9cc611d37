//! b-bit entries as one little-endian bit string (annex section 7): entry `e` is in bits `e b .. e b + b`.
//!
//! Eight entries end on a whole byte, so both directions work on eight at a time: one unaligned load, one shift, one
//! mask per entry.

use crate::error::{Reason, Refusal};

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
    out.reserve(packed_len(values.len(), bits) + 8);
    let mask = low_mask(bits);
    let (mut pending, mut held) = (0_u64, 0_u32);
    for value in values {
        // At most 31 bits are pending, so 32 more fit.
        pending |= (u64::from(*value) & mask) << held;
        held += u32::from(bits);
        if held >= 32 {
            out.extend_from_slice(&(pending as u32).to_le_bytes());
            pending >>= 32;
            held -= 32;
        }
    }
    out.extend_from_slice(&pending.to_le_bytes()[..held.div_ceil(8) as usize]);
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
    fn whole_blocks<'a>(&mut self, mut data: &'a [u8], acc: &mut [u32]) -> &'a [u8] {
        let bits = usize::from(self.bits);
        let mask = low_mask(self.bits);
        // Entry j of a block starts at byte j b / 8; the last load ends at most 8 bytes behind the block.
        let places: [(usize, u32); 8] = std::array::from_fn(|j| (j * bits / 8, (j * bits % 8) as u32));
        for block in acc[self.done..].as_chunks_mut::<8>().0 {
            if data.len() < bits + 8 {
                break;
            }
            for (entry, (byte, shift)) in block.iter_mut().zip(places) {
                // The block's first load starts at 0 and the last one before b, so 8 bytes are there.
                let word = data[byte..].first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                *entry = entry.wrapping_add(((word >> shift) & mask) as u32);
            }
            data = &data[bits..];
            self.done += 8;
        }
        data
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
    fn the_annexes_examples() {
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
