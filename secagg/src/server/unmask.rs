//! Stage 4: collects shares, rebuilds what masks the sum and takes it away (docs/protocol/session.md).

use std::collections::BTreeMap;
use std::fmt;

use super::{Accumulator, Core, Receipt, once, require};
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::Members;
use crate::keys::{self, DhSecret, MaskKey, PeerTable, Secret, Sign};
use crate::prg;
use crate::roster::Sid;
use crate::shamir::Rebuilder;

/// Bytes of one revealed share.
const SHARE_LEN: usize = 32;

/// Stage 4 is open.
pub struct Unmask {
    core: Core,
    sharers: Members,
    survivors: Members,
    /// Commitment to the self mask of every sharer.
    commitments: BTreeMap<u32, [u8; 32]>,
    signatures: BTreeMap<u32, [u8; 64]>,
    got: BTreeMap<u32, Vec<u8>>,
    /// Shares received of each participant's secret.
    shares_of: Vec<u32>,
    /// Sharers of whose secret fewer than t shares are here.
    short: u32,
}

/// What a session releases: the sum over the survivors, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SummedUpdate {
    /// One sum per vector of the configuration; each entry is the residue modulo 2^b in -2^(b-1) .. 2^(b-1).
    pub vectors: Vec<Vec<i64>>,
    /// Number of inputs in the sum.
    pub n_survivors: u32,
    /// Whose inputs are in the sum.
    pub survivors: Members,
}

impl Unmask {
    pub(super) fn new(
        core: Core,
        sharers: Members,
        survivors: Members,
        commitments: BTreeMap<u32, [u8; 32]>,
        signatures: BTreeMap<u32, [u8; 64]>,
    ) -> Self {
        let shares_of = vec![0; core.n() as usize];
        let short = sharers.len();
        Self { core, sharers, survivors, commitments, signatures, got: BTreeMap::new(), shares_of, short }
    }

    /// The session's id.
    pub fn sid(&self) -> &Sid {
        &self.core.sid
    }

    /// The round configuration.
    pub fn config(&self) -> &RoundConfig {
        &self.core.config
    }

    /// Whose input is in the sum.
    pub fn survivors(&self) -> &Members {
        &self.survivors
    }

    /// Whether participant `i` signed in stage 3: who takes part in this stage.
    pub fn expected(&self, i: u32) -> bool {
        self.signatures.contains_key(&i)
    }

