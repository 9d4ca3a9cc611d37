//! Stage 0 and the roster: entries, the tree over them, and the session id that binds them all
//! (docs/protocol/session.md).

use std::collections::BTreeMap;
use std::fmt;

use crate::bytes::{Reader, Writer};
use crate::error::{Reason, Refusal};
use crate::keys::hash;

mod certificate;

pub use certificate::{CERTIFICATE_LEN, Certificate, certificate_statement, decode_certified, encode_certified};

/// Bytes of an encoded [`Entry`].
pub const ENTRY_LEN: usize = 160;

/// The hash of the round configuration and the whole roster. Every device computes it itself; every mask key is salted
/// with it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; 32]);

impl Sid {
    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Sid {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({self})")
    }
}

/// One device in the roster: its three public keys and its signature over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Ed25519 identity key.
    pub id_pk: [u8; 32],
    /// X25519 channel key: opens the shares that are addressed to this device.
    pub c_pk: [u8; 32],
    /// X25519 mask key.
    pub s_pk: [u8; 32],
    /// The identity key's signature over [`advertise_statement`].
    pub sig: [u8; 64],
}

impl Entry {
    /// The 160 bytes: keys in the order of the fields, then the signature.
    pub fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut out = [0; ENTRY_LEN];
        out[..32].copy_from_slice(&self.id_pk);
        out[32..64].copy_from_slice(&self.c_pk);
        out[64..96].copy_from_slice(&self.s_pk);
        out[96..].copy_from_slice(&self.sig);
        out
    }

    /// Decodes 160 bytes. Whether the keys and the signature are any good is for the caller to check.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for any other length.
    pub fn decode(data: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(data);
        let entry = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(entry)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        Ok(Self { id_pk: reader.array()?, c_pk: reader.array()?, s_pk: reader.array()?, sig: reader.array()? })
    }

    /// The leaf of the roster's tree. A device's index is the rank of its leaf.
    pub fn leaf(&self) -> [u8; 32] {
        hash(&[&[0], b"FLSA1/leaf", &self.encode()])
    }
}

/// What a device signs in stage 0, 137 bytes.
pub fn advertise_statement(cfg: &[u8; 32], id_pk: &[u8; 32], c_pk: &[u8; 32], s_pk: &[u8; 32]) -> Vec<u8> {
    [b"FLSA1/adv".as_slice(), cfg, id_pk, c_pk, s_pk].concat()
}

/// `H("FLSA1/sid" ‖ cfg ‖ u32 n ‖ root)`.
pub fn session_id(cfg: &[u8; 32], n: u32, root: &[u8; 32]) -> Sid {
    Sid(hash(&[b"FLSA1/sid", cfg, &n.to_le_bytes(), root]))
}

/// A Merkle tree with all its levels (the shape of RFC 6962): neighbours pair up from the left, and a last node without
/// a partner moves up unchanged.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Leaves first, root last.
    levels: Vec<Vec<[u8; 32]>>,
}

impl Tree {
    /// The tree over `leaves`.
    ///
    /// # Panics
    /// If there is no leaf.
    pub fn new(leaves: &[[u8; 32]]) -> Self {
        assert!(!leaves.is_empty(), "a roster has at least one entry");
        let mut levels = vec![leaves.to_vec()];
        while let Some(row) = levels.last().filter(|row| row.len() > 1) {
            let parents = row.chunks(2).map(|pair| if let [l, r] = pair { parent(l, r) } else { pair[0] }).collect();
            levels.push(parents);
        }
        Self { levels }
    }

    /// The root.
    pub fn root(&self) -> [u8; 32] {
        // Construction ends with a level of one node.
        self.levels[self.levels.len() - 1][0]
    }

    /// The hashes that a holder of the leaves `indices` (in any order) lacks to compute the root: level by level from the
    /// leaves, left to right.
    pub fn multiproof(&self, indices: &[u32]) -> Vec<[u8; 32]> {
        let mut known: Vec<usize> = indices.iter().map(|index| *index as usize).collect();
        known.sort_unstable();
        known.dedup();
        let mut out = Vec::new();
        for row in &self.levels[..self.levels.len() - 1] {
            for index in &known {
                let sibling = index ^ 1;
                if sibling < row.len() && known.binary_search(&sibling).is_err() {
                    out.push(row[sibling]);
                }
            }
            known.iter_mut().for_each(|index| *index /= 2);
            known.dedup();
        }
        out
    }
}

/// The root of the tree over `leaves`, of which there is at least one.
pub fn merkle_root(leaves: &[[u8; 32]]) -> [u8; 32] {
    Tree::new(leaves).root()
}

/// [`Tree::multiproof`] for a single use.
pub fn multiproof(leaves: &[[u8; 32]], indices: &[u32]) -> Vec<[u8; 32]> {
    Tree::new(leaves).multiproof(indices)
}

