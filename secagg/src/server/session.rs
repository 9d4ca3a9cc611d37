//! The order of the stages on the server, and the replay of a session from its messages (docs/protocol/session.md).

use super::advertise::Advertised;
use super::{Accumulator, Agreement, Keys, MaskedInput, Receipt, Shares, SummedUpdate, Unmask};
use crate::config::RoundConfig;
use crate::error::{Reason, Refusal};
use crate::graph::Members;
use crate::keys;
use crate::roster::{RosterForm, Sid};

/// A whole session, whatever stage is open. The same messages in the same order always lead to the same state.
///
/// Uploads that are stored elsewhere are replayed with [`Session::commit`]; their sum comes in with
/// [`Session::add_sum`] before stage 4 closes.
#[derive(Debug)]
pub struct Session {
    stage: Stage,
    /// Made when the first upload or sum comes in.
    sum: Option<Accumulator>,
}

/// The stage that is open.
#[derive(Debug)]
#[non_exhaustive]
pub enum Stage {
    /// 0.
    Keys(Keys),
    /// 1.
    Shares(Shares),
    /// 2.
    MaskedInput(MaskedInput),
    /// 3.
    Agreement(Agreement),
    /// 4.
    Unmask(Unmask),
    /// Released or abandoned.
    Over,
}

/// A message that fits into the open stage and is not taken yet.
#[derive(Debug)]
pub struct Checked(Content);

#[derive(Debug)]
enum Content {
    /// Of stage 0.
    Keys(Box<Advertised>),
    /// Of a later one, from this place in the roster.
    Of { stage: u8, sender: u32, bytes: Vec<u8> },
}

/// What a stage that closed has fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Stage 0: the roster.
    Roster {
        /// Participants.
        n: u32,
        /// Merkle root.
        root: [u8; 32],
        /// The session's id.
        sid: Sid,
    },
    /// Stage 1: the sharers, pruned.
    Sharers(Members),
    /// Stage 2: the survivors, whose input is in the sum.
    Survivors(Members),
    /// Stage 3: the signers.
    Signers(Members),
    /// Stage 4: the sum.
    Released(SummedUpdate),
}

/// What goes down to one participant at the start of a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// Stage 1.
    Roster(RosterForm, Vec<u8>),
    /// Stages 2 to 4.
    Bytes(Vec<u8>),
}

impl Session {
    /// Opens stage 0; see [`Keys::new`].
    pub fn new(config: RoundConfig, known_keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self { stage: Stage::Keys(Keys::new(config, known_keys)), sum: None }
    }

    /// Opens stage 0 of a session that asks for certificates in profile M; see [`Keys::certified`].
    pub fn certified(config: RoundConfig, known_keys: impl IntoIterator<Item = [u8; 32]>) -> Self {
        Self { stage: Stage::Keys(Keys::new(config, known_keys).certified()), sum: None }
    }

    /// The stage that is open.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Number of the stage that is open; `None` when the session is over.
    pub fn stage_number(&self) -> Option<u8> {
        match self.stage {
            Stage::Keys(_) => Some(0),
            Stage::Shares(_) => Some(1),
            Stage::MaskedInput(_) => Some(2),
            Stage::Agreement(_) => Some(3),
            Stage::Unmask(_) => Some(4),
            Stage::Over => None,
        }
    }

    /// Takes one message of `stage`. `sender`: roster index; nobody has one in stage 0. A masked input is checked,
    /// added to the sum and committed.
    ///
    /// # Errors
    /// `late`, `stage_order`, `not_expected`, and what the open stage's own `receive` refuses. Nothing has changed then.
    pub fn receive(&mut self, stage: u8, sender: Option<u32>, message: &[u8]) -> Result<Receipt, Refusal> {
        self.in_order(stage)?;
        let known = || sender.ok_or(Refusal::from(Reason::NotExpected));
        match &mut self.stage {
            Stage::Keys(keys) => keys.receive(message),
            Stage::Shares(shares) => shares.receive(known()?, message),
            Stage::MaskedInput(inputs) => {
                let (sender, digest) = (known()?, keys::hash(&[message]));
                if inputs.seen(sender, &digest)? == Receipt::Same {
                    return Ok(Receipt::Same);
                }
                let sum = self.sum.get_or_insert_with(|| Accumulator::new(inputs.config()));
                sum.add(inputs.config(), message)?;
                inputs.commit(sender, digest)
            }
            Stage::Agreement(agreement) => agreement.receive(known()?, message),
            Stage::Unmask(unmask) => unmask.receive(known()?, message),
            Stage::Over => Err(Reason::Late.into()),
        }
    }

    /// Checks one message of stage 0, 1, 3 or 4 as [`Session::receive`] does, and changes nothing: who keeps messages
    /// durably takes a message with [`Session::take`] once it is kept. `None`: the same bytes were taken before.
    ///
    /// # Errors
    /// As [`Session::receive`]; `stage_order` in stage 2, whose inputs are committed one by one.
    pub fn check(&self, stage: u8, sender: Option<u32>, message: &[u8]) -> Result<Option<Checked>, Refusal> {
        self.in_order(stage)?;
        let known = || sender.ok_or(Refusal::from(Reason::NotExpected));
        let of = |bytes| sender.map(|sender| Checked(Content::Of { stage, sender, bytes }));
        let whole = |receipt| (receipt == Receipt::New).then(|| of(message.to_vec())).flatten();
        match &self.stage {
            Stage::Keys(keys) => {
                Ok(keys.check(message)?.map(|advertised| Checked(Content::Keys(Box::new(advertised)))))
            }
            Stage::Shares(shares) => shares.check(known()?, message).map(whole),
            Stage::MaskedInput(_) => Err(Reason::StageOrder.into()),
            Stage::Agreement(agreement) => {
                Ok(agreement.check(known()?, message)?.and_then(|signature| of(signature.to_vec())))
            }
            Stage::Unmask(unmask) => unmask.check(known()?, message).map(whole),
            Stage::Over => Err(Reason::Late.into()),
        }
    }

