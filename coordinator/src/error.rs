//! What can go wrong between a call and its transaction, by whose fault it is and what helps.

use scale_proto::codes::{self, Advice};
use scale_proto::error::{Invalid, Problem, Remedy};
use scale_proto::model_file::ModelFileError;
use scale_proto::time::RetryWindow;
use scale_secagg::error::Refusal;

use crate::blobs::BlobError;
use crate::noise::NoiseError;
use crate::store::StoreError;

/// What kind of failure it is: the transports map each to one status of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request is wrong in itself: the same call never works.
    Invalid,
    /// What it names is not there.
    NotFound,
    /// This caller may not do it.
    Permission,
    /// Not in the present state: the caller is too late, too early, or says something else than before.
    Precondition,
    /// The round or session went away under the caller; a later round may do better.
    Aborted,
    /// Nobody's fault and it passes: come back.
    Unavailable,
    /// No room: disk full, too many.
    Exhausted,
    /// A bug or damaged data.
    Internal,
}

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value in the request is not what it should be.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// No such task.
    #[error("there is no task {0}")]
    UnknownTask(String),
    /// A task of that name exists.
    #[error("there is a task {0} already; choose another name")]
    TaskExists(String),
    /// No such round, or it ended so long ago that nothing is kept.
    #[error("there is no such round; check in again")]
    UnknownRound,
    /// No such session.
    #[error("there is no such session; check in again")]
    UnknownSession,
    /// No such model version.
    #[error("task {task} has no model version {version}")]
    UnknownModel {
        /// The task.
        task: String,
        /// The version asked for.
        version: u64,
    },
    /// The device takes no part in that round or session.
    #[error("this device takes no part in that round; check in to join one")]
    NotParticipant,
    /// The device left that round earlier.
    #[error("this device has left that round; check in to join the next one")]
    HasLeft,
    /// The message is signed by another identity than the one that is logged in.
    #[error("the keys belong to another identity than the one of this device's token")]
    WrongIdentity,
    /// The round's training has not begun.
    #[error("the round is still choosing its devices; check in again to get the manifest")]
    NotTraining,
    /// The round or session is over without a sum.
    #[error("{sentence}")]
    Abandoned {
        /// Why.
        code: String,
        /// For a person.
        sentence: String,
        /// When the devices come back: all of them at about the same time.
        back: RetryWindow,
    },
    /// The protocol refused the message.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The round or session is over and well: there is nothing left to send.
    #[error("this stage is over")]
    Late,
    /// The digest of a finished upload is not the announced one.
    #[error("the upload's bytes do not have the announced digest; send it again from the start")]
    BadDigest,
    /// Another upload of the same device is there.
    #[error("this device has announced another upload in this session; a masked input can be sent only once")]
    DifferentUpload,
    /// The announced length is not the session's.
    #[error("a masked input of this session has {expected} bytes, {announced} were announced")]
    WrongLength {
        /// Bytes that the session asks for.
        expected: u64,
        /// Bytes that the device announced.
        announced: u64,
    },
    /// A piece reaches beyond the announced end.
    #[error("the piece ends at byte {end} of {total}")]
    BeyondEnd {
        /// Where it ends.
        end: u64,
        /// Announced length.
        total: u64,
    },
    /// A round of this task is open already.
    #[error("a round of task {0} is open already; wait for its end or abandon it")]
    RoundOpen(String),
    /// The task is paused or finished.
    #[error("task {task} is {state}; set it to active first")]
    TaskNotActive {
        /// The task.
        task: String,
        /// Its state.
        state: &'static str,
    },
    /// The task has run all its rounds.
    #[error("task {0} is finished: it has run all its rounds; make a new task from its newest model to go on")]
    TaskOver(String),
    /// The round is over already.
    #[error("the round is over already ({0})")]
    RoundOver(&'static str),
    /// A model file does not fit.
    #[error("{0}")]
    ModelFile(#[from] ModelFileError),
    /// The cohort is too large for this model's grid: a sum would not fit in 32 bits.
    #[error("sums of {devices} devices on a grid of {grid} do not fit in 32 bits; lower grid_factor or session_max")]
    TooWide {
        /// Devices in one session.
        devices: u32,
        /// Clip norm in grid units.
        grid: u32,
    },
    /// The task's noise is not possible, or would dominate the updates.
    #[error("{0}")]
    Noise(#[from] NoiseError),
    /// The database.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The blob store.
    #[error("{0}")]
    Blob(#[from] BlobError),
    /// The data folder.
    #[error("cannot {what} in the data folder: {source}")]
    Folder {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process has taken the work, or it is done.
    #[error("another process has taken this work")]
    LeaseLost,
    /// The coordinator is stopping.
    #[error("the coordinator is shutting down; come back soon")]
    Stopping,
    /// A bug: a state that cannot be.
    #[error("internal error: {0}")]
    Bug(String),
}

impl Error {
    /// One stable word for metrics, logs and devices.
    pub fn code(&self) -> &str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::UnknownTask(_) => "unknown_task",
            Self::TaskExists(_) => "task_exists",
            Self::UnknownRound => "unknown_round",
            Self::UnknownSession => "unknown_session",
            Self::UnknownModel { .. } => "unknown_model",
            Self::NotParticipant => "not_participant",
            Self::HasLeft => "has_left",
            Self::WrongIdentity => "wrong_identity",
            Self::NotTraining => "not_training",
            Self::Abandoned { code, .. } => code,
            Self::Refused(refusal) => refusal.code(),
            Self::Late => "late",
            Self::BadDigest => "bad_digest",
            Self::DifferentUpload => "duplicate",
            Self::WrongLength { .. } | Self::BeyondEnd { .. } => "wrong_length",
            Self::RoundOpen(_) => "round_open",
            Self::TaskNotActive { .. } => "task_not_active",
            Self::TaskOver(_) => "task_over",
            Self::RoundOver(_) => "round_over",
            Self::ModelFile(error) => error.code(),
            Self::TooWide { .. } => "too_wide",
            Self::Noise(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Blob(error) => error.code(),
            Self::Folder { .. } => "storage_unavailable",
            Self::LeaseLost => "lease_lost",
            Self::Stopping => "stopping",
            Self::Bug(_) => "internal",
        }
    }

    /// Whose fault it is, coarsely.
    pub fn class(&self) -> Class {
        match self {
            Self::Invalid(_) | Self::WrongLength { .. } | Self::BeyondEnd { .. } | Self::BadDigest => Class::Invalid,
            Self::ModelFile(_) | Self::TooWide { .. } | Self::Noise(_) => Class::Invalid,
            Self::UnknownTask(_) | Self::UnknownRound | Self::UnknownSession | Self::UnknownModel { .. } => {
                Class::NotFound
            }
            Self::NotParticipant | Self::WrongIdentity => Class::Permission,
            Self::TaskExists(_) | Self::RoundOpen(_) | Self::TaskNotActive { .. } => Class::Precondition,
            Self::TaskOver(_) | Self::RoundOver(_) => Class::Precondition,
            Self::HasLeft | Self::NotTraining | Self::Late | Self::DifferentUpload => Class::Precondition,
            Self::Refused(_) => Class::Precondition,
            Self::Abandoned { .. } => Class::Aborted,
            Self::Store(StoreError::Full(_)) | Self::Blob(BlobError::Full(_)) => Class::Exhausted,
            Self::Store(StoreError::Corrupt(_) | StoreError::Conflict(_)) | Self::Bug(_) => Class::Internal,
            Self::Store(_) | Self::Blob(_) | Self::Folder { .. } | Self::LeaseLost | Self::Stopping => {
                Class::Unavailable
            }
        }
    }

    /// The same failure for another call that it ended.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Store(error) => Self::Store(error.clone()),
            Self::UnknownRound => Self::UnknownRound,
            Self::UnknownTask(task) => Self::UnknownTask(task.clone()),
            Self::UnknownModel { task, version } => Self::UnknownModel { task: task.clone(), version: *version },
            Self::Bug(what) => Self::Bug(what.clone()),
            Self::Stopping => Self::Stopping,
            other => Self::Bug(other.to_string()),
        }
    }

    /// What a device does about it. The table of [`codes`] decides; a code that is not in it concerns operators only.
    pub fn remedy(&self) -> Remedy {
        // A round can end for a reason that is no end for other calls: a check-in helps whatever it was.
        if let Self::Abandoned { back, .. } = self {
            return Remedy::CheckIn(*back);
        }
        let after_ms = match (self, self.class()) {
            // A task may come with a restored database, or after the app that names it.
            (Self::UnknownTask(_), _) => 30 * 60 * 1000,
            (_, Class::Internal) => 30_000,
            (_, Class::Unavailable | Class::Exhausted) => 2_000,
            _ => 1_000,
        };
        let advice = codes::find(self.code()).map_or(Advice::Leave, |code| code.advice);
        advice.within(RetryWindow::from_millis(after_ms))
    }

    /// The failure as a device sees it. What went wrong inside stays in the log.
    pub fn problem(&self) -> Problem {
        let sentence = match self.class() {
            Class::Internal => "the coordinator has a problem of its own; come back later".to_owned(),
            Class::Unavailable if !matches!(self, Self::Stopping) => {
                "the coordinator's storage does not answer at the moment; come back later".to_owned()
            }
            _ => self.to_string(),
        };
        Problem { code: self.code().to_owned(), sentence, remedy: self.remedy() }
    }
}

#[cfg(test)]
mod tests {
    use scale_secagg::error::Reason;

    use super::*;

    /// What devices find out by themselves: these words reach the coordinator in `Leave`, and no device in an answer.
    const CHECKED_BY_DEVICES: [&str; 21] = [
        "config_signature",
        "model_digest",
        "round_not_newer",
        "policy",
        "plan",
        "width",
        "deadline",
        "own_entry",
        "roster_signature",
        "roster_root",
        "neighbours",
        "not_listed",
        "too_few_neighbours",
        "bad_share",
        "ledger",
        "second_input",
        "survivors",
        "window",
        "second_statement",
        "agreement",
        "prg_range",
    ];

    #[test]
    fn every_word_of_the_protocol_is_in_the_table_or_a_devices_own() {
        for reason in Reason::ALL {
            let code = reason.code();
            let own = CHECKED_BY_DEVICES.contains(&code);
            assert_ne!(codes::find(code).is_some(), own, "{code}");
        }
    }

    #[test]
    fn every_failure_of_a_devices_call_has_its_remedy() {
        let io = || std::io::Error::other("a test");
        for (error, advice) in [
            (Error::UnknownTask("t".into()), Advice::CheckIn),
            (Error::UnknownRound, Advice::CheckIn),
            (Error::UnknownSession, Advice::CheckIn),
            (Error::UnknownModel { task: "t".into(), version: 9 }, Advice::Leave),
            (Error::NotParticipant, Advice::CheckIn),
            (Error::HasLeft, Advice::CheckIn),
            (Error::WrongIdentity, Advice::Leave),
            (Error::NotTraining, Advice::CheckIn),
            (Error::Refused(Reason::Late.into()), Advice::CheckIn),
            (Error::Refused(Reason::Duplicate.into()), Advice::Leave),
            (Error::Late, Advice::CheckIn),
            (Error::BadDigest, Advice::Resend),
            (Error::DifferentUpload, Advice::Leave),
            (Error::WrongLength { expected: 2, announced: 1 }, Advice::Leave),
            (Error::BeyondEnd { end: 2, total: 1 }, Advice::Leave),
            (Error::Store(StoreError::Unavailable("a test".into())), Advice::Resend),
            (Error::Store(StoreError::Conflict("a test".into())), Advice::Resend),
            (Error::Folder { what: "test", source: io() }, Advice::Resend),
            (Error::Stopping, Advice::Resend),
            (Error::Bug("a test".into()), Advice::Resend),
        ] {
            assert!(codes::find(error.code()).is_some(), "{error:?}");
            assert_eq!(error.remedy().advice(), advice, "{error:?}");
        }
    }

    /// Whatever ended a round, those who still call for it are free, also when the word alone would say something else.
    #[test]
    fn the_end_of_a_round_sends_everybody_to_check_in() {
        let back = RetryWindow::from_millis(5_000);
        for code in ["operator", "too_few_inputs", "storage_unavailable", "of_tomorrow"] {
            let error = Error::Abandoned { code: code.into(), sentence: String::new(), back };
            assert_eq!(error.remedy(), Remedy::CheckIn(back));
        }
    }
}
