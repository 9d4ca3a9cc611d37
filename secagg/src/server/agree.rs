//! Stage 3: shows everybody the survivors and collects their signatures (docs/protocol/session.md).

use std::collections::BTreeMap;
use std::fmt;

use super::{Core, Receipt, Unmask, once, require};
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::{Members, survivor_statement};
use crate::keys;
use crate::roster::Sid;

/// Stage 3 is open.
pub struct Agreement {
    core: Core,
    sharers: Members,
    survivors: Members,
    commitments: BTreeMap<u32, [u8; 32]>,
    statement: Vec<u8>,
    got: BTreeMap<u32, [u8; 64]>,
}

impl Agreement {
    pub(super) fn new(core: Core, sharers: Members, survivors: Members, commitments: BTreeMap<u32, [u8; 32]>) -> Self {
        let statement = survivor_statement(&core.sid, &sharers, &survivors).to_vec();
        Self { core, sharers, survivors, commitments, statement, got: BTreeMap::new() }
    }

    /// The session's id.
    pub fn sid(&self) -> &Sid {
        &self.core.sid
    }

    /// The round configuration.
    pub fn config(&self) -> &RoundConfig {
        &self.core.config
    }

    /// Whose input is in the sum: who takes part in this stage.
    pub fn survivors(&self) -> &Members {
        &self.survivors
    }

    /// Whether a signature of participant `i` is waited for or already here.
    pub fn expected(&self, i: u32) -> bool {
        self.survivors.contains(i)
    }

    /// The set of survivors; the same for every one of them.
    pub fn message(&self) -> Vec<u8> {
        self.survivors.as_bytes().to_vec()
    }

    /// Takes the signature of participant `sender`, 64 bytes.
    ///
    /// # Errors
    /// `not_expected`, `duplicate`, `wrong_length`, `bad_signature`.
    pub fn receive(&mut self, sender: u32, message: &[u8]) -> Result<Receipt, Refusal> {
        match self.check(sender, message)? {
            Some(signature) => self.keep(sender, signature),
            None => Ok(Receipt::Same),
        }
    }

    /// What [`Self::receive`] would say; `None`: the same signature was taken before. Changes nothing.
    pub(super) fn check(&self, sender: u32, message: &[u8]) -> Result<Option<[u8; 64]>, Refusal> {
        require(self.expected(sender), Reason::NotExpected)?;
        if once(&self.got, sender, message)? == Receipt::Same {
            return Ok(None);
        }
        let signature = <[u8; 64]>::try_from(message).map_err(|_| Reason::WrongLength)?;
        let entry = &self.core.entries[sender as usize];
        require(keys::verify(&entry.id_pk, &self.statement, &signature), Reason::BadSignature)?;
        Ok(Some(signature))
    }

    /// Takes a signature that [`Self::check`] has verified.
    pub(super) fn keep(&mut self, sender: u32, signature: [u8; 64]) -> Result<Receipt, Refusal> {
        let receipt = once(&self.got, sender, &signature)?;
        self.got.insert(sender, signature);
        Ok(receipt)
    }

    /// Participants that have signed.
    pub fn answered(&self) -> usize {
        self.got.len()
    }

    /// Whether participant `i` has signed.
    pub fn has_answered(&self, i: u32) -> bool {
        self.got.contains_key(&i)
    }

    /// Whether every survivor has signed: the stage may close early.
    pub fn is_complete(&self) -> bool {
        self.got.len() == self.survivors.len() as usize
    }

    /// Fixes the signers. Too few of them shows in stage 4.
    ///
    /// # Errors
    /// None in this version of the protocol.
    pub fn close(self) -> Result<Unmask, Refusal> {
        let Self { core, sharers, survivors, commitments, got, .. } = self;
        Ok(Unmask::new(core, sharers, survivors, commitments, got))
    }
}

impl fmt::Debug for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agreement")
            .field("survivors", &self.survivors.len())
            .field("answered", &self.answered())
            .finish_non_exhaustive()
    }
}