    /// Participants that this stage waits for.
    pub fn signers(&self) -> impl Iterator<Item = u32> + '_ {
        self.signatures.keys().copied()
    }

    /// Index and signature of the t signers of lowest index among the neighbours of `i`; `None` when `i` did not sign.
    pub fn message(&self, i: u32) -> Option<Vec<u8>> {
        if !self.expected(i) {
            return None;
        }
        let neighbours = self.core.graph.neighbours(i);
        let signed = neighbours.iter().filter_map(|j| Some((j, self.signatures.get(j)?)));
        let mut out = Vec::new();
        for (j, signature) in signed.take(self.core.parameters.t as usize) {
            out.extend_from_slice(&j.to_le_bytes());
            out.extend_from_slice(signature);
        }
        Some(out)
    }

    /// Takes the shares that participant `sender` reveals: 32 bytes for each of its neighbours among the sharers.
    ///
    /// # Errors
    /// `not_expected`, `duplicate`, `wrong_length`, `non_canonical_scalar`.
    pub fn receive(&mut self, sender: u32, message: &[u8]) -> Result<Receipt, Refusal> {
        let receipt = self.check(sender, message)?;
        if receipt == Receipt::New {
            self.keep(sender, message);
        }
        Ok(receipt)
    }

    /// What [`Self::receive`] would say; changes nothing.
    pub(super) fn check(&self, sender: u32, message: &[u8]) -> Result<Receipt, Refusal> {
        require(self.expected(sender), Reason::NotExpected)?;
        if once(&self.got, sender, message)? == Receipt::Same {
            return Ok(Receipt::Same);
        }
        let owners = self.core.live(sender, &self.sharers);
        require(message.len() == SHARE_LEN * owners.len(), Reason::WrongLength)?;
        let canonical = message.chunks_exact(SHARE_LEN).all(|share| Secret::from_canonical(share).is_ok());
        require(canonical, Reason::NonCanonicalScalar)?;
        Ok(Receipt::New)
    }

    /// Takes shares that are new and were checked.
    fn keep(&mut self, sender: u32, message: &[u8]) {
        for owner in self.core.live(sender, &self.sharers) {
            let count = &mut self.shares_of[owner as usize];
            *count += 1;
            self.short -= u32::from(*count == self.core.parameters.t);
        }
        self.got.insert(sender, message.to_vec());
    }

    /// Participants that have answered.
    pub fn answered(&self) -> usize {
        self.got.len()
    }

    /// Whether participant `i` has answered.
    pub fn has_answered(&self, i: u32) -> bool {
        self.got.contains_key(&i)
    }

    /// Whether every signer has answered.
    pub fn is_complete(&self) -> bool {
        self.got.len() == self.signatures.len()
    }

    /// Whether every secret has at least t shares: the stage may close, and more answers would only repair wrong shares.
    pub fn ready(&self) -> bool {
        self.short == 0
    }

    /// Rebuilds the survivors' self masks and the other sharers' pair masks, checks every one of them, and takes the
    /// masks off the sum.
    ///
    /// `sum`: all uploads that were committed in stage 2. `threads`: threads to work on; 1 is always right, and the
    /// result does not depend on it. Time is (survivors + lost sharers x neighbours) x entries.
    ///
    /// # Errors
    /// `too_few_shares`, `secret_mismatch`; `wrong_length` for the sum of another configuration.
    pub fn close(self, sum: Accumulator, threads: usize) -> Result<SummedUpdate, Refusal> {
        require(sum.fits(&self.core.config), Reason::WrongLength)?;
        let masks = self.masks(threads)?;
        let masks: Vec<(Sign, &MaskKey)> = masks.iter().map(|(sign, key)| (*sign, key)).collect();
        let (bits, sums) = sum.into_parts();
        let vectors = (0..).zip(sums).map(|(number, mut sum)| {
            remove(&mut sum, number, &masks, threads);
            sum.iter().map(|&word| signed(word, bits)).collect()
        });
        Ok(SummedUpdate {
            vectors: vectors.collect(),
            n_survivors: self.survivors.len(),
            survivors: self.survivors.clone(),
        })
    }

    /// Every mask that is left in the sum, with the sign that takes it away.
    fn masks(&self, threads: usize) -> Result<Vec<(Sign, MaskKey)>, Refusal> {
        let rebuilder = Rebuilder::new(self.core.parameters.k);
        let owners_of = self.got.keys().map(|&holder| (holder, self.core.live(holder, &self.sharers))).collect();
        let (survivors, lost): (Vec<u32>, Vec<u32>) = self.sharers.iter().partition(|&i| self.survivors.contains(i));
        let self_mask = |owner| self.self_mask(owner, &rebuilder, &self.points(owner, &owners_of)?);
        let mut masks: Vec<_> = each(&survivors, threads, |&owner| Ok((Sign::Minus, self_mask(owner)?)))?;

        let mask_secret = |owner| self.mask_secret(owner, &rebuilder, &self.points(owner, &owners_of)?);
        let secrets = each(&lost, threads, |&owner| Ok((owner, mask_secret(owner)?)))?;
        // By survivor: its key is prepared once for all lost neighbours.
        let secrets: BTreeMap<u32, DhSecret> = secrets.into_iter().collect();
        for pair_masks in each(&survivors, threads, |&survivor| self.pair_masks(survivor, &secrets))? {
            masks.extend(pair_masks);
        }
        Ok(masks)
    }

    /// The shares of one owner's secret, by holder number.
    fn points(&self, owner: u32, owners_of: &BTreeMap<u32, Vec<u32>>) -> Result<Vec<(u32, Secret)>, Refusal> {
        let mut points = Vec::new();
        for (x, holder) in (1..).zip(self.core.graph.neighbours(owner)) {
            let (Some(message), Some(owners)) = (self.got.get(&holder), owners_of.get(&holder)) else { continue };
            // A neighbour of the owner has the owner among its neighbours, and its message was as long as the list.
            let at = owners.binary_search(&owner).expect("neighbourhood is mutual");
            let share = &message[SHARE_LEN * at..SHARE_LEN * (at + 1)];
            points.push((x, Secret::from_canonical(share).map_err(|refusal| Refusal::from(refusal.reason))?));
        }
        Ok(points)
    }

    fn self_mask(&self, owner: u32, rebuilder: &Rebuilder, points: &[(u32, Secret)]) -> Result<MaskKey, Refusal> {
        let Core { sid, entries, parameters, .. } = &self.core;
        let id_pk = &entries[owner as usize].id_pk;
        let committed = self.commitments.get(&owner);
        let good = |b: &Secret| committed == Some(&keys::commitment(sid, id_pk, b));
        let b = rebuilder.rebuild_checked(points, parameters.t, good)?;
        Ok(keys::self_mask_key(sid, id_pk, &b))
    }

    /// The private mask key of a lost sharer.
    fn mask_secret(&self, owner: u32, rebuilder: &Rebuilder, points: &[(u32, Secret)]) -> Result<DhSecret, Refusal> {
        let Core { cfg, entries, parameters, .. } = &self.core;
        let s_pk = &entries[owner as usize].s_pk;
        let good = |a: &Secret| keys::mask_secret(cfg, a).public() == *s_pk;
        Ok(keys::mask_secret(cfg, &rebuilder.rebuild_checked(points, parameters.t, good)?))
    }

    /// The masks between a survivor and its lost neighbours, which the survivor has added.
    fn pair_masks(&self, survivor: u32, secrets: &BTreeMap<u32, DhSecret>) -> Result<Vec<(Sign, MaskKey)>, Refusal> {
        let Core { sid, entries, graph, .. } = &self.core;
        let mine = &entries[survivor as usize].s_pk;
        let neighbours = graph.neighbours(survivor);
        let lost: Vec<_> = neighbours.iter().filter_map(|owner| secrets.get_key_value(owner)).collect();
        let table = if lost.len() < PeerTable::PAYS_FROM { None } else { PeerTable::new(mine) };
        let mask = |(owner, secret): (&u32, &DhSecret)| {
            let shared = table.as_ref().map_or_else(|| secret.agree(mine), |table| table.agree(secret));
            let shared = shared.map_err(|refusal| Refusal::from(refusal.reason))?;
            let theirs = &entries[*owner as usize].s_pk;
            let key = keys::mask_key_between(sid, &shared, mine, theirs);
            Ok((keys::sign_of(mine, theirs).opposite(), key))
        };
        lost.into_iter().map(mask).collect()
    }
}

