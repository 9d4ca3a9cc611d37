//! The running sum of the masked inputs: one word per entry, added modulo 2^32, in any order
//! (docs/adr/0002-partial-sums-are-the-journal.md).

use std::fmt;

use super::require;
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::pack::Unpacker;

/// One wrapping u32 sum per vector. Sums add up: what several accumulators took can be merged in any order.
#[derive(Clone, PartialEq, Eq)]
pub struct Accumulator {
    bits: u8,
    sums: Vec<Vec<u32>>,
}

/// Bytes that one packed vector of `len` entries takes.
fn packed_len(len: u64, bits: u8) -> u64 {
    (len * u64::from(bits)).div_ceil(8)
}

/// Checks a whole upload before a byte of it is added: its length, and that the unused high bits at the end of each
/// vector are zero.
///
/// `upload_len`: bytes of the upload. `byte_at`: reads one byte of it, asked for at most once per vector.
///
/// # Errors
/// `wrong_length`, `padding_bits`; whatever `byte_at` fails with.
pub fn check_packed<E: From<Refusal>>(
    config: &RoundConfig,
    upload_len: u64,
    mut byte_at: impl FnMut(u64) -> Result<u8, E>,
) -> Result<(), E> {
    require(upload_len == config.masked_input_len(), Reason::WrongLength)?;
    let mut end = 0;
    for vector in &config.vectors {
        end += packed_len(vector.len, config.wire_bits);
        let used = (vector.len * u64::from(config.wire_bits)) % 8;
        if used != 0 {
            require(byte_at(end - 1)? >> used == 0, Reason::PaddingBits)?;
        }
    }
    Ok(())
}

impl Accumulator {
    /// Zero everywhere. Takes four bytes per entry.
    pub fn new(config: &RoundConfig) -> Self {
        let sums = config.vectors.iter().map(|vector| vec![0; vector.len as usize]).collect();
        Self { bits: config.wire_bits, sums }
    }

    /// Starts to add one upload. The accumulator changes with every piece: see [`Ingest`].
    pub fn ingest(&mut self) -> Ingest<'_> {
        Ingest::new(self)
    }

    /// Adds one upload that lies in memory as a whole. Checked first: a refusal changes nothing.
    ///
    /// # Errors
    /// `wrong_length`, `padding_bits`.
    pub fn add(&mut self, config: &RoundConfig, upload: &[u8]) -> Result<(), Refusal> {
        // The length is checked before any byte is asked for.
        check_packed(config, upload.len() as u64, |at| Ok::<_, Refusal>(upload[at as usize]))?;
        let mut ingest = self.ingest();
        ingest.push(upload)?;
        ingest.finish()
    }

    /// Adds another accumulator's sums.
    ///
    /// # Errors
    /// `wrong_length` when it was made for other vectors.
    pub fn merge(&mut self, other: &Self) -> Result<(), Refusal> {
        require(self.bits == other.bits && self.lens().eq(other.lens()), Reason::WrongLength)?;
        for (mine, theirs) in self.sums.iter_mut().zip(&other.sums) {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine = mine.wrapping_add(*theirs);
            }
        }
        Ok(())
    }

    /// Number of entries of each vector.
    pub fn lens(&self) -> impl Iterator<Item = usize> + '_ {
        self.sums.iter().map(Vec::len)
    }

    /// The running sums, one vector after the other: masked until the session is unmasked.
    pub fn sums(&self) -> &[Vec<u32>] {
        &self.sums
    }

    /// The sums as little-endian words, one vector after the other.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 * self.lens().sum::<usize>());
        for sum in &self.sums {
            out.extend(sum.iter().flat_map(|word| word.to_le_bytes()));
        }
        out
    }

    /// Reads [`Self::to_bytes`] back.
    ///
    /// # Errors
    /// `wrong_length` when the bytes do not fit the configuration's vectors.
    pub fn from_bytes(config: &RoundConfig, bytes: &[u8]) -> Result<Self, Refusal> {
        require(bytes.len() as u64 == 4 * config.dim(), Reason::WrongLength)?;
        let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word));
        let sums = config.vectors.iter().map(|vector| words.by_ref().take(vector.len as usize).collect()).collect();
        Ok(Self { bits: config.wire_bits, sums })
    }

    /// Whether it was made for this configuration's vectors.
    pub fn fits(&self, config: &RoundConfig) -> bool {
        let lens = config.vectors.iter().map(|vector| vector.len);
        self.bits == config.wire_bits && self.lens().map(|len| len as u64).eq(lens)
    }

    /// Reads vector number `vector` of an upload, and its bytes; nothing behind the last one.
    fn unpacker(&self, vector: usize) -> (Unpacker, usize) {
        let len = self.sums.get(vector).map_or(0, Vec::len);
        (Unpacker::new(len, self.bits), packed_len(len as u64, self.bits) as usize)
    }

    pub(super) fn into_parts(self) -> (u8, Vec<Vec<u32>>) {
        (self.bits, self.sums)
    }
}

/// One upload on its way into an [`Accumulator`], fed in pieces of any size.
///
/// Every piece is added at once, so after a refusal, or when not all of the upload came, the accumulator holds a part of
/// it and must be discarded: check the upload with [`check_packed`] before, or ingest into an accumulator of its own.
#[derive(Debug)]
#[must_use = "an upload counts only once `finish` has returned Ok"]
pub struct Ingest<'a> {
    accumulator: &'a mut Accumulator,
    /// Number of the vector that the next byte belongs to.
    vector: usize,
    unpacker: Unpacker,
    /// Bytes of this vector that are still to come.
    left: usize,
}

impl<'a> Ingest<'a> {
    fn new(accumulator: &'a mut Accumulator) -> Self {
        let (unpacker, left) = accumulator.unpacker(0);
        Self { accumulator, vector: 0, unpacker, left }
    }

    /// Adds the next piece of the upload.
    ///
    /// # Errors
    /// `wrong_length` for more bytes than an upload has; `padding_bits`. The accumulator must be discarded.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), Refusal> {
        while !piece.is_empty() {
            require(self.vector < self.accumulator.sums.len(), Reason::WrongLength)?;
            let (now, later) = piece.split_at(piece.len().min(self.left));
            self.unpacker.feed(now, &mut self.accumulator.sums[self.vector])?;
            self.left -= now.len();
            piece = later;
            if self.left == 0 {
                self.vector += 1;
                let (next, left) = self.accumulator.unpacker(self.vector);
                std::mem::replace(&mut self.unpacker, next).finish()?;
                self.left = left;
            }
        }
        Ok(())
    }

    /// Ends the upload.
    ///
    /// # Errors
    /// `wrong_length` when bytes are missing. The accumulator must be discarded.
    pub fn finish(self) -> Result<(), Refusal> {
        require(self.vector == self.accumulator.sums.len(), Reason::WrongLength)
    }
}

impl fmt::Debug for Accumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accumulator").field("lens", &self.lens().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
