//! Questions and answers of the device's calls, as both sides use them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use scale_secagg::roster::RosterForm;

use crate::error::Invalid;
use crate::ids::{DeviceId, Digest, ModelVersion, RoundId, SessionId, TaskId};
use crate::manifest::Manifest;
use crate::model::ModelSpec;
use crate::time::{RetryWindow, Timestamp};

/// What a device says when it asks for work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckIn {
    /// Tasks that the app takes part in; empty means any.
    pub tasks: Vec<TaskId>,
    /// Names of the model families that this build trains ([`crate::model::Family::name`]). Names that the coordinator
    /// does not know are kept: a newer device may know more.
    pub families: Vec<String>,
}

/// Not now: when to come back, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When coming back helps, counted from now.
    pub retry: RetryWindow,
    /// One stable word per reason.
    pub code: String,
    /// The reason for a person.
    pub sentence: String,
}

/// Answer to a check-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckInAnswer {
    /// The device is in a round.
    Manifest(Manifest),
    /// No round for this device at the moment.
    Wait(Wait),
}

/// A stage has closed; this opens the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageDown {
    /// The session that the device is in.
    pub session: SessionId,
    /// Stage that the payload opens, 1 to 4: roster, shares, survivors, signatures.
    pub stage: u8,
    /// Canonical bytes of the protocol.
    pub payload: Bytes,
    /// Stage 1: the form of the roster. `None` in every other stage.
    pub roster: Option<RosterForm>,
}

/// Answer to a stage call (stages 0, 1, 3 and 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageAnswer {
    /// The stage has closed.
    Down(StageDown),
    /// The stage is still open: ask again with the same message.
    Wait(Wait),
    /// Stage 4: the shares are kept, and the device has nothing more to do.
    Accepted,
}

/// Answer to one piece of a masked input (stage 2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadAnswer {
    /// Bytes held so far, from the start and without a gap: send from here.
    Received(u64),
    /// The upload is part of the sum, durably. An empty piece asks for the survivors.
    Committed,
    /// Stage 2 has closed.
    Down(StageDown),
    /// Nothing has to be sent again: ask with an empty piece.
    Wait(Wait),
}

/// A published model, and where to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelManifest {
    /// The task that it belongs to.
    pub task: TaskId,
    /// Its version.
    pub version: ModelVersion,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// Signed URL of the file.
    pub url: String,
    /// The architecture.
    pub model: ModelSpec,
    /// [`ModelSpec::fingerprint`] as the coordinator computed it.
    pub fingerprint: Digest,
}

/// How far a device's training has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The round.
    pub round: RoundId,
    /// Share of the plan that is done, in thousandths, 0 to 1000.
    pub done_permille: u32,
    /// Shows which training job this is.
    pub job: Option<JobCredential>,
}

/// What an app shows to report on a training job of the REST facade: 48 bytes that mean something to the coordinator only.
#[derive(Clone, PartialEq, Eq)]
pub struct JobCredential([u8; Self::LEN]);

impl JobCredential {
    /// Bytes of one.
    pub const LEN: usize = 48;

    /// Its bytes, for the coordinator.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl TryFrom<&[u8]> for JobCredential {
    type Error = Invalid;

    fn try_from(bytes: &[u8]) -> Result<Self, Invalid> {
        bytes.try_into().map(Self).map_err(|_| {
            Invalid::new("job_credential", format!("has {} bytes, a credential has {}", bytes.len(), Self::LEN))
        })
    }
}

/// As the REST facade writes it: base64url without padding.
impl std::str::FromStr for JobCredential {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let bytes = URL_SAFE_NO_PAD.decode(text);
        bytes.map_err(|_| Invalid::new("job_credential", "is not base64url without padding"))?.as_slice().try_into()
    }
}

impl std::fmt::Debug for JobCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JobCredential(redacted)")
    }
}

/// A device leaves a round before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The round.
    pub round: RoundId,
    /// A reason code of the device, never anything about its data.
    pub reason: String,
}

/// A new installation asks for an identity.
#[derive(Clone, PartialEq, Eq)]
pub struct Enroll {
    /// A token that the operator minted, or that a person who has signed in was given.
    pub enroll_token: String,
    /// Ed25519 public key of the installation.
    pub identity_key: [u8; 32],
    /// Ed25519 over [`Enroll::signed_bytes`], by that key.
    pub signature: [u8; 64],
}

/// An installation's identity.
#[derive(Clone, PartialEq, Eq)]
pub struct Enrolled {
    /// Its name from now on.
    pub device: DeviceId,
    /// Bearer token of its other calls.
    pub device_token: String,
    /// When that token ends, by the coordinator's clock. `None`: the coordinator is an older one, which does not say.
    pub expires_at: Option<Timestamp>,
    /// Ed25519 key that signs round configurations.
    pub task_key: [u8; 32],
}

/// The one model that a device asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRequest {
    /// The task.
    pub task: TaskId,
    /// `None`: the newest.
    pub version: Option<ModelVersion>,
}

impl Enroll {
    /// What [`Enroll::signature`] covers: `"FLSA1/enroll" || SHA-256(enroll_token) || identity_key`.
    pub fn signed_bytes(enroll_token: &str, identity_key: &[u8; 32]) -> Vec<u8> {
        [b"FLSA1/enroll".as_slice(), &Digest::of(enroll_token.as_bytes()).0, identity_key].concat()
    }
}

/// Tokens open doors, so they are not printed.
impl std::fmt::Debug for Enroll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enroll").field("enroll_token", &"redacted").finish_non_exhaustive()
    }
}

/// Tokens open doors, so they are not printed.
impl std::fmt::Debug for Enrolled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrolled")
            .field("device", &self.device)
            .field("device_token", &"redacted")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
