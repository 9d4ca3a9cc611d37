//! A device that speaks the wire one message at a time: a test decides on each. What it says is up to the machine that ships.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use scale_client_core::device::Rules;
use scale_client_core::testing::{Device, Silence, setting};
use scale_proto::answer::StageDown;
use scale_proto::codes::Advice;
use scale_proto::manifest::Manifest;
use scale_proto::plan::Plan;
use scale_proto::time::Timestamp;
use scale_proto::{PROTOCOL, wire};
use scale_secagg::config::RoundConfig;
use tonic::transport::{Channel, Endpoint};

use crate::direct::direct;
use crate::process::{http_get, with_token};

/// Longest time that a call is repeated for, through waits and restarts of the coordinator.
const PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of one upload piece: small, so that tests see uploads in several pieces.
const PIECE: usize = 16;
/// After so long without a sign it asks for one, and after so long again a connection is dead.
const SILENCE: Duration = Duration::from_secs(3);
/// Models whose rounds it joins: its training moves weights, whatever they mean.
const FAMILIES: [&str; 2] = ["mlp", "text_bag"];

/// One device. Its identity and everything that it draws follow from its number.
pub struct RawDevice {
    url: String,
    channel: Channel,
    token: String,
    device: Device,
    patience: Duration,
    piece: usize,
    /// Where it counts the refusals after which it sends the same bytes again; `None`: every refusal ends its call.
    refusals: Option<Refusals>,
}

/// How often devices were refused, by code, and sent the same bytes again. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<BTreeMap<String, u32>>>);

impl Refusals {
    /// Codes and how often.
    pub fn counted(&self) -> BTreeMap<String, u32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, code: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }
}

/// One device in one round.
pub struct Joined {
    /// What the coordinator handed out.
    pub manifest: wire::Manifest,
    /// The decoded configuration.
    pub config: RoundConfig,
    /// The decoded plan.
    pub plan: Plan,
    /// What this device puts into the sum of a round without noise, one vector after the other.
    pub input: Vec<Vec<i64>>,
    /// The session, from stage 1 on.
    pub session: Bytes,
    /// The last payload that went up.
    pub up: Bytes,
}

