//! Stage 2: passes the shares on and keeps count of the committed masked inputs (docs/protocol/session.md).

use std::collections::BTreeMap;
use std::fmt;

use super::{Agreement, Core, Receipt, once, require};
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::Members;
use crate::keys::SEALED_LEN;
use crate::roster::Sid;

/// Stage 2 is open. The uploads themselves go to an [`Accumulator`](super::Accumulator).
pub struct MaskedInput {
    core: Core,
    sharers: Members,
    /// ShareKeys of every sharer.
    shared: BTreeMap<u32, Vec<u8>>,
    /// For every participant its neighbours among the sharers, ascending, and its own rank among each one's neighbours.
    addressed: Vec<Vec<(u32, u32)>>,
    /// Digest of each committed upload.
    got: BTreeMap<u32, [u8; 32]>,
}

impl MaskedInput {
    pub(super) fn new(core: Core, sharers: Members, shared: BTreeMap<u32, Vec<u8>>) -> Self {
        let mut addressed = vec![Vec::with_capacity(core.parameters.k as usize); core.n() as usize];
        for owner in sharers.iter() {
            for (rank, receiver) in (0..).zip(core.graph.neighbours(owner)) {
                addressed[receiver as usize].push((owner, rank));
            }
        }
        Self { core, sharers, shared, addressed, got: BTreeMap::new() }
    }

    /// The session's id.
    pub fn sid(&self) -> &Sid {
        &self.core.sid
    }

    /// The round configuration.
    pub fn config(&self) -> &RoundConfig {
        &self.core.config
    }

    /// The sharers: who takes part in this stage.
    pub fn sharers(&self) -> &Members {
        &self.sharers
    }

    /// Whether an upload of participant `i` is waited for or already committed.
    pub fn expected(&self, i: u32) -> bool {
        self.sharers.contains(i)
    }

    /// The set of sharers and the shares for participant `i`; `None` when it is no sharer.
    pub fn message(&self, i: u32) -> Option<Vec<u8>> {
        if !self.expected(i) {
            return None;
        }
        let mut out = self.sharers.as_bytes().to_vec();
        for (owner, rank) in &self.addressed[i as usize] {
            let at = SEALED_LEN * *rank as usize;
            out.extend_from_slice(&self.shared.get(owner)?[at..at + SEALED_LEN]);
        }
        Some(out)
    }

    /// Length of one upload in bytes.
    pub fn upload_len(&self) -> u64 {
        self.core.config.masked_input_len()
    }

    /// Marks the upload of participant `sender` as part of the sum. The caller has checked the upload
    /// ([`check_packed`](super::check_packed)) and adds it exactly once for every [`Receipt::New`].
    ///
    /// `digest`: SHA-256 of the upload; tells a retry from a second, different input.
    ///
    /// # Errors
    /// `not_expected`, `duplicate`.
    pub fn commit(&mut self, sender: u32, digest: [u8; 32]) -> Result<Receipt, Refusal> {
        let receipt = self.seen(sender, &digest)?;
        self.got.insert(sender, digest);
        Ok(receipt)
    }

    /// What [`Self::commit`] would say; changes nothing.
    ///
    /// # Errors
    /// `not_expected`, `duplicate`.
    pub fn seen(&self, sender: u32, digest: &[u8; 32]) -> Result<Receipt, Refusal> {
        require(self.expected(sender), Reason::NotExpected)?;
        once(&self.got, sender, digest)
    }

    /// Uploads committed.
    pub fn answered(&self) -> usize {
        self.got.len()
    }

    /// Whether the upload of participant `i` is committed.
    pub fn has_answered(&self, i: u32) -> bool {
        self.got.contains_key(&i)
    }

    /// Whether every sharer's upload is committed: the stage may close early.
    pub fn is_complete(&self) -> bool {
        self.got.len() == self.sharers.len() as usize
    }

    /// Fixes the survivors. Abandons the session at once when it could not be unmasked later, or only by what a small
    /// group holds.
    ///
    /// # Errors
    /// `too_few_inputs`; `weak_neighbourhood` when a sharer, whether it survived or not, has fewer than t neighbours
    /// among the survivors; `disconnected`.
    pub fn close(self) -> Result<Agreement, Refusal> {
        let Self { core, sharers, shared, got, .. } = self;
        let survivors = Members::of(core.n(), got.into_keys());
        require(survivors.len() >= core.config.survivors_min(), Reason::TooFewInputs)?;
        // A survivor could not answer stage 4, and the pair masks of a sharer that fell silent could not be removed.
        let weak = sharers.iter().any(|i| core.graph.count_in(i, &survivors) < core.parameters.t);
        require(!weak, Reason::WeakNeighbourhood)?;
        require(core.graph.connected(&survivors), Reason::Disconnected)?;
        let commitments = shared.into_iter().map(|(i, message)| (i, commitment_in(&message))).collect();
        Ok(Agreement::new(core, sharers, survivors, commitments))
    }
}

/// The commitment to the self mask, at the end of a ShareKeys.
fn commitment_in(message: &[u8]) -> [u8; 32] {
    // Stage 1 took only messages of 80 k + 32 bytes.
    *message.last_chunk().expect("ShareKeys ends with 32 bytes")
}

impl fmt::Debug for MaskedInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskedInput")
            .field("sharers", &self.sharers.len())
            .field("answered", &self.answered())
            .finish_non_exhaustive()
    }
}
