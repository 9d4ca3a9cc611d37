//! Who masks with whom: the session's graph, sets of participants, and what survivors sign (docs/protocol/graph.md).

use std::collections::VecDeque;

use crate::error::{Reason, Refusal};
use crate::keys::hash;
use crate::prg::Words;
use crate::roster::Sid;

/// Bytes of a [`survivor_statement`].
pub const STATEMENT_LEN: usize = 104;

/// A set of participants as a bitmap: index i is bit i mod 8, least significant first, of byte i / 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    n: u32,
    bits: Vec<u8>,
    len: u32,
}

impl Members {
    /// The empty set out of `n` participants.
    pub fn none(n: u32) -> Self {
        Self { n, bits: vec![0; n.div_ceil(8) as usize], len: 0 }
    }

    /// All of `n` participants.
    pub fn all(n: u32) -> Self {
        let mut set = Self::none(n);
        (0..n).for_each(|index| set.insert(index));
        set
    }

    /// The set of the given indices.
    ///
    /// # Panics
    /// If an index is not below `n`.
    pub fn of(n: u32, indices: impl IntoIterator<Item = u32>) -> Self {
        let mut set = Self::none(n);
        indices.into_iter().for_each(|index| set.insert(index));
        set
    }

    /// Decodes a bitmap over `n` participants.
    ///
    /// # Errors
    /// [`Reason::Malformed`] for a wrong length or a set spare bit.
    pub fn decode(n: u32, data: &[u8]) -> Result<Self, Refusal> {
        let spare = !n.is_multiple_of(8) && data.last().is_some_and(|last| last >> (n % 8) != 0);
        if data.len() != n.div_ceil(8) as usize || spare {
            return Err(Reason::Malformed.into());
        }
        Ok(Self { n, bits: data.to_vec(), len: data.iter().map(|byte| byte.count_ones()).sum() })
    }

    /// The canonical bitmap, ceil(n/8) bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bits
    }

    /// Participants of the session, in the set or not.
    pub fn n(&self) -> u32 {
        self.n
    }

    /// Participants in the set.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether nobody is in the set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether `index` is in the set; an index beyond `n` is not.
    pub fn contains(&self, index: u32) -> bool {
        index < self.n && self.bits[index as usize / 8] >> (index % 8) & 1 == 1
    }

    /// Puts `index` into the set.
    ///
    /// # Panics
    /// If `index` is not below `n`.
    pub fn insert(&mut self, index: u32) {
        assert!(index < self.n, "participant {index} of {}", self.n);
        self.len += u32::from(!self.contains(index));
        self.bits[index as usize / 8] |= 1 << (index % 8);
    }

    /// Takes `index` out of the set.
    pub fn remove(&mut self, index: u32) {
        if self.contains(index) {
            self.bits[index as usize / 8] &= !(1 << (index % 8));
            self.len -= 1;
        }
    }

    /// The indices, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.n).filter(|index| self.contains(*index))
    }

    /// Whether everybody in this set is in `other`, a set of the same session.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.n == other.n && self.bits.iter().zip(&other.bits).all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// SHA-256 of the bitmap.
    pub fn digest(&self) -> [u8; 32] {
        hash(&[&self.bits])
    }
}

/// What a device signs in stage 3: the session, who shared keys and whose input is in the sum.
pub fn survivor_statement(sid: &Sid, u2: &Members, u3: &Members) -> [u8; STATEMENT_LEN] {
    let mut out = [0; STATEMENT_LEN];
    out[..8].copy_from_slice(b"FLSA1/u3");
    out[8..40].copy_from_slice(sid.as_bytes());
    out[40..72].copy_from_slice(&u2.digest());
    out[72..].copy_from_slice(&u3.digest());
    out
}

/// The seed of the session's permutation. Version 1 has no public beacon: 32 zero bytes stand for it.
pub fn graph_seed(sid: &Sid) -> [u8; 32] {
    hash(&[b"FLSA1/graph", sid.as_bytes(), &[0; 32]])
}

/// The participant at each ring position: Fisher-Yates from the top, indices by rejection from ChaCha20 words.
pub fn permutation(n: u32, seed: &[u8; 32]) -> Vec<u32> {
    let mut words = Words::new(seed);
    let mut ring: Vec<u32> = (0..n).collect();
    for i in (1..n).rev() {
        let bound = u64::from(i) + 1;
        let limit = (1 << 32) / bound * bound;
        let word = loop {
            let word = u64::from(words.next_word());
            if word < limit {
                break word;
            }
        };
        ring.swap(i as usize, (word % bound) as usize);
    }
    ring
}

/// The graph of one session: who is whose neighbour.
#[derive(Clone, Debug)]
pub struct Graph {
    n: u32,
    k: u32,
    /// None: everybody is everybody's neighbour.
    ring: Option<Ring>,
}