    /// Takes a message that was checked. Signatures are not verified again; what others sent meanwhile counts.
    ///
    /// # Errors
    /// `late` and `stage_order` when the stage has changed; `duplicate`, `duplicate_key`, `duplicate_identity` and `full`
    /// when another message was faster. Nothing has changed then.
    pub fn take(&mut self, checked: Checked) -> Result<Receipt, Refusal> {
        let stage = match &checked.0 {
            Content::Keys(_) => 0,
            Content::Of { stage, .. } => *stage,
        };
        self.in_order(stage)?;
        match (&mut self.stage, checked.0) {
            (Stage::Keys(keys), Content::Keys(advertised)) => keys.keep(*advertised),
            (Stage::Agreement(agreement), Content::Of { sender, bytes, .. }) => {
                let signature = bytes.try_into().map_err(|_| Refusal::from(Reason::WrongLength))?;
                agreement.keep(sender, signature)
            }
            (Stage::Shares(shares), Content::Of { sender, bytes, .. }) => shares.receive(sender, &bytes),
            (Stage::Unmask(unmask), Content::Of { sender, bytes, .. }) => unmask.receive(sender, &bytes),
            _ => Err(Reason::StageOrder.into()),
        }
    }

    /// Marks a masked input as committed that is added to the sum elsewhere; see [`MaskedInput::commit`].
    ///
    /// # Errors
    /// `late`, `stage_order`, `not_expected`, `duplicate`.
    pub fn commit(&mut self, sender: u32, digest: [u8; 32]) -> Result<Receipt, Refusal> {
        self.in_order(2)?;
        match &mut self.stage {
            Stage::MaskedInput(inputs) => inputs.commit(sender, digest),
            _ => Err(Reason::StageOrder.into()),
        }
    }

    /// Adds uploads that were summed elsewhere. Each committed upload must be in the sum exactly once.
    ///
    /// # Errors
    /// `wrong_length` for the sum of another configuration.
    pub fn add_sum(&mut self, sum: Accumulator) -> Result<(), Refusal> {
        match &mut self.sum {
            Some(mine) => mine.merge(&sum),
            None => {
                self.sum = Some(sum);
                Ok(())
            }
        }
    }

    /// The uploads so far, masked; `None` before the first one.
    pub fn sum(&self) -> Option<&Accumulator> {
        self.sum.as_ref()
    }

    /// What goes down to participant `i` in the open stage; `None` in stage 0, at the end, and when it takes no part.
    pub fn message(&self, i: u32) -> Option<Down> {
        match &self.stage {
            Stage::Shares(shares) if i < shares.n() => {
                let (form, bytes) = shares.message(i);
                Some(Down::Roster(form, bytes))
            }
            Stage::MaskedInput(inputs) => inputs.message(i).map(Down::Bytes),
            Stage::Agreement(agreement) if agreement.expected(i) => Some(Down::Bytes(agreement.message())),
            Stage::Unmask(unmask) => unmask.message(i).map(Down::Bytes),
            _ => None,
        }
    }

    /// Closes the open stage. `threads`: for stage 4, see [`Unmask::close`].
    ///
    /// # Errors
    /// Why the session is abandoned; it is over then. `late` when it was over before; `wrong_length` when stage 4 closes
    /// without the sum of the uploads.
    pub fn close(&mut self, threads: usize) -> Result<Closed, Refusal> {
        // A refusal leaves the session over.
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Keys(keys) => {
                let shares = keys.close()?;
                let closed = Closed::Roster { n: shares.n(), root: shares.root(), sid: *shares.sid() };
                self.stage = Stage::Shares(shares);
                Ok(closed)
            }
            Stage::Shares(shares) => {
                let inputs = shares.close()?;
                let closed = Closed::Sharers(inputs.sharers().clone());
                self.stage = Stage::MaskedInput(inputs);
                Ok(closed)
            }
            Stage::MaskedInput(inputs) => {
                let agreement = inputs.close()?;
                let closed = Closed::Survivors(agreement.survivors().clone());
                self.stage = Stage::Agreement(agreement);
                Ok(closed)
            }
            Stage::Agreement(agreement) => {
                let unmask = agreement.close()?;
                let closed = Closed::Signers(Members::of(unmask.survivors().n(), unmask.signers()));
                self.stage = Stage::Unmask(unmask);
                Ok(closed)
            }
            Stage::Unmask(unmask) => {
                // Uploads were committed, so their sum must be here; without it the result would be noise.
                let sum = self.sum.take().ok_or(Reason::WrongLength)?;
                unmask.close(sum, threads).map(Closed::Released)
            }
            Stage::Over => Err(Reason::Late.into()),
        }
    }

    fn in_order(&self, stage: u8) -> Result<(), Refusal> {
        match self.stage_number() {
            Some(open) if stage == open => Ok(()),
            Some(open) if stage > open => Err(Reason::StageOrder.into()),
            _ => Err(Reason::Late.into()),
        }
    }
}
