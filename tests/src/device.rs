//! A device that speaks the wire and the protocol, one message at a time.

use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use scale_proto::plan::Plan;
use scale_proto::{PROTOCOL, wire};
use scale_secagg::client::{Answer, Event, Host, Participant};
use scale_secagg::config::{Policy, RoundConfig};
use scale_secagg::keys::IdentityKey;
use scale_secagg::roster::RosterForm;
use tonic::transport::{Channel, Endpoint};

use crate::process::with_token;

/// Longest time that a call is repeated for, through waits and restarts of the coordinator.
const PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of one upload piece: small, so that tests see uploads in several pieces.
const PIECE: usize = 16;

/// One device. Its identity and everything that it draws follow from its number.
pub struct RawDevice {
    url: String,
    channel: Channel,
    identity: IdentityKey,
    rng: ChaCha20Rng,
    token: String,
    task_key: [u8; 32],
    last_round: u64,
}

/// One device in one round.
pub struct Joined {
    /// What the coordinator handed out.
    pub manifest: wire::Manifest,
    /// The decoded configuration.
    pub config: RoundConfig,
    /// The decoded plan.
    pub plan: Plan,
    /// What this device puts into the sum, one vector after the other.
    pub input: Vec<Vec<i64>>,
    /// The session, from stage 1 on.
    pub session: Bytes,
    /// The last payload that went up.
    pub up: Bytes,
    participant: Participant,
    policy: Policy,
}

impl RawDevice {
    /// Enrolls device number `number`.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn enroll(url: String, number: u8, enroll_token: &str) -> anyhow::Result<Self> {
        let identity = IdentityKey::from_seed(&[number; 32]);
        let channel = Endpoint::from_shared(url.clone())?.connect_lazy();
        let key = identity.public();
        let request = wire::EnrollRequest {
            protocol: PROTOCOL,
            enroll_token: enroll_token.to_owned(),
            identity_key: Bytes::copy_from_slice(&key),
            signature: Bytes::copy_from_slice(
                &identity.sign(&scale_proto::answer::Enroll::signed_bytes(enroll_token, &key)),
            ),
        };
        let answer =
            wire::enrollment_client::EnrollmentClient::new(channel.clone()).enroll(request).await?.into_inner();
        Ok(Self {
            url,
            channel,
            identity,
            rng: ChaCha20Rng::from_seed([number ^ 0xA5; 32]),
            token: answer.device_token,
            task_key: answer.task_key.as_ref().try_into().context("task key")?,
            last_round: 0,
        })
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
        &self.task_key
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
        self.channel = Endpoint::from_shared(self.url.clone())?.connect_lazy();
        Ok(())
    }

    /// Checks in until a round takes this device, checks the configuration, and draws an input: any integers within the
    /// grid, and statistics of 1 to 50 examples.
    ///
    /// # Errors
    /// No round within the patience, or a configuration that the protocol refuses.
    pub async fn join(&mut self) -> anyhow::Result<Joined> {
        let message =
            wire::CheckInRequest { protocol: PROTOCOL, tasks: vec![], model_families: vec!["mlp".to_owned()] };
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
        let policy = Policy {
            task_key: self.task_key,
            model_digest: config.model_digest,
            vectors: config.vectors.clone(),
            last_round: self.last_round,
            min_clients: 10,
            identity_root: None,
        };
        self.last_round = config.round;
        let mut participant = Participant::new();
        let Self { identity, rng, .. } = self;
        let mut host = Host { policy: &policy, identity, certificate: None, rng };
        let event = Event::Config { bytes: &manifest.round_config, signature: &manifest.config_signature };
        let Answer::Send(up) = participant.handle(event, now_ms(), &mut host)? else { bail!("no keys to advertise") };
        let grid = i64::from(config.grid);
        let update =
            (0..config.vectors[0].len).map(|_| i64::from(self.rng.next_u32()) % (2 * grid + 1) - grid).collect();
        let examples = 1 + i64::from(self.rng.next_u32() % 50);
        let statistics = vec![examples, examples * 4, examples / 2, examples];
        let (input, session) = (vec![update, statistics], Bytes::new());
        Ok(Joined { manifest, config, plan, input, session, up: up.into(), participant, policy })
    }

    /// Stage 0 up; returns when the roster is there.
    ///
    /// # Errors
    /// The coordinator refuses, or the protocol does.
    pub async fn advertise(&mut self, joined: &mut Joined) -> anyhow::Result<()> {
        let down = self.stage(0, joined).await?.context("no roster")?;
        joined.session = down.session_handle.clone();
        let form = if down.sparse { RosterForm::Sparse } else { RosterForm::Complete };
        self.take(joined, Event::Roster { form, bytes: &down.payload })
    }

    /// Stage 1 up; returns when the shares are there, with the input masked and packed.
    ///
    /// # Errors
    /// The coordinator refuses, or the protocol does.
    pub async fn share(&mut self, joined: &mut Joined) -> anyhow::Result<()> {
        let down = self.stage(1, joined).await?.context("no shares")?;
        let Self { identity, rng, .. } = self;
        let mut host = Host { policy: &joined.policy, identity, certificate: None, rng };
        joined.participant.handle(Event::Shares(&down.payload), now_ms(), &mut host)?;
        let input = joined.input.iter().map(|vector| vector.iter().map(|&entry| entry as u32).collect()).collect();
        joined.up = joined.participant.mask(Some(input))?.into();
        Ok(())
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
            let end = (offset + PIECE).min(joined.up.len());
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
    /// The coordinator refuses, or the protocol does.
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
        self.take(joined, Event::Survivors(&down.payload))
    }

    /// Stage 3 up; returns when the signatures are there.
    ///
    /// # Errors
    /// The coordinator refuses, or the protocol does.
    pub async fn confirm(&mut self, joined: &mut Joined) -> anyhow::Result<()> {
        let down = self.stage(3, joined).await?.context("no signatures")?;
        self.take(joined, Event::Signatures(&down.payload))
    }

    /// Stage 4 up.
    ///
    /// # Errors
    /// The coordinator refuses.
    pub async fn reveal(&self, joined: &Joined) -> anyhow::Result<()> {
        self.stage(4, joined).await.map(drop)
    }

    fn take(&mut self, joined: &mut Joined, event: Event<'_>) -> anyhow::Result<()> {
        let Self { identity, rng, .. } = self;
        let mut host = Host { policy: &joined.policy, identity, certificate: None, rng };
        let Answer::Send(up) = joined.participant.handle(event, now_ms(), &mut host)? else { bail!("nothing to send") };
        joined.up = up.into();
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
        while started.elapsed() < PATIENCE {
            match call().await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(status) if is_away(&status) => {}
                Err(status) => return Err(status.into()),
            }
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        bail!("no answer within {PATIENCE:?}")
    }
}

/// Nobody answered, or the connection broke in the middle: the same call may be sent again.
fn is_away(status: &tonic::Status) -> bool {
    let said_by_the_coordinator = status.metadata().get("scale-error-code").is_some();
    !said_by_the_coordinator
        && matches!(status.code(), tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled)
}

/// The stable word of a refusal.
pub fn code(status: &tonic::Status) -> String {
    let value = status.metadata().get("scale-error-code").and_then(|value| value.to_str().ok());
    value.unwrap_or("no scale-error-code").to_owned()
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
