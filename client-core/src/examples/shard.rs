//! One sealed part of the examples, in memory and as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use scale_proto::ids::Digest;
use scale_proto::time::Timestamp;
use zeroize::Zeroizing;

use super::{ID_BYTES, LABEL_BYTES};
use crate::error::HostError;
use crate::host::{Host, KeyStore as _, Store as _};
use crate::train::{SharedText, dataset};

/// Shards of a store. Few enough to be read quickly, many enough for a change of one example to write little.
pub(super) const SHARDS: usize = 64;

const VERSION: u8 = 1;

/// SHA-256 of an example's id.
pub(super) type IdDigest = [u8; 32];

/// The examples of one shard, by the digest of their id. Copies share them.
pub(super) type Entries = BTreeMap<IdDigest, Arc<Entry>>;

/// One example.
pub(super) struct Entry {
    pub(super) id: Zeroizing<String>,
    pub(super) text: SharedText,
    pub(super) label: SharedText,
    pub(super) time: Timestamp,
}

/// What the store has of a shard.
pub(super) enum Found {
    Nothing,
    /// Bytes that do not open, or hold something else.
    Damaged,
    Shard {
        entries: Entries,
        /// A bit for each shard that had been written by then.
        written: u64,
    },
}

pub(super) fn digest(id: &str) -> IdDigest {
    Digest::of(id.as_bytes()).0
}

/// Decides whether the example is held out.
pub(super) fn key_of(digest: &IdDigest) -> u64 {
    dataset::key_of(&Digest(*digest))
}

/// The shard of an example. Not a byte of its key: then a shard would hold out all of its examples, or none.
pub(super) fn shard_of(digest: &IdDigest) -> usize {
    usize::from(digest[8]) % SHARDS
}

/// The store's key.
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

/// `written`: a bit for each shard that has been written, this one among them.
pub(super) fn encode(entries: &Entries, written: u64) -> Zeroizing<Vec<u8>> {
    let each = |entry: &Entry| 14 + entry.id.len() + entry.label.len() + entry.text.len();
    // All of it, so that no copy is left behind where it grew.
    let mut out = Zeroizing::new(Vec::with_capacity(13 + entries.values().map(|entry| each(entry)).sum::<usize>()));
    out.push(VERSION);
    out.extend_from_slice(&written.to_le_bytes());
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    for Entry { id, text, label, time } in entries.values().map(AsRef::as_ref) {
        // `ExampleLimits::check` has seen their lengths.
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

/// What follows the version; `None` if it is something else.
fn decode(bytes: &[u8]) -> Option<(Entries, u64)> {
    let mut rest = bytes;
    let written = u64::from_le_bytes(*chunk(&mut rest)?);
    let count = u32::from_le_bytes(*chunk(&mut rest)?);
    let mut entries = Entries::new();
    // Examples of one label share its name.
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
        // In order, and each of them once.
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
