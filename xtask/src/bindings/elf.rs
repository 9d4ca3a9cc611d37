//! Reads how the segments of a shared library for Android are aligned.
//!
//! Phones with pages of 16 KB refuse a library whose segments are aligned to 4 KB.

use anyhow::{Context, Result, bail, ensure};

/// Where the fields of one class (32 or 64 bits) lie: in the file's header the table's offset, the size of an entry and their
/// number; in an entry the alignment; and the width of offsets and alignments.
struct Layout {
    table: usize,
    entry_size: usize,
    entries: usize,
    alignment: usize,
    wide: bool,
}

const LAYOUT_32: Layout = Layout { table: 28, entry_size: 42, entries: 44, alignment: 28, wide: false };
const LAYOUT_64: Layout = Layout { table: 32, entry_size: 54, entries: 56, alignment: 48, wide: true };

/// A segment that is loaded into memory.
const LOAD: u32 = 1;

/// The smallest alignment of the segments that are loaded.
///
/// # Errors
/// If this is no little-endian ELF file, is cut off, or loads nothing.
pub(super) fn alignment(file: &[u8]) -> Result<u64> {
    ensure!(file.starts_with(b"\x7fELF"), "not an ELF file");
    let layout = match (file.get(4), file.get(5)) {
        (Some(1), Some(1)) => LAYOUT_32,
        (Some(2), Some(1)) => LAYOUT_64,
        _ => bail!("an ELF file of an unknown class or byte order"),
    };
    let word = |at: usize, bytes: usize| {
        let field = file.get(at..at + bytes).context("the file is cut off")?;
        Ok::<u64, anyhow::Error>(field.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let width = if layout.wide { 8 } else { 4 };
    let (table, size) = (word(layout.table, width)?, word(layout.entry_size, 2)?);
    let mut least = None;
    for number in 0..word(layout.entries, 2)? {
        let entry = usize::try_from(table + number * size).context("the file is cut off")?;
        if word(entry, 4)? == u64::from(LOAD) {
            let alignment = word(entry + layout.alignment, width)?;
            least = Some(least.map_or(alignment, |least: u64| least.min(alignment)));
        }
    }
    least.context("the file loads nothing")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a note and segments of these alignments.
    fn file(layout: &Layout, alignments: &[u64]) -> Vec<u8> {
        let (header, size) = if layout.wide { (64, 56) } else { (52, 32) };
        let width = if layout.wide { 8 } else { 4 };
        let mut file = vec![0; header + size * (alignments.len() + 1)];
        file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', if layout.wide { 2 } else { 1 }, 1]);
        let mut put =
            |at: usize, bytes: usize, value: u64| file[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        put(layout.table, width, header as u64);
        put(layout.entry_size, 2, size as u64);
        put(layout.entries, 2, alignments.len() as u64 + 1);
        for (number, alignment) in alignments.iter().enumerate() {
            put(header + size * number, 4, u64::from(LOAD));
            put(header + size * number + layout.alignment, width, *alignment);
        }
        let note = header + size * alignments.len();
        put(note, 4, 4);
        put(note + layout.alignment, width, 1);
        file
    }

    #[test]
    fn the_least_alignment_of_what_is_loaded_counts() {
        for layout in [LAYOUT_32, LAYOUT_64] {
            assert_eq!(alignment(&file(&layout, &[16384, 16384])).unwrap(), 16384);
            assert_eq!(alignment(&file(&layout, &[65536, 4096, 16384])).unwrap(), 4096);
            assert!(alignment(&file(&layout, &[])).unwrap_err().to_string().contains("loads nothing"));
            let whole = file(&layout, &[16384]);
            assert!(alignment(&whole[..whole.len() - 60]).unwrap_err().to_string().contains("cut off"));
        }
        assert!(alignment(b"\xcf\xfa\xed\xfe").is_err());
        assert!(alignment(b"\x7fELF\x02\x02").is_err(), "big-endian");
    }

    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    #[test]
    fn a_real_file_is_read() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let alignment = alignment(&own).unwrap();
        assert!(alignment >= 4096 && alignment.is_power_of_two(), "{alignment}");
    }
}
