//! A shard: one sealed part of the examples, in memory and as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use scale_proto::ids::Digest;
use scale_proto::time::Timestamp;
use zeroize::Zeroizing;

use super::{ID_BYTES, LABEL_BYTES};
use crate::error::HostError;
use crate::host::{Host, KeyStore as _, Store as _};
use crate::train::{SharedText, dataset};

/// Number of shards: few enough to read them all quickly, and enough that a change of one example rewrites little.
pub(super) const SHARDS: usize = 64;

const VERSION: u8 = 1;

/// SHA-256 of an example's id.
pub(super) type IdDigest = [u8; 32];

/// The examples of one shard, by the digest of their id. Clones share the examples.
pub(super) type Entries = BTreeMap<IdDigest, Arc<Entry>>;

/// A stored example.
pub(super) struct Entry {
    pub(super) id: Zeroizing<String>,
    pub(super) text: SharedText,
    pub(super) label: SharedText,
    pub(super) time: Timestamp,
}

/// The result of reading a shard.
pub(super) enum Found {
    Nothing,
    /// The bytes cannot be decrypted, or are not a shard.
    Damaged,
    Shard {
        entries: Entries,
        /// A bit for each shard that had been written when this one was written.
        written: u64,
    },
}

pub(super) fn digest(id: &str) -> IdDigest {
    Digest::of(id.as_bytes()).0
}

/// The key that decides whether the example is held out ([`crate::train::dataset::is_held_out`]).
pub(super) fn key_of(digest: &IdDigest) -> u64 {
    dataset::key_of(&Digest(*digest))
}

/// The shard of an example. Not taken from the bytes of its key, because then a shard's examples would be held out all
/// or none.
pub(super) fn shard_of(digest: &IdDigest) -> usize {
    usize::from(digest[8]) % SHARDS
}

/// Key of the shard in the store.
pub(super) fn name(index: usize) -> String {
    format!("examples/{index:02x}")
}

/// # Errors
/// [`HostError`] of the store or the key store, and for a shard in another version of the format.
pub(super) async fn read<H: Host>(host: &H, index: usize) -> Result<Found, HostError> {
    let name = name(index);
    let Some(sealed) = host.store().get(&name).await? else { return Ok(Found::Nothing) };
    let Some(bytes) = host.keys().open(&name, &sealed).await? else { return Ok(Found::Damaged) };
    match bytes.first() {
        Some(&VERSION) => {}
        Some(version) => {
            let problem = format!(
                "`{name}` has version {version} of the format, this build reads {VERSION}: update the app, or delete all \
                 examples"
            );
            return Err(HostError::new("store", problem));
        }
        None => return Ok(Found::Damaged),
    }
    let decoded = decode(&bytes[1..]).filter(|(entries, _)| entries.keys().all(|digest| shard_of(digest) == index));
    Ok(decoded.map_or(Found::Damaged, |(entries, written)| Found::Shard { entries, written }))
}

/// Serializes a shard. `written`: a bit for each shard that has been written, including this one.
pub(super) fn encode(entries: &Entries, written: u64) -> Zeroizing<Vec<u8>> {
    let each = |entry: &Entry| 14 + entry.id.len() + entry.label.len() + entry.text.len();
    // Allocated once: growing the buffer would leave an old copy in memory.
    let mut out = Zeroizing::new(Vec::with_capacity(13 + entries.values().map(|entry| each(entry)).sum::<usize>()));
    out.push(VERSION);
    out.extend_from_slice(&written.to_le_bytes());
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for Entry { id, text, label, time } in entries.values().map(AsRef::as_ref) {
        // `ExampleLimits::check` has verified that the lengths fit.
        out.push(id.len() as u8);
        out.extend_from_slice(id.as_bytes());
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(&time.as_millis().to_le_bytes());
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    out
}

/// Parses what follows the version byte; `None` if it is not a shard.
fn decode(bytes: &[u8]) -> Option<(Entries, u64)> {
    let mut rest = bytes;
    let written = u64::from_le_bytes(*chunk(&mut rest)?);
    let count = u32::from_le_bytes(*chunk(&mut rest)?);
    let mut entries = Entries::new();
    // Examples with the same label share its text.
    let mut labels: BTreeMap<&str, SharedText> = BTreeMap::new();
    for _ in 0..count {
        let len = usize::from(*chunk::<1>(&mut rest)?.first()?);
        let id = text(&mut rest, len).filter(|id| (1..=ID_BYTES).contains(&id.len()))?;
        let len = usize::from(*chunk::<1>(&mut rest)?.first()?);
        let label = text(&mut rest, len).filter(|label| (1..=LABEL_BYTES).contains(&label.len()))?;
        let time = Timestamp::from_millis(u64::from_le_bytes(*chunk(&mut rest)?));
        let len = usize::try_from(u32::from_le_bytes(*chunk(&mut rest)?)).ok()?;
        let text = text(&mut rest, len)?;
        let label = labels.entry(label).or_insert_with(|| label.into()).clone();
        let entry = Entry { id: Zeroizing::new(id.to_owned()), text: text.into(), label, time };
        // The ids must be in ascending order of their digests, without duplicates.
        let digest = digest(id);
        if entries.last_key_value().is_some_and(|(last, _)| *last >= digest) {
            return None;
        }
        entries.insert(digest, Arc::new(entry));
    }
    rest.is_empty().then_some((entries, written))
}

/// Takes the first `N` bytes.
fn chunk<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, others) = rest.split_first_chunk()?;
    *rest = others;
    Some(chunk)
}

/// Takes the first `len` bytes as text.
fn text<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a str> {
    let (text, others) = rest.split_at_checked(len)?;
    *rest = others;
    std::str::from_utf8(text).ok()
}