/// The root of a tree of `n` leaves from some of them, by index, and the proof for exactly these.
///
/// A proof does not bind `n` by itself: the session id does.
///
/// # Errors
/// [`Reason::Malformed`] when the proof is too short or too long, no leaf is known or one lies beyond `n`.
pub fn multiproof_root(n: u32, known: &BTreeMap<u32, [u8; 32]>, proof: &[[u8; 32]]) -> Result<[u8; 32], Refusal> {
    let malformed = Refusal::from(Reason::Malformed);
    if known.last_key_value().is_none_or(|(index, _)| *index >= n) {
        return Err(malformed);
    }
    let mut proof = proof.iter();
    let mut row: Vec<(u32, [u8; 32])> = known.iter().map(|(index, leaf)| (*index, *leaf)).collect();
    let mut width = n;
    while width > 1 {
        let mut parents = Vec::with_capacity(row.len());
        let mut nodes = row.iter().peekable();
        while let Some((index, node)) = nodes.next() {
            let up = if index ^ 1 >= width {
                *node
            } else if index % 2 == 1 {
                // A known left sibling would have taken this node with it.
                parent(proof.next().ok_or(malformed)?, node)
            } else if let Some((_, right)) = nodes.next_if(|(next, _)| *next == index + 1) {
                parent(node, right)
            } else {
                parent(node, proof.next().ok_or(malformed)?)
            };
            parents.push((index / 2, up));
        }
        row = parents;
        width = width.div_ceil(2);
    }
    if proof.next().is_some() {
        return Err(malformed);
    }
    // At width 1 every node has met its siblings: one is left.
    Ok(row[0].1)
}

fn parent(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hash(&[&[1], left, right])
}

/// Which of the roster messages a session uses: the one that fits its graph and profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RosterForm {
    /// All entries.
    Complete,
    /// All entries, each with its certificate: profile M.
    Certified,
    /// The own entry, those of the neighbours, and the proof that they stand in the tree.
    Sparse,
}

/// The roster message of a complete graph: every entry in index order.
pub fn encode_complete(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(ENTRY_LEN * entries.len());
    entries.iter().for_each(|entry| out.extend_from_slice(&entry.encode()));
    out
}

/// Decodes the roster message of a complete graph.
///
/// # Errors
/// [`Reason::Malformed`] unless the length is a multiple of 160.
pub fn decode_complete(data: &[u8]) -> Result<Vec<Entry>, Refusal> {
    let (entries, rest) = data.as_chunks::<ENTRY_LEN>();
    if !rest.is_empty() {
        return Err(Reason::Malformed.into());
    }
    entries.iter().map(|entry| Entry::decode(entry)).collect()
}

/// The roster message of a sparse graph for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseRoster {
    /// Participants in the session.
    pub n: u32,
    /// Root of the tree over all entries.
    pub root: [u8; 32],
    /// The receiver's index.
    pub own: u32,
    /// The entries of the receiver and its neighbours by index.
    pub entries: BTreeMap<u32, Entry>,
    /// Multiproof for exactly these entries.
    pub proof: Vec<[u8; 32]>,
}

impl SparseRoster {
    /// What the server sends to the device at index `own`: `all` entries of the session and their `tree`, of which it
    /// shows `own` and its `neighbours`.
    ///
    /// # Panics
    /// If an index is beyond `all`.
    pub fn new(all: &[Entry], tree: &Tree, own: u32, neighbours: &[u32]) -> Self {
        let entries: BTreeMap<_, _> =
            neighbours.iter().chain([&own]).map(|index| (*index, all[*index as usize].clone())).collect();
        let shown: Vec<_> = entries.keys().copied().collect();
        Self { n: all.len() as u32, root: tree.root(), own, entries, proof: tree.multiproof(&shown) }
    }