#[derive(Clone, Debug)]
struct Ring {
    /// The participant at each position.
    participants: Vec<u32>,
    /// The position of each participant.
    positions: Vec<u32>,
}

impl Graph {
    /// Everybody is everybody's neighbour.
    pub fn complete(n: u32) -> Self {
        Self { n, k: n.saturating_sub(1), ring: None }
    }

    /// Everybody's neighbours are the `k / 2` participants on either side of a ring that `sid` permutes.
    ///
    /// # Panics
    /// Unless `k` is even and below `n`: the compiled table gives no other.
    pub fn harary(n: u32, k: u32, sid: &Sid) -> Self {
        assert!(k.is_multiple_of(2) && k < n, "a ring of {n} has no {k} neighbours");
        let participants = permutation(n, &graph_seed(sid));
        let mut positions = vec![0; n as usize];
        for (position, participant) in (0..).zip(&participants) {
            positions[*participant as usize] = position;
        }
        Self { n, k, ring: Some(Ring { participants, positions }) }
    }

    /// Participants.
    pub fn n(&self) -> u32 {
        self.n
    }

    /// Neighbours of each participant.
    pub fn k(&self) -> u32 {
        self.k
    }

    /// The participant at each ring position; none in a complete graph.
    pub fn ring(&self) -> Option<&[u32]> {
        self.ring.as_ref().map(|ring| ring.participants.as_slice())
    }

    /// The neighbours of `i`, ascending. `i` itself is not among them.
    ///
    /// # Panics
    /// If `i` is not below `n`.
    pub fn neighbours(&self, i: u32) -> Vec<u32> {
        let mut near: Vec<u32> = self.unsorted(i).collect();
        if self.ring.is_some() {
            near.sort_unstable();
        }
        near
    }

    /// Neighbours of `i` that are in `members`.
    pub fn count_in(&self, i: u32, members: &Members) -> u32 {
        self.unsorted(i).filter(|j| members.contains(*j)).count() as u32
    }

    /// The rank of `j` among the ascending neighbours of `i`; None when `j` is none of them.
    pub fn rank(&self, i: u32, j: u32) -> Option<u32> {
        if self.ring.is_none() {
            return (j < self.n && i != j).then(|| j - u32::from(j > i));
        }
        let (mut adjacent, mut smaller) = (false, 0);
        for neighbour in self.unsorted(i) {
            adjacent |= neighbour == j;
            smaller += u32::from(neighbour < j);
        }
        adjacent.then_some(smaller)
    }

    /// `sharers` without those who have fewer than `t` neighbours left in it, until nobody has
    /// (docs/protocol/session.md).
    pub fn prune(&self, t: u32, sharers: &Members) -> Members {
        let mut alive = sharers.clone();
        let mut left: Vec<u32> = (0..self.n).map(|i| self.count_in(i, sharers)).collect();
        let mut weak: Vec<u32> = alive.iter().filter(|i| left[*i as usize] < t).collect();
        weak.iter().for_each(|i| alive.remove(*i));
        while let Some(i) = weak.pop() {
            for j in self.unsorted(i).filter(|j| alive.contains(*j)).collect::<Vec<_>>() {
                left[j as usize] -= 1;
                if left[j as usize] < t {
                    alive.remove(j);
                    weak.push(j);
                }
            }
        }
        alive
    }

    /// Whether the graph among `members` is in one piece; an empty one is not.
    pub fn connected(&self, members: &Members) -> bool {
        let mut unseen = members.clone();
        let mut todo: VecDeque<u32> = members.iter().take(1).collect();
        todo.iter().for_each(|i| unseen.remove(*i));
        while let Some(i) = todo.pop_front() {
            for j in self.unsorted(i) {
                if unseen.contains(j) {
                    unseen.remove(j);
                    todo.push_back(j);
                }
            }
        }
        !members.is_empty() && unseen.is_empty()
    }

    /// The largest number of participants missing from `members` among `k / 2` in a row on the ring
    /// (docs/protocol/graph.md). A complete graph has no ring: 0.
    pub fn worst_window(&self, members: &Members) -> u32 {
        let Some(ring) = &self.ring else { return 0 };
        let (n, width) = (self.n as usize, self.k as usize / 2);
        let gone = |position: usize| u32::from(!members.contains(ring.participants[position % n]));
        let mut missing: u32 = (0..width).map(gone).sum();
        let mut worst = missing;
        for start in 0..n {
            missing = missing + gone(start + width) - gone(start);
            worst = worst.max(missing);
        }
        worst
    }

