//! A session's progress through the stages of the secure aggregation, as counts and times.

use scale_proto::ids::SessionId;
use scale_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Failure, Window};

/// The stage of a session that is open, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionStage {
    /// Stage 0: devices train, then advertise keys.
    Keys,
    /// Stage 1: sealed shares.
    Shares,
    /// Stage 2: masked inputs.
    MaskedInput,
    /// Stage 3: signatures over the survivors.
    Agreement,
    /// Stage 4: shares for unmasking.
    Unmask,
    /// The sum is known.
    Released,
    /// Over without a sum.
    Abandoned,
}

impl SessionStage {
    /// The five open stages, in order.
    pub const OPEN: [Self; 5] = [Self::Keys, Self::Shares, Self::MaskedInput, Self::Agreement, Self::Unmask];

    /// The word on the wire and in the database.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Shares => "shares",
            Self::MaskedInput => "masked_input",
            Self::Agreement => "agreement",
            Self::Unmask => "unmask",
            Self::Released => "released",
            Self::Abandoned => "abandoned",
        }
    }

    /// Reads [`Self::name`].
    pub fn parse(text: &str) -> Option<Self> {
        let all = Self::OPEN.into_iter().chain([Self::Released, Self::Abandoned]);
        all.into_iter().find(|stage| stage.name() == text)
    }

    /// The protocol's number of an open stage, 0 to 4.
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Keys => Some(0),
            Self::Shares => Some(1),
            Self::MaskedInput => Some(2),
            Self::Agreement => Some(3),
            Self::Unmask => Some(4),
            Self::Released | Self::Abandoned => None,
        }
    }

    /// Whether the session is over.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Released | Self::Abandoned)
    }

    /// What follows when this stage closes well.
    pub const fn next(self) -> Self {
        match self {
            Self::Keys => Self::Shares,
            Self::Shares => Self::MaskedInput,
            Self::MaskedInput => Self::Agreement,
            Self::Agreement => Self::Unmask,
            Self::Unmask | Self::Released => Self::Released,
            Self::Abandoned => Self::Abandoned,
        }
    }
}

/// One session as the round sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionProgress {
    /// The session.
    pub id: SessionId,
    /// The open stage.
    pub stage: SessionStage,
    /// Devices dealt to it.
    pub members: u32,
    /// Its part of the goal: once so many have advertised keys, the stage closes when nothing more comes.
    pub goal: u32,
    /// Devices that the open stage still reckons with, those that answered included.
    pub expected: u32,
    /// Devices that have answered, by stage.
    pub answered: [u32; 5],
    /// When the open stage closes by itself, as things stand; never later than the signed time.
    pub deadline: Timestamp,
    /// Where that comes from.
    #[serde(default)]
    pub window: Window,
    /// The stage is being closed: nothing more is accepted, the outcome is awaited.
    pub closing: bool,
    /// Devices in the sum (U3), once stage 2 has closed.
    pub survivors: u32,
    /// Why it was abandoned.
    pub failure: Option<Failure>,
}

impl SessionProgress {
    /// Answers to the open stage.
    pub fn answered_now(&self) -> u32 {
        self.stage.number().map_or(0, |stage| self.answered[usize::from(stage)])
    }
}
