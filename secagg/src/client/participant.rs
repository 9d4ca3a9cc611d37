//! The order of the stages on a device: retries, second requests, deadlines (docs/protocol/session.md).

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::{Agreed, Cleared, Keyed, Masked, Shared, advertise};
use crate::config::{Policy, RoundConfig};
use crate::error::{Reason, Refusal};
use crate::keys::{self, IdentityKey};
use crate::roster::{Certificate, RosterForm};

/// A message from the server.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Stage 0: the canonical [`RoundConfig`] and the task key's signature.
    Config {
        /// Canonical bytes.
        bytes: &'a [u8],
        /// Ed25519, 64 bytes.
        signature: &'a [u8],
    },
    /// Stage 1: the roster, whole or as far as this device's neighbours go.
    Roster {
        /// Which of the encodings.
        form: RosterForm,
        /// The payload.
        bytes: &'a [u8],
    },
    /// Stage 2: who shared, and the shares for this device.
    Shares(&'a [u8]),
    /// Stage 3: whose input is in the sum.
    Survivors(&'a [u8]),
    /// Stage 4: neighbours' signatures.
    Signatures(&'a [u8]),
}

impl Event<'_> {
    /// Number of the stage that this message belongs to.
    pub const fn stage(&self) -> u8 {
        match self {
            Self::Config { .. } => 0,
            Self::Roster { .. } => 1,
            Self::Shares(_) => 2,
            Self::Survivors(_) => 3,
            Self::Signatures(_) => 4,
        }
    }

    /// Tells a retry from another message.
    fn digest(&self) -> [u8; 32] {
        match self {
            Self::Config { bytes, signature } => {
                keys::hash(&[&[0], &(bytes.len() as u64).to_le_bytes(), bytes, signature])
            }
            Self::Roster { form: RosterForm::Complete, bytes } => keys::hash(&[&[1, 0], bytes]),
            Self::Roster { form: RosterForm::Sparse, bytes } => keys::hash(&[&[1, 1], bytes]),
            Self::Roster { form: RosterForm::Certified, bytes } => keys::hash(&[&[1, 2], bytes]),
            Self::Shares(bytes) => keys::hash(&[&[2], bytes]),
            Self::Survivors(bytes) => keys::hash(&[&[3], bytes]),
            Self::Signatures(bytes) => keys::hash(&[&[4], bytes]),
        }
    }
}

/// What a message asks of the device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send these bytes. They may be sent again; nothing else may be sent in their place.
    Send(Vec<u8>),
    /// All checks of stage 2 passed: reserve in the privacy ledger, draw noise, then call [`Participant::mask`].
    InputWanted,
}

/// What the host lends to a step.
#[derive(Debug)]
pub struct Host<'a, R> {
    /// What the device knows by itself.
    pub policy: &'a Policy,
    /// The device's identity; signs stages 0 and 3.
    pub identity: &'a IdentityKey,
    /// The root's word for this identity; only profile M needs it.
    pub certificate: Option<&'a Certificate>,
    /// Source of keys and shares. Noise and rounding draw from another stream.
    pub rng: &'a mut R,
}

/// The state of one device in one session.
#[derive(Debug)]
pub enum State {
    /// No configuration yet.
    Idle,
    /// Stage 0 answered.
    Keyed(Keyed),
    /// Stage 1 answered.
    Shared(Shared),
    /// Stage 2 checked, input wanted.
    Cleared(Cleared),
    /// Stage 2 answered.
    Masked(Masked),
    /// Stage 3 answered.
    Agreed(Agreed),
    /// Over, by the last answer or by a refusal. Nothing secret is left.
    Done,
}

/// The message that was taken last, and its answer.
pub(super) struct Last {
    pub(super) stage: u8,
    pub(super) digest: [u8; 32],
    /// Empty while the input is still wanted.
    pub(super) answer: Vec<u8>,
}

/// One device in one session, from the configuration to the last share. Any refusal is final: the state is
/// [`State::Done`] afterwards and every secret is gone.
pub struct Participant {
    pub(super) state: State,
    pub(super) last: Option<Last>,
}

impl Default for Participant {
    fn default() -> Self {
        Self::new()
    }
}

impl Participant {
    /// A device that has seen no message yet.
    pub const fn new() -> Self {
        Self { state: State::Idle, last: None }
    }