    fn unsorted(&self, i: u32) -> impl Iterator<Item = u32> + '_ {
        assert!(i < self.n, "participant {i} of {}", self.n);
        let n = u64::from(self.n);
        let half = u64::from(self.k / 2);
        let (offsets, start) = match &self.ring {
            None => (1..n, u64::from(i)),
            Some(ring) => (1..2 * half + 1, u64::from(ring.positions[i as usize])),
        };
        let sparse = self.ring.as_ref();
        offsets.map(move |offset| match sparse {
            // 0 .. i, then i + 1 .. n: ascending.
            None => (offset - u64::from(offset <= start)) as u32,
            // The `half` positions behind, then the `half` ahead.
            Some(ring) => {
                let back = n - half + offset - 1 + u64::from(offset > half);
                ring.participants[((start + back) % n) as usize]
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid() -> Sid {
        Sid::from([9; 32])
    }

    #[test]
    fn the_documented_permutation_and_bitmap() {
        let sid = "2a589a1b41fde6a671676beae13e5132606ccbf81c16750867b7cf600f5255dd";
        let sid = Sid::from(<[u8; 32] as hex::FromHex>::from_hex(sid).unwrap());
        let seed = graph_seed(&sid);
        assert_eq!(hex::encode(seed), "eb50a68ffa71fad1ad0cd2ef3fb0d3a84550ed60a6c4547c79d97a543e94f00a");
        assert_eq!(permutation(10, &seed), [7, 2, 0, 5, 1, 4, 9, 6, 8, 3]);
        assert_eq!(Members::of(13, [0, 2, 3, 12]).as_bytes(), [0x0d, 0x10]);
    }

    #[test]
    fn bitmaps_have_one_encoding() {
        let set = Members::of(13, [1, 12, 1]);
        assert_eq!((set.len(), set.iter().collect::<Vec<_>>()), (2, vec![1, 12]));
        assert_eq!(Members::decode(13, set.as_bytes()), Ok(set.clone()));
        for bad in [&[0x02, 0x20][..], &[0x02, 0x30], &[0x02], &[0x02, 0x10, 0]] {
            assert_eq!(Members::decode(13, bad), Err(Reason::Malformed.into()), "{bad:?}");
        }
        assert_eq!(Members::decode(16, &[0xff, 0xff]).unwrap(), Members::all(16));
        assert!(!set.contains(13) && !set.contains(u32::MAX));
        assert!(set.is_subset(&Members::all(13)) && !Members::all(13).is_subset(&set));
        let mut none = set;
        none.iter().collect::<Vec<_>>().into_iter().for_each(|i| none.remove(i));
        assert_eq!(none, Members::none(13));
    }

    #[test]
    fn neighbours_are_mutual_and_ranks_are_places() {
        for graph in [Graph::complete(13), Graph::harary(30, 8, &sid())] {
            for i in 0..graph.n() {
                let near = graph.neighbours(i);
                assert_eq!(near.len() as u32, graph.k());
                assert!(near.is_sorted() && !near.contains(&i));
                for j in 0..graph.n() {
                    let place = near.iter().position(|other| *other == j).map(|place| place as u32);
                    assert_eq!(graph.rank(i, j), place, "{j} with {i}");
                    assert_eq!(graph.neighbours(j).contains(&i), near.contains(&j), "{i} and {j}");
                }
            }
        }
    }

    #[test]
    fn pruning_runs_until_nobody_is_weak() {
        let graph = Graph::harary(20, 4, &sid());
        let ring = graph.ring().unwrap();
        // Three neighbours are needed; with position 0 gone 1, 2, 18 and 19 keep three, with 0 and 1 gone 2 and 19 do
        // not, and from there on the ring unravels.
        let without = |gone: &[usize]| Members::of(20, (0..20).filter(|p| !gone.contains(p)).map(|p| ring[p]));
        assert_eq!(graph.prune(3, &without(&[0])), without(&[0]));
        assert_eq!(graph.prune(3, &without(&[0, 1])), Members::none(20));
        assert_eq!(graph.prune(2, &without(&[0, 1])), without(&[0, 1]));
    }

    #[test]
    fn two_gaps_cut_a_ring_and_windows_see_them() {
        let graph = Graph::harary(20, 4, &sid());
        let ring = graph.ring().unwrap();
        let without = |gone: &[usize]| Members::of(20, (0..20).filter(|p| !gone.contains(p)).map(|p| ring[p]));
        for (gone, connected, worst) in [
            (&[][..], true, 0),
            (&[3, 4], true, 2),
            (&[3, 4, 10], true, 2),
            (&[3, 4, 10, 11], false, 2),
            (&[3, 10], true, 1),
            (&[0, 19], true, 2),
        ] {
            assert_eq!(graph.connected(&without(gone)), connected, "{gone:?}");
            assert_eq!(graph.worst_window(&without(gone)), worst, "{gone:?}");
        }
        assert!(!graph.connected(&Members::none(20)));
        assert!(Graph::complete(5).connected(&Members::of(5, [4])));
    }
}
