//! A released sum, from the end of its session to the commit of its round.

use bytes::Bytes;
use scale_proto::ids::SessionId;

/// Where a released sum waits for the commit.
pub(super) fn sum_path(session: SessionId) -> String {
    format!("sums/{session}.bin")
}

/// Entries of a sum are below 2^31 in size: four bytes each, little-endian.
pub(super) fn sum_to_bytes(vectors: &[Vec<i64>]) -> Bytes {
    let words = vectors.iter().flatten().map(|&entry| i32::try_from(entry).unwrap_or(i32::MAX));
    words.flat_map(i32::to_le_bytes).collect::<Vec<u8>>().into()
}

/// Reads [`sum_to_bytes`]; `None` for another shape.
pub(super) fn sum_from_bytes(bytes: &[u8], lens: &[usize]) -> Option<Vec<Vec<i64>>> {
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() || words.len() != lens.iter().sum::<usize>() {
        return None;
    }
    let mut words = words.iter().map(|word| i64::from(i32::from_le_bytes(*word)));
    Some(lens.iter().map(|&len| words.by_ref().take(len).collect()).collect())
}