    /// The current state.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// Whether the session is over for this device.
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// The configuration, from stage 0 until the end.
    pub fn config(&self) -> Option<&RoundConfig> {
        match &self.state {
            State::Idle | State::Done => None,
            State::Keyed(state) => Some(state.config()),
            State::Shared(state) => Some(state.config()),
            State::Cleared(state) => Some(state.config()),
            State::Masked(state) => Some(state.config()),
            State::Agreed(state) => Some(state.config()),
        }
    }

    /// Takes one message. The last message again gets its answer again.
    ///
    /// `now_ms`: Unix milliseconds.
    ///
    /// # Errors
    /// The check that failed; C15, C19, C22 or C25 when the message comes at the wrong time. Final.
    pub fn handle<R: CryptoRng>(
        &mut self,
        event: Event<'_>,
        now_ms: u64,
        host: &mut Host<'_, R>,
    ) -> Result<Answer, Refusal> {
        let (stage, digest) = (event.stage(), event.digest());
        if let Some(again) = self.retry(stage, &digest) {
            return Ok(again);
        }
        // From here on a refusal drops `state`, and the participant stays done.
        let state = std::mem::replace(&mut self.state, State::Done);
        self.last = None;
        let (state, answer) = match (state, event) {
            (State::Idle, Event::Config { bytes, signature }) => {
                let Host { policy, identity, certificate, rng } = host;
                let (next, out) = advertise(bytes, signature, policy, now_ms, identity, *certificate, *rng)?;
                (State::Keyed(next), out)
            }
            (State::Keyed(state), Event::Roster { form, bytes }) => {
                let (next, out) = state.on_roster(form, bytes, now_ms, host.rng)?;
                (State::Shared(next), out)
            }
            (State::Shared(state), Event::Shares(bytes)) => (State::Cleared(state.on_shares(bytes, now_ms)?), vec![]),
            (State::Masked(state), Event::Survivors(bytes)) => {
                let (next, out) = state.on_survivors(bytes, now_ms, host.identity)?;
                (State::Agreed(next), out.to_vec())
            }
            (State::Agreed(state), Event::Signatures(bytes)) => {
                let out = state.on_signatures(bytes, now_ms)?;
                return Ok(Answer::Send(out));
            }
            (State::Cleared(_) | State::Masked(_), Event::Shares(_)) => {
                return Err(Refusal::by("C15", Reason::SecondInput));
            }
            (State::Agreed(_), Event::Survivors(_)) => return Err(Refusal::by("C19", Reason::SecondStatement)),
            _ => return Err(Refusal::by("C22", Reason::StageOrder)),
        };
        self.state = state;
        let last = self.last.insert(Last { stage, digest, answer });
        Ok(answer_of(&self.state, last))
    }

    /// Masks the input that [`Answer::InputWanted`] asked for, and gives the packed upload. `None`: the privacy ledger
    /// does not allow the round.
    ///
    /// # Errors
    /// C14 without input, C26 when its lengths differ from the configuration's, C22 in any other state. Final.
    pub fn mask(&mut self, input: Option<Vec<Vec<u32>>>) -> Result<Vec<u8>, Refusal> {
        let state = std::mem::replace(&mut self.state, State::Done);
        let last = self.last.take();
        let State::Cleared(cleared) = state else {
            drop(input.map(|input| input.into_iter().map(Zeroizing::new).collect::<Vec<_>>()));
            return Err(Refusal::by("C22", Reason::StageOrder));
        };
        let Some(input) = input else { return Err(cleared.refuse_ledger()) };
        let (masked, upload) = cleared.mask(input)?;
        self.state = State::Masked(masked);
        self.last = last.map(|last| Last { answer: upload.clone(), ..last });
        Ok(upload)
    }

    /// Ends the session from this side: every secret goes.
    pub fn abort(&mut self) {
        *self = Self { state: State::Done, last: None };
    }

    fn retry(&self, stage: u8, digest: &[u8; 32]) -> Option<Answer> {
        let last = self.last.as_ref()?;
        (last.stage == stage && last.digest == *digest).then(|| answer_of(&self.state, last))
    }
}

fn answer_of(state: &State, last: &Last) -> Answer {
    match state {
        State::Cleared(_) => Answer::InputWanted,
        _ => Answer::Send(last.answer.clone()),
    }
}

impl std::fmt::Debug for Participant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Participant").field("state", &self.state).finish_non_exhaustive()
    }
}