impl RawDevice {
    /// Enrolls device number `number`.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn enroll(url: String, number: u8, enroll_token: &str) -> anyhow::Result<Self> {
        Self::enroll_as(url, number.into(), enroll_token).await
    }

    /// The same for crowds of more than 256.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn enroll_as(url: String, number: u32, enroll_token: &str) -> anyhow::Result<Self> {
        let mut device = Device::at(number, setting::rules(), now());
        let channel = Endpoint::from_shared(url.clone())?.connect_lazy();
        let key = device.identity.public();
        let request = wire::EnrollRequest {
            protocol: PROTOCOL,
            enroll_token: enroll_token.to_owned(),
            identity_key: Bytes::copy_from_slice(&key),
            signature: Bytes::copy_from_slice(
                &device.identity.sign(&scale_proto::answer::Enroll::signed_bytes(enroll_token, &key)),
            ),
        };
        let answer =
            wire::enrollment_client::EnrollmentClient::new(channel.clone()).enroll(request).await?.into_inner();
        let task_key = answer.task_key.as_ref().try_into().context("task key")?;
        let families = FAMILIES.map(str::to_owned).to_vec();
        device.rules = Rules { task_key, tasks: vec![], families, ..setting::rules() };
        let token = answer.device_token;
        Ok(Self { url, channel, token, device, patience: PATIENCE, piece: PIECE, refusals: None })
    }

    /// The same device, which repeats a call for so long, and uploads in pieces of so many bytes.
    #[must_use]
    pub fn with_patience(self, patience: Duration, piece: usize) -> Self {
        Self { patience, piece, ..self }
    }

    /// The same device over a network where servers come and go: it gives up a connection that is silent for some
    /// seconds, and does what a refusal says helps: it sends the same bytes again.
    ///
    /// # Errors
    /// The address is not one.
    pub fn through_outages(mut self, refusals: Refusals) -> anyhow::Result<Self> {
        self.refusals = Some(refusals);
        self.reconnect()?;
        Ok(self)
    }

    /// The generated client.
    pub fn rounds(&self) -> wire::rounds_client::RoundsClient<Channel> {
        wire::rounds_client::RoundsClient::new(self.channel.clone())
    }

    /// The bearer token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Ed25519 key of the coordinator's tasks, as enrollment gave it.
    pub fn task_key(&self) -> &[u8; 32] {
        &self.device.rules.task_key
    }

    /// A request with this device's token.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        with_token(message, &self.token)
    }

    /// Opens a new connection, as an app that was started again does.
    ///
    /// # Errors
    /// The address is not one.
    pub fn reconnect(&mut self) -> anyhow::Result<()> {
        let mut endpoint = Endpoint::from_shared(self.url.clone())?;
        if self.refusals.is_some() {
            endpoint = endpoint.http2_keep_alive_interval(SILENCE).keep_alive_timeout(SILENCE);
        }
        self.channel = endpoint.connect_lazy();
        Ok(())
    }

    /// Checks in until a round takes this device, checks the round, loads the model and trains.
    ///
    /// # Errors
    /// No round within the patience, or one that the device leaves.
    pub async fn join(&mut self) -> anyhow::Result<Joined> {
        let message = wire::CheckInRequest {
            protocol: PROTOCOL,
            tasks: vec![],
            model_families: FAMILIES.map(str::to_owned).to_vec(),
        };
        let manifest = self
            .patiently(|| async {
                let answer = self.rounds().check_in(self.request(message.clone())).await?.into_inner().answer;
                Ok(match answer {
                    Some(wire::check_in_response::Answer::Manifest(manifest)) => Some(manifest),
                    _ => None,
                })
            })
            .await?;
        let config = RoundConfig::decode(&manifest.round_config)?;
        let plan = Plan::decode(&manifest.plan)?;
        let file = self.download(&direct(&self.url, &manifest.model_url)?).await?;
        self.device.now = now();
        let up = self.device.take(Manifest::try_from(manifest.clone())?, &file).map_err(silent)?;
        let (input, session) = (self.device.input().to_vec(), Bytes::new());
        Ok(Joined { manifest, config, plan, input, session, up })
    }

    /// Stage 0 up; returns when the roster is there.
    ///
    /// # Errors
    /// The coordinator refuses, or the device does.
    pub async fn advertise(&mut self, joined: &mut Joined) -> anyhow::Result<()> {
        let down = self.stage(0, joined).await?.context("no roster")?;
        joined.session = down.session_handle.clone();
        self.take(joined, down)
    }

    /// Stage 1 up; returns when the shares are there, with the input masked and packed.
    ///
    /// # Errors
    /// The coordinator refuses, or the device does.
    pub async fn share(&mut self, joined: &mut Joined) -> anyhow::Result<()> {
        let down = self.stage(1, joined).await?.context("no shares")?;
        self.take(joined, down)
    }

    /// Stage 2 up in pieces, until the coordinator says that it is part of the sum. `pieces`: stop after so many.
    /// Returns whether it was committed.
    ///
    /// # Errors
    /// The coordinator refuses.
    pub async fn upload(&self, joined: &Joined, pieces: usize) -> anyhow::Result<bool> {
        use wire::upload_response::Answer;
        let mut sent = 0;
        let mut offset = 0;
        loop {
            let end = (offset + self.piece).min(joined.up.len());
            let request = self.piece(joined, offset, joined.up.slice(offset..end));
            let answer = self
                .patiently(|| async {
                    let answer = self.rounds().upload_masked(self.request(request.clone())).await?.into_inner().answer;
                    Ok(answer.filter(|answer| !matches!(answer, Answer::Wait(_))))
                })
                .await?;
            match answer {
                Answer::Received(received) => offset = usize::try_from(received)?.min(joined.up.len()),
                Answer::Committed(_) | Answer::Down(_) => return Ok(true),
                Answer::Wait(_) => bail!("a wait is never returned"),
            }
            sent += 1;
            if sent == pieces {
                return Ok(false);
            }
        }
    }

    /// One piece of an upload, as a message.
    pub fn piece(&self, joined: &Joined, offset: usize, data: Bytes) -> wire::UploadRequest {
        wire::UploadRequest {
            protocol: PROTOCOL,
            session_handle: joined.session.clone(),
            offset: offset as u64,
            total: joined.up.len() as u64,
            digest: Bytes::copy_from_slice(&scale_proto::ids::Digest::of(&joined.up).0),
            data,
        }
    }

    /// Waits for the survivors and signs them.
    ///
    /// # Errors
    /// The coordinator refuses, or the device does.
    pub async fn survivors(&mut self, joined: &mut Joined) -> anyhow::Result<()> {
        use wire::upload_response::Answer;
        let request = self.piece(joined, joined.up.len(), Bytes::new());
        let down = self
            .patiently(|| async {
                match self.rounds().upload_masked(self.request(request.clone())).await?.into_inner().answer {
                    Some(Answer::Down(down)) => Ok(Some(down)),
                    _ => Ok(None),
                }
            })
            .await?;
        self.take(joined, down)
    }

    /// Stage 3 up; returns when the signatures are there.
    ///
    /// # Errors
    /// The coordinator refuses, or the device does.
    pub async fn confirm(&mut self, joined: &mut Joined) -> anyhow::Result<()> {
        let down = self.stage(3, joined).await?.context("no signatures")?;
        self.take(joined, down)
    }

    /// Stage 4 up: the device has done its part.
    ///
    /// # Errors
    /// The coordinator refuses, or the device does.
    pub async fn reveal(&mut self, joined: &Joined) -> anyhow::Result<()> {
        self.stage(4, joined).await?;
        self.device.accepted().map(drop).map_err(silent)
    }

    async fn download(&self, url: &str) -> anyhow::Result<Bytes> {
        let started = tokio::time::Instant::now();
        loop {
            match http_get(url).await {
                Err(error) if self.refusals.is_none() || started.elapsed() > self.patience => return Err(error),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                Ok(file) => return Ok(file),
            }
        }
    }

    fn take(&mut self, joined: &mut Joined, down: wire::StageDown) -> anyhow::Result<()> {
        self.device.now = now();
        joined.up = self.device.answer(StageDown::try_from(down)?).map_err(silent)?;
        Ok(())
    }

    /// Sends the payload of a stage until it is answered. `None`: accepted, nothing comes down.
    async fn stage(&self, stage: u8, joined: &Joined) -> anyhow::Result<Option<wire::StageDown>> {
        use wire::stage_response::Answer;
        let handle = if stage == 0 { joined.manifest.round_id.clone() } else { joined.session.clone() };
        let message = wire::StageRequest { protocol: PROTOCOL, handle, payload: joined.up.clone() };
        self.patiently(|| async {
            let (mut client, request) = (self.rounds(), self.request(message.clone()));
            let answer = match stage {
                0 => client.advertise_keys(request).await?,
                1 => client.share_keys(request).await?,
                3 => client.confirm_survivors(request).await?,
                _ => client.reveal_shares(request).await?,
            };
            Ok(match answer.into_inner().answer {
                Some(Answer::Down(down)) => Some(Some(down)),
                Some(Answer::Accepted(_)) => Some(None),
                _ => None,
            })
        })
        .await
    }

    /// Repeats a call while it says "not yet" or the coordinator is away; a refusal ends it.
    async fn patiently<T, F>(&self, call: impl Fn() -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<Option<T>, tonic::Status>>,
    {
        let started = tokio::time::Instant::now();
        while started.elapsed() < self.patience {
            match call().await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(status) if is_away(&status) => {}
                Err(status) => match &self.refusals {
                    Some(refusals) if says_resend(&status) => refusals.count(code(&status)),
                    _ => return Err(status.into()),
                },
            }
            // Where servers come and go, crowds call.
            let pause = if self.refusals.is_some() { 250 } else { 40 };
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        bail!("no answer within {:?}", self.patience)
    }
}

/// Nobody answered, or the connection broke in the middle: the same call may be sent again.
fn is_away(status: &tonic::Status) -> bool {
    let said_by_the_coordinator = status.metadata().get("scale-error-code").is_some();
    !said_by_the_coordinator
        && matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled)
}

/// The coordinator says that sending the same bytes again helps.
fn says_resend(status: &tonic::Status) -> bool {
    let problem = scale_proto::status::read(status.details());
    problem.is_some_and(|problem| problem.remedy.advice() == Advice::Resend)
}

/// The stable word of a refusal.
pub fn code(status: &tonic::Status) -> String {
    let value = status.metadata().get("scale-error-code").and_then(|value| value.to_str().ok());
    value.unwrap_or("no scale-error-code").to_owned()
}

fn silent(silence: Silence) -> anyhow::Error {
    anyhow!("the device sends nothing: {silence:?}")
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
