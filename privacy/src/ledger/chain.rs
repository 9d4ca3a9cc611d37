//! The log as a chain: each record's MAC covers the one before it, so records cannot be changed, left out, or moved.

use ring::{digest, hmac};

use super::record::{FRAME_MAX, HEADER, MAC, MARK, Record};

/// Separates these MACs from all others under the same key.
const DOMAIN: &[u8] = b"scale-fl/privacy-ledger/1";

/// The device's own key for its ledger, from its key store. Not printed. `ring` keeps its own copy and does not wipe it.
pub struct LedgerKey(hmac::Key);

impl LedgerKey {
    /// HMAC-SHA256 under 32 random bytes that never leave the device.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }
}

impl std::fmt::Debug for LedgerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LedgerKey(redacted)")
    }
}

/// Where the chain ends: what the next record is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Records so far.
    pub(super) records: u64,
    /// MAC of the last one.
    pub(super) mac: [u8; MAC],
}

impl Link {
    /// Before the first record.
    pub(super) const START: Self = Self { records: 0, mac: [0; MAC] };
}

/// A record and its bytes, bound to the chain.
pub(super) struct Frame {
    pub(super) record: Record,
    pub(super) bytes: Vec<u8>,
    pub(super) next: Link,
}

impl LedgerKey {
    /// Binds `record` to the end of the chain.
    pub(super) fn seal(&self, link: &Link, record: Record) -> Frame {
        let mut bytes = record.encode();
        let tag = hmac::sign(&self.0, &covered(link, &bytes));
        bytes.extend_from_slice(tag.as_ref());
        // HMAC-SHA256 has 32 bytes.
        let mac = tag.as_ref().try_into().expect("a MAC has 32 bytes");
        Frame { record, bytes, next: Link { records: link.records + 1, mac } }
    }

    /// The record at the head of `bytes` and its length, if it continues the chain. The MAC is compared in constant time.
    pub(super) fn open(&self, link: &Link, bytes: &[u8]) -> Option<(Record, usize, Link)> {
        let (kind, length) = Record::header(bytes.first_chunk()?)?;
        let (signed, rest) = bytes.split_at_checked(HEADER + length)?;
        let mac: &[u8; MAC] = rest.first_chunk()?;
        hmac::verify(&self.0, &covered(link, signed), mac).ok()?;
        let record = Record::decode(kind, &signed[HEADER..])?;
        Some((record, signed.len() + MAC, Link { records: link.records + 1, mac: *mac }))
    }
}

/// What a MAC covers: the chain so far and the frame.
fn covered(link: &Link, frame: &[u8]) -> Vec<u8> {
    [DOMAIN, &link.mac, &link.records.to_le_bytes(), frame].concat()
}

/// Names bytes that cannot be read.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    // SHA-256 has 32 bytes.
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("a digest has 32 bytes")
}

/// Whether `bytes`, at the end of a log, can be one record that was not written to its end, or not as it should be:
/// nothing may follow it. Blocks that a file system reserved and never filled count too.
pub(super) fn is_torn(bytes: &[u8]) -> bool {
    let unfilled = bytes.len() <= FRAME_MAX && bytes.iter().all(|byte| *byte == 0);
    let one_frame = match bytes.first_chunk().map(Record::header) {
        Some(Some((_, length))) => bytes.len() <= HEADER + length + MAC,
        Some(None) => false,
        None => bytes.first() == Some(&MARK),
    };
    unfilled || one_frame
}