    /// The message's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(48 + 164 * self.entries.len() + 32 * self.proof.len());
        out.u32(self.n).put(&self.root).u32(self.own).u32(self.entries.len() as u32);
        for (index, entry) in &self.entries {
            out.u32(*index).put(&entry.encode());
        }
        out.u32(self.proof.len() as u32);
        for hash in &self.proof {
            out.put(hash);
        }
        out.finish()
    }

    /// Decodes the message. Neither the proof nor the indices have been judged yet.
    ///
    /// # Errors
    /// [`Reason::Malformed`] unless there is an entry, indices strictly rise below `n` and the length is exact.
    pub fn decode(data: &[u8]) -> Result<Self, Refusal> {
        let malformed = Refusal::from(Reason::Malformed);
        let mut reader = Reader::new(data);
        let (n, root, own, count) = (reader.u32()?, reader.array()?, reader.u32()?, reader.u32()?);
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let index = reader.u32()?;
            if index >= n || entries.last_key_value().is_some_and(|(last, _)| *last >= index) {
                return Err(malformed);
            }
            entries.insert(index, Entry::read(&mut reader)?);
        }
        if entries.is_empty() || u64::from(reader.u32()?) * 32 != reader.remaining() as u64 {
            return Err(malformed);
        }
        let proof = reader.take(reader.remaining())?.as_chunks::<32>().0.to_vec();
        Ok(Self { n, root, own, entries, proof })
    }

    /// The root that entries and proof lead to; the caller compares it with [`Self::root`].
    ///
    /// # Errors
    /// Those of [`multiproof_root`].
    pub fn proven_root(&self) -> Result<[u8; 32], Refusal> {
        let leaves = self.entries.iter().map(|(index, entry)| (*index, entry.leaf())).collect();
        multiproof_root(self.n, &leaves, &self.proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(n: u8) -> Vec<Entry> {
        (0..n).map(|i| Entry { id_pk: [i; 32], c_pk: [i ^ 0x40; 32], s_pk: [i ^ 0x80; 32], sig: [i; 64] }).collect()
    }

    fn hex32(text: &str) -> [u8; 32] {
        hex::FromHex::from_hex(text).unwrap()
    }

    #[test]
    fn the_documented_tree() {
        let leaves: Vec<_> = (0..5).map(|i| [i; 32]).collect();
        let root = hex32("6b47390ca4d50a07ca331591cb2663ca62ece03b8e58c88926185877238b09b6");
        assert_eq!(merkle_root(&leaves), root);
        let right = hex32("f76475df4f1da410c4ceb75d9eaced17fe47c310c7a3488f3bba063e65b8c25d");
        assert_eq!(multiproof(&leaves, &[4, 1]), [leaves[0], right]);
        let cfg = hex32("a0eca7347907727664f0d46da49cd9e3507e4422df2c1d34d58d20c2ff3e3bc3");
        let sid = session_id(&cfg, 5, &root);
        assert_eq!(sid.to_string(), "2a589a1b41fde6a671676beae13e5132606ccbf81c16750867b7cf600f5255dd");
    }

    #[test]
    fn every_multiproof_of_a_small_tree() {
        for n in 1..=9_u32 {
            let leaves: Vec<_> = (0..n).map(|i| [i as u8; 32]).collect();
            let tree = Tree::new(&leaves);
            for subset in 1_u32..1 << n {
                let indices: Vec<_> = (0..n).filter(|i| subset >> i & 1 == 1).collect();
                let known: BTreeMap<_, _> = indices.iter().map(|i| (*i, leaves[*i as usize])).collect();
                let mut proof = tree.multiproof(&indices);
                assert_eq!(multiproof_root(n, &known, &proof), Ok(tree.root()), "{n} {subset:b}");
                proof.push([0; 32]);
                assert_eq!(multiproof_root(n, &known, &proof), Err(Reason::Malformed.into()), "{n} {subset:b}: longer");
                proof.pop();
                if proof.pop().is_some() {
                    assert_eq!(
                        multiproof_root(n, &known, &proof),
                        Err(Reason::Malformed.into()),
                        "{n} {subset:b}: shorter"
                    );
                }
            }
        }
        assert_eq!(multiproof_root(4, &BTreeMap::new(), &[]), Err(Reason::Malformed.into()), "no leaf");
        assert_eq!(multiproof_root(4, &BTreeMap::from([(4, [0; 32])]), &[]), Err(Reason::Malformed.into()), "beyond n");
    }

    #[test]
    fn sparse_rosters_round_trip_and_prove_their_entries() {
        let all = entries(40);
        let tree = Tree::new(&all.iter().map(Entry::leaf).collect::<Vec<_>>());
        let sent = SparseRoster::new(&all, &tree, 7, &[3, 5, 9, 39]);
        let bytes = sent.encode();
        let mut got = SparseRoster::decode(&bytes).unwrap();
        assert_eq!(got, sent);
        assert_eq!(got.proven_root(), Ok(tree.root()));
        got.entries.get_mut(&5).unwrap().c_pk[0] ^= 1;
        assert_ne!(got.proven_root(), Ok(tree.root()), "a changed key does not stand in the tree");
        for cut in 0..bytes.len() {
            assert_eq!(SparseRoster::decode(&bytes[..cut]), Err(Reason::Malformed.into()), "cut at {cut}");
        }
        assert_eq!(SparseRoster::decode(&[&bytes[..], &[0]].concat()), Err(Reason::Malformed.into()));
    }

    #[test]
    fn sparse_rosters_list_rising_indices_below_n() {
        let all = entries(12);
        let tree = Tree::new(&all.iter().map(Entry::leaf).collect::<Vec<_>>());
        let bytes = SparseRoster::new(&all, &tree, 0, &[1, 2]).encode();
        let (first, second) = (44, 44 + 164);
        for (name, at, value) in [("equal", second, 0_u32), ("falling", first, 2), ("at n", second + 164, 12)] {
            let mut bytes = bytes.clone();
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            assert_eq!(SparseRoster::decode(&bytes), Err(Reason::Malformed.into()), "{name}");
        }
        let mut empty = Writer::new();
        empty.u32(12).put(&[0; 32]).u32(0).u32(0).u32(0);
        assert_eq!(SparseRoster::decode(&empty.finish()), Err(Reason::Malformed.into()), "no entry");
    }

    #[test]
    fn complete_rosters_round_trip() {
        let bytes = encode_complete(&entries(3));
        assert_eq!(decode_complete(&bytes), Ok(entries(3)));
        assert_eq!(decode_complete(&bytes[1..]), Err(Reason::Malformed.into()));
    }
}
