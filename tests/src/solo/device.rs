//! The process: the real client on files, in a [`World`] of its own.

use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use scale_client_core::device::{Cancel, Client, ClientConfig, Outcome, RunOptions};
use scale_client_core::error::{CallError, Error};
use scale_client_core::host::memory::{FixedConditions, MemoryClock};
use scale_client_core::host::native::{FileKeys, FileLedger, FolderStore, SystemRandomness};
use scale_client_core::host::{Body, DeviceConditions, DeviceToken, Download, Parts, Transport};
use scale_client_core::testing::setting;
use scale_proto::answer::{
    CheckIn, CheckInAnswer, Enroll, Enrolled, Leave, ModelManifest, ModelRequest, Progress, StageAnswer, UploadAnswer,
};
use scale_proto::ids::{DeviceId, RoundId, SessionId};
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::time::Timestamp;
use serde_json::{Value, json};

use super::watch::{Watch, Watched};
use super::world::World;
use crate::trainer::Steady;

/// Takes part in round `number` with everything of the device below `folder`, or only reports with `number` 0. Gives what
/// came of it as JSON: `outcome`, `code`, `points` and `report`.
///
/// # Errors
/// A folder that cannot be used.
pub async fn run(folder: &Path, state: &Path, number: u64, noise: bool, stop_at: u32) -> anyhow::Result<Value> {
    let watch = Watch::new(stop_at);
    let host = Parts {
        transport: Line { world: World::new(folder, number, noise), watch: watch.clone() },
        store: Watched(FolderStore::open(state)?, watch.clone()),
        keys: Watched(FileKeys::open(&folder.join("keys"))?, watch.clone()),
        conditions: FixedConditions(DeviceConditions::FINE),
        // Waiting takes no time.
        clock: MemoryClock::at(Timestamp::from_millis(setting::START_MS)).hasty(),
        randomness: SystemRandomness,
        ledger: Watched(FileLedger::open(&folder.join("ledger"))?, watch.clone()),
    };
    let config = ClientConfig::new(vec![setting::task()], setting::task_key().public());
    let client = Client::new(host, config);
    let (outcome, code) = if number == 0 {
        ("none", String::new())
    } else {
        client.enroll("token", &Cancel::new()).await?;
        told(client.participate(RunOptions::default(), &mut Steady, &Cancel::new(), &mut ()).await)
    };
    let report = client.privacy_report().await;
    let code = match (&report, outcome) {
        (Err(error), "none") => error.code().to_owned(),
        _ => code,
    };
    let report: Value = match &report {
        Ok(report) => serde_json::from_str(&report.to_json())?,
        Err(_) => Value::Null,
    };
    Ok(json!({ "outcome": outcome, "code": code, "points": watch.passed(), "report": report }))
}

/// Begins a new ledger, as the user asked: whether there was a reason to.
///
/// # Errors
/// What the client answers.
pub async fn reset(folder: &Path, state: &Path) -> anyhow::Result<bool> {
    let watch = Watch::new(0);
    let host = Parts {
        transport: Line { world: World::new(folder, 0, false), watch: watch.clone() },
        store: FolderStore::open(state)?,
        keys: FileKeys::open(&folder.join("keys"))?,
        conditions: FixedConditions(DeviceConditions::FINE),
        clock: MemoryClock::at(Timestamp::from_millis(setting::START_MS)).hasty(),
        randomness: SystemRandomness,
        ledger: FileLedger::open(&folder.join("ledger"))?,
    };
    let config = ClientConfig::new(vec![setting::task()], setting::task_key().public());
    Ok(Client::new(host, config).reset_privacy_ledger().await?)
}

fn told(result: Result<Outcome, Error>) -> (&'static str, String) {
    match result {
        Ok(Outcome::Contributed(_)) => ("contributed", String::new()),
        Ok(Outcome::Waited { code, .. }) => ("waited", code),
        Ok(Outcome::Left { cause, .. }) => ("left", cause.code().to_owned()),
        Ok(Outcome::Paused { phase, .. }) => ("paused", format!("{phase:?}")),
        Ok(Outcome::EnrollmentNeeded { code, .. }) => ("enrollment_needed", code),
        Err(error) => ("error", error.code().to_owned()),
    }
}

/// The way to the world. The token is the identity.
#[derive(Clone, Debug)]
struct Line {
    world: World,
    watch: Watch,
}

impl Line {
    fn send(&self, token: &DeviceToken, stage: u8, payload: &[u8]) -> Result<StageAnswer, CallError> {
        self.watch.point("before a message goes out");
        let sent = self.world.keep(stage, payload).and_then(|()| {
            let identity: [u8; 32] = hex::decode(token.reveal())?.try_into().ok().context("no identity")?;
            self.world.answer(&identity, stage)
        });
        self.watch.point("before a message is answered");
        let down = sent.map_err(|error| CallError::Unreachable(error.to_string()))?;
        Ok(match (stage, down) {
            (0..=3, Some(down)) => StageAnswer::Down(down),
            _ => StageAnswer::Accepted,
        })
    }
}

impl Transport for Line {
    type Body = Once;

    async fn enroll(&self, request: Enroll) -> Result<Enrolled, CallError> {
        let device_token = hex::encode(request.identity_key);
        let device = DeviceId::from_random([7; 16]);
        Ok(Enrolled { device, device_token, expires_at: None, task_key: setting::task_key().public() })
    }
    async fn check_in(&self, _: &DeviceToken, _: CheckIn) -> Result<CheckInAnswer, CallError> {
        Ok(CheckInAnswer::Manifest(self.world.manifest()))
    }
    async fn advertise_keys(&self, token: &DeviceToken, up: StageUp<RoundId>) -> Result<StageAnswer, CallError> {
        self.send(token, 0, &up.payload)
    }
    async fn share_keys(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        self.send(token, 1, &up.payload)
    }
    async fn upload(&self, token: &DeviceToken, piece: UploadPiece) -> Result<UploadAnswer, CallError> {
        if (piece.data.len() as u64) < piece.total {
            // A question how far it came: nothing is kept but wholes.
            return Ok(UploadAnswer::Received(0));
        }
        match self.send(token, 2, &piece.data)? {
            StageAnswer::Down(down) => Ok(UploadAnswer::Down(down)),
            _ => Err(CallError::Unreachable("no survivors".into())),
        }
    }
    async fn confirm_survivors(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        self.send(token, 3, &up.payload)
    }
    async fn reveal_shares(&self, token: &DeviceToken, up: StageUp<SessionId>) -> Result<StageAnswer, CallError> {
        self.send(token, 4, &up.payload)
    }
    async fn report_progress(&self, _: &DeviceToken, _: Progress) -> Result<(), CallError> {
        Ok(())
    }
    async fn leave(&self, _: &DeviceToken, _: Leave) -> Result<(), CallError> {
        Ok(())
    }
    async fn get_model(&self, _: &DeviceToken, _: ModelRequest) -> Result<ModelManifest, CallError> {
        Err(CallError::Unreachable("nobody asks".into()))
    }
    async fn download(&self, _: &str, _: u64) -> Result<Download<Once>, CallError> {
        Ok(Download { from: 0, body: Once(Some(self.world.model())) })
    }
}

/// A download in one piece.
#[derive(Debug)]
struct Once(Option<Bytes>);

impl Body for Once {
    async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        Ok(self.0.take())
    }
}