/// Runs `work` on every item, on up to `threads` threads; the results are in order.
///
/// # Errors
/// The first one, in the order of the items.
fn each<T: Send>(
    items: &[u32],
    threads: usize,
    work: impl Fn(&u32) -> Result<T, Refusal> + Sync,
) -> Result<Vec<T>, Refusal> {
    let part = |items: &[u32]| items.iter().map(&work).collect::<Result<Vec<T>, Refusal>>();
    let parts: Result<Vec<Vec<T>>, Refusal> = in_parts(items, threads, part).into_iter().collect();
    Ok(parts?.into_iter().flatten().collect())
}

/// Runs `work` on consecutive parts of `items`, on as many threads; the results are in order.
#[cfg(not(target_arch = "wasm32"))]
fn in_parts<T: Send>(items: &[u32], threads: usize, work: impl Fn(&[u32]) -> T + Sync) -> Vec<T> {
    let size = items.len().div_ceil(threads.max(1)).max(1);
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = items.chunks(size).map(|part| scope.spawn(move || work(part))).collect();
        // A panic in a part is a bug and goes on here.
        running.into_iter().map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

#[cfg(target_arch = "wasm32")]
fn in_parts<T>(items: &[u32], _threads: usize, work: impl Fn(&[u32]) -> T) -> Vec<T> {
    vec![work(items)]
}

#[cfg(not(target_arch = "wasm32"))]
fn remove(sum: &mut [u32], vector: u32, masks: &[(Sign, &MaskKey)], threads: usize) {
    prg::accumulate_parallel(sum, vector, masks, threads);
}

#[cfg(target_arch = "wasm32")]
fn remove(sum: &mut [u32], vector: u32, masks: &[(Sign, &MaskKey)], _threads: usize) {
    prg::accumulate(sum, vector, 0, masks);
}

/// The residue of `word` modulo 2^bits that lies in -2^(bits-1) .. 2^(bits-1).
fn signed(word: u32, bits: u8) -> i64 {
    let spare = 32 - u32::from(bits);
    i64::from((word << spare).cast_signed() >> spare)
}

impl fmt::Debug for Unmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unmask")
            .field("survivors", &self.survivors.len())
            .field("signers", &self.signatures.len())
            .field("answered", &self.answered())
            .finish_non_exhaustive()
    }
}
