//! Stage 1: hands out the roster and collects the sealed shares (docs/protocol/session.md).

use std::collections::BTreeMap;
use std::fmt;

use super::{Core, MaskedInput, Receipt, once, require};
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::Members;
use crate::keys::SEALED_LEN;
use crate::params::{GraphKind, Parameters};
use crate::roster::{self, RosterForm, Sid, SparseRoster};

/// Stage 1 is open.
pub struct Shares {
    pub(super) core: Core,
    got: BTreeMap<u32, Vec<u8>>,
}

impl Shares {
    pub(super) fn new(core: Core) -> Self {
        Self { core, got: BTreeMap::new() }
    }

    /// The session's id.
    pub fn sid(&self) -> &Sid {
        &self.core.sid
    }

    /// The roster's Merkle root.
    pub fn root(&self) -> [u8; 32] {
        self.core.tree.root()
    }

    /// Participants in the roster.
    pub fn n(&self) -> u32 {
        self.core.n()
    }

    /// Neighbours, threshold and graph, from the compiled table.
    pub fn parameters(&self) -> &Parameters {
        &self.core.parameters
    }

    /// The round configuration.
    pub fn config(&self) -> &RoundConfig {
        &self.core.config
    }

    /// Place in the roster of the participant with this identity key.
    pub fn index_of(&self, id_pk: &[u8; 32]) -> Option<u32> {
        self.core.places.get(id_pk).copied()
    }

    /// Identity key of the participant at `index`.
    pub fn identity_of(&self, index: u32) -> Option<[u8; 32]> {
        Some(self.core.entries.get(index as usize)?.id_pk)
    }

    /// The roster for participant `i`: whole on complete graphs, with the certificates if the session asks for them,
    /// else its neighbours' entries with a proof.
    ///
    /// # Panics
    /// If `i` is not below `n`.
    pub fn message(&self, i: u32) -> (RosterForm, Vec<u8>) {
        let Core { entries, certificates, tree, graph, parameters, .. } = &self.core;
        match (parameters.graph, certificates) {
            (GraphKind::Complete, None) => (RosterForm::Complete, roster::encode_complete(entries)),
            (GraphKind::Complete, Some(certificates)) => {
                // Nobody came into the roster without one.
                let pairs = entries.iter().map(|entry| (entry, &certificates[&entry.id_pk]));
                (RosterForm::Certified, roster::encode_certified(pairs))
            }
            // Profile M, the only one with certificates, has complete graphs.
            (GraphKind::Sparse, _) => {
                (RosterForm::Sparse, SparseRoster::new(entries, tree, i, &graph.neighbours(i)).encode())
            }
        }
    }

    /// Takes the ShareKeys of participant `sender`: 80 sealed bytes per neighbour, then the commitment.
    ///
    /// # Errors
    /// `not_expected`, `duplicate`, `wrong_length`.
    pub fn receive(&mut self, sender: u32, message: &[u8]) -> Result<Receipt, Refusal> {
        let receipt = self.check(sender, message)?;
        if receipt == Receipt::New {
            self.got.insert(sender, message.to_vec());
        }
        Ok(receipt)
    }

    /// What [`Self::receive`] would say; changes nothing.
    pub(super) fn check(&self, sender: u32, message: &[u8]) -> Result<Receipt, Refusal> {
        require(sender < self.n(), Reason::NotExpected)?;
        if once(&self.got, sender, message)? == Receipt::Same {
            return Ok(Receipt::Same);
        }
        require(message.len() == SEALED_LEN * self.core.parameters.k as usize + 32, Reason::WrongLength)?;
        Ok(Receipt::New)
    }

    /// Participants that have answered.
    pub fn answered(&self) -> usize {
        self.got.len()
    }

    /// Whether participant `i` has answered.
    pub fn has_answered(&self, i: u32) -> bool {
        self.got.contains_key(&i)
    }

    /// Whether everybody has answered: the stage may close early.
    pub fn is_complete(&self) -> bool {
        self.got.len() == self.n() as usize
    }

    /// Leaves out whoever has fewer than t neighbours among the sharers, until nobody has.
    ///
    /// # Errors
    /// `too_few_sharers`.
    pub fn close(self) -> Result<MaskedInput, Refusal> {
        let Self { core, mut got } = self;
        let answered = Members::of(core.n(), got.keys().copied());
        let sharers = core.graph.prune(core.parameters.t, &answered);
        require(sharers.len() >= core.config.survivors_min(), Reason::TooFewSharers)?;
        got.retain(|&i, _| sharers.contains(i));
        Ok(MaskedInput::new(core, sharers, got))
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shares").field("n", &self.n()).field("answered", &self.answered()).finish_non_exhaustive()
    }
}
