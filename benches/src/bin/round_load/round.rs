//! The round, stage after stage: nobody begins the next one before everybody has the end of the last, so that all costs in
//! between belong to one stage.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use scale_proto::PROTOCOL;
use scale_proto::answer::Enroll;
use scale_proto::ids::Digest;
use scale_proto::wire::{self, check_in_response, stage_response, upload_response};
use tonic::{Request, Status};

use crate::calls::{Attempt, Reply, Told, paced, until_answered};
use crate::device::{Device, Round, compute};
use crate::floor;
use crate::report::{Calls, Meter, Report, Stage};
use crate::server::Server;
use crate::settings::Arguments;
use crate::task::{self, TASK};
use crate::watch::Watch;
use crate::wire::{Wire, with_token};

/// Bytes of an upload's piece, as devices send them.
const PIECE: usize = 512 << 10;
/// Most bytes of uploads that are computed and not yet sent.
const UPLOADS_HELD: u64 = 256 << 20;

/// The measurement under way.
pub(crate) struct Run<'a> {
    arguments: &'a Arguments,
    server: Server,
    wire: Wire,
    devices: Vec<Device>,
    stages: Vec<Stage>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(arguments: &'a Arguments, server: Server) -> anyhow::Result<Self> {
        let wire = Wire::new(&server.url, arguments.connections)?;
        let devices = (0..arguments.devices as usize).map(|number| Device::new(arguments.seed, number)).collect();
        Ok(Self { arguments, server, wire, devices, stages: vec![] })
    }

    /// From the enrollment to the published model.
    pub(crate) async fn run(mut self) -> anyhow::Result<Report> {
        let operator = Wire::new(&self.server.url, 1)?;
        let mut admin = wire::admin_client::AdminClient::new(operator.of(0));
        let token = self.server.token.clone();
        admin.create_task(with_token(task::request(self.arguments)?, &token)).await?;
        let mint = wire::MintTokenRequest { kind: "enroll".to_owned(), ttl_s: 86_400 };
        let enroll_token = admin.mint_token(with_token(mint, &token)).await?.into_inner().token;
        let server_before_bytes = self.server.peak();

        let task_key = self.enroll(&enroll_token).await?;
        let round = self.check_in(task_key).await?;
        let watch = Watch::start(Wire::new(&self.server.url, 1)?.of(0), token.clone(), round.id.clone());
        self.stage("keys", 0, &round, &watch).await?;
        self.stage("shares", 1, &round, &watch).await?;
        self.uploads(&round, &watch).await?;
        self.stage("agreement", 3, &round, &watch).await?;
        self.stage("unmask", 4, &round, &watch).await?;
        let meter = Meter::start("publication", &self.server, &self.wire)?;
        let closed = watch.closed().await;
        self.stages.push(meter.stop(&self.server, &self.wire, Calls::default()));
        self.server.check()?;

        let session_sizes: Vec<u32> = closed.sessions.iter().map(|session| session.advertised).collect();
        if let Some(floors) = floor::of_stages(&round.config, &session_sizes) {
            let stages = self.stages.iter_mut().skip_while(|stage| stage.name != "keys");
            stages.zip(floors).for_each(|(stage, floor)| stage.floor = Some(floor));
        }
        let mut lost = BTreeMap::new();
        for why in self.devices.iter().filter_map(|device| device.lost.clone()) {
            *lost.entry(why).or_insert(0) += 1;
        }
        let exact = if closed.new_version > 0 {
            let wanted = wire::GetModelInfoRequest { task: TASK.to_owned(), version: closed.new_version };
            let model = admin.get_model(with_token(wanted, &token)).await?.into_inner();
            task::is_exact(&model, &self.server.url, &round.config, &self.devices).await?
        } else {
            false
        };
        Ok(Report {
            devices: self.arguments.devices,
            sessions: self.arguments.sessions,
            session_sizes,
            entries: self.arguments.entries,
            wire_bits: round.config.wire_bits,
            connections: self.arguments.connections,
            rate: self.arguments.rate,
            stages: self.stages,
            server_before_bytes,
            phase: closed.phase,
            reason: closed.reason,
            survivors: closed.survivors,
            lost,
            exact,
        })
    }

    /// Everybody gets a token. Returns the key that signs rounds.
    async fn enroll(&mut self, enroll_token: &str) -> anyhow::Result<[u8; 32]> {
        let meter = Meter::start("enrollment", &self.server, &self.wire)?;
        let jobs = self.devices.iter().map(|device| {
            let identity = device.identity.public();
            let message = wire::EnrollRequest {
                protocol: PROTOCOL,
                enroll_token: enroll_token.to_owned(),
                identity_key: Bytes::copy_from_slice(&identity),
                signature: Bytes::copy_from_slice(
                    &device.identity.sign(&Enroll::signed_bytes(enroll_token, &identity)),
                ),
            };
            let (number, channel) = (device.number, self.wire.of(device.number));
            call(number, move || {
                let mut client = wire::enrollment_client::EnrollmentClient::new(channel.clone());
                let request = Request::new(message.clone());
                async move { Ok(Reply::Own(client.enroll(request).await?.into_inner())) }
            })
        });
        let told = paced(self.arguments.rate, jobs).await;
        let calls = self.calls(&told, |_| None);
        let mut task_key = None;
        self.settle(told, |device, answer: wire::EnrollResponse| {
            device.token = Arc::from(answer.device_token);
            task_key = <[u8; 32]>::try_from(&answer.task_key[..]).ok();
        })?;
        self.stages.push(meter.stop(&self.server, &self.wire, calls));
        task_key.context("enrollment gave no task key")
    }

    /// Everybody is in the round.
    async fn check_in(&mut self, task_key: [u8; 32]) -> anyhow::Result<Round> {
        let meter = Meter::start("check-in", &self.server, &self.wire)?;
        let jobs = self.alive().map(|device| {
            let (number, client, token) = (device.number, self.wire.rounds(device.number), device.token.clone());
            let message = wire::CheckInRequest {
                protocol: PROTOCOL,
                tasks: vec![TASK.to_owned()],
                model_families: vec!["mlp".to_owned()],
            };
            call(number, move || {
                let (mut client, request) = (client.clone(), with_token(message.clone(), &token));
                async move {
                    match client.check_in(request).await?.into_inner().answer {
                        Some(check_in_response::Answer::Manifest(manifest)) => Ok(Reply::Stage(manifest)),
                        Some(check_in_response::Answer::Wait(wait)) => Ok(Reply::Wait(wait)),
                        None => Err(empty()),
                    }
                }
            })
        });
        let told = paced(self.arguments.rate, jobs).await;
        let last = last_request(&told, |_| ());
        let calls = self.calls(&told, |_| last.get(&()).copied());
        let mut manifest = None;
        self.settle(told, |_, answer: wire::Manifest| manifest = Some(answer))?;
        self.stages.push(meter.stop(&self.server, &self.wire, calls));
        Round::new(&manifest.context("no device is in a round")?, task_key)
    }

    /// A stage that is one message up and one down.
    async fn stage(&mut self, name: &'static str, stage: usize, round: &Round, watch: &Watch) -> anyhow::Result<()> {
        let meter = Meter::start(name, &self.server, &self.wire)?;
        compute(&mut self.devices, round, self.arguments.threads());
        let jobs = self.alive().map(|device| {
            let (number, client, token) = (device.number, self.wire.rounds(device.number), device.token.clone());
            let handle = if stage == 0 { round.id.clone() } else { device.session.clone() };
            let message = wire::StageRequest { protocol: PROTOCOL, handle, payload: device.payload.clone() };
            call(number, move || {
                let (mut client, request) = (client.clone(), with_token(message.clone(), &token));
                async move {
                    let answer = match stage {
                        0 => client.advertise_keys(request).await?,
                        1 => client.share_keys(request).await?,
                        3 => client.confirm_survivors(request).await?,
                        _ => client.reveal_shares(request).await?,
                    };
                    match answer.into_inner().answer {
                        Some(stage_response::Answer::Down(down)) => Ok(Reply::Stage(Some(down))),
                        Some(stage_response::Answer::Accepted(_)) => Ok(Reply::Own(None)),
                        Some(stage_response::Answer::Wait(wait)) => Ok(Reply::Wait(wait)),
                        None => Err(empty()),
                    }
                }
            })
        });
        let told = paced(self.arguments.rate, jobs).await;
        let calls = self.calls_of_stage(&told, stage, watch, |answer: &Option<wire::StageDown>| {
            answer.as_ref().map(|down| down.session_handle.clone())
        });
        self.settle(told, |device, answer| (device.down, device.payload) = (answer, Bytes::new()))?;
        self.stages.push(meter.stop(&self.server, &self.wire, calls));
        Ok(())
    }

    /// The uploads, no more of them in memory than there is room for, and then the survivors.
    async fn uploads(&mut self, round: &Round, watch: &Watch) -> anyhow::Result<()> {
        let meter = Meter::start("masked input", &self.server, &self.wire)?;
        let room = (UPLOADS_HELD / round.config.masked_input_len().max(1)).clamp(1, 1 << 20) as usize;
        let mut all: Vec<(usize, Attempt)> = vec![];
        let mut asks: Vec<(usize, wire::UploadRequest)> = vec![];
        for first in (0..self.devices.len()).step_by(room) {
            let part = first..(first + room).min(self.devices.len());
            compute(&mut self.devices[part.clone()], round, self.arguments.threads());
            let uploading: Vec<usize> = part.filter(|&at| self.devices[at].lost.is_none()).collect();
            let jobs = uploading.iter().map(|&at| {
                let device = &self.devices[at];
                let upload = Upload::of(device);
                asks.push((at, upload.piece(device.payload.len(), Bytes::new())));
                upload.send(device, &self.wire)
            });
            let told = paced(self.arguments.rate, jobs).await;
            for (told, at) in told.into_iter().zip(uploading) {
                all.extend(told.attempts.into_iter().map(|attempt| (at, attempt)));
                let device = &mut self.devices[at];
                device.payload = Bytes::new();
                match told.result {
                    Ok(()) => device.committed = true,
                    Err(why) => device.lost = Some(why),
                }
            }
        }
        asks.retain(|(at, _)| self.devices[*at].lost.is_none());
        let last = all.iter().map(|(_, attempt)| attempt.sent).max();
        let jobs = asks.into_iter().map(|(at, message)| {
            let device = &self.devices[at];
            let (client, token) = (self.wire.rounds(device.number), device.token.clone());
            call(device.number, move || {
                let (mut client, request) = (client.clone(), with_token(message.clone(), &token));
                async move {
                    match client.upload_masked(request).await?.into_inner().answer {
                        Some(upload_response::Answer::Down(down)) => Ok(Reply::Stage(down)),
                        Some(upload_response::Answer::Wait(wait)) => Ok(Reply::Wait(wait)),
                        _ => Ok(Reply::Wait(wire::Wait { after_ms: 50, before_ms: 100, ..Default::default() })),
                    }
                }
            })
        });
        let told = paced(self.arguments.rate, jobs).await;
        let session = |place: usize| -> Option<&Bytes> {
            let down = told.get(place)?.result.as_ref().ok()?;
            Some(&down.session_handle)
        };
        let uploads = all.iter().map(|(_, attempt)| (usize::MAX, attempt));
        let waits = told.iter().enumerate().flat_map(|(place, one)| one.attempts.iter().map(move |it| (place, it)));
        let closed = |place| session(place).and_then(|session| watch.open_at(session, 2)).max(last);
        let calls = Calls::of(uploads.chain(waits), closed, self.long_poll());
        self.settle(told, |device, down| device.down = Some(down))?;
        self.stages.push(meter.stop(&self.server, &self.wire, calls));
        Ok(())
    }

    fn alive(&self) -> impl Iterator<Item = &Device> {
        self.devices.iter().filter(|device| device.lost.is_none())
    }

    fn long_poll(&self) -> Duration {
        Duration::from_millis(self.arguments.long_poll_ms)
    }

    fn calls<T>(&self, told: &[Told<T>], closed: impl Fn(usize) -> Option<Instant>) -> Calls {
        let all = told.iter().enumerate().flat_map(|(place, one)| one.attempts.iter().map(move |it| (place, it)));
        Calls::of(all, closed, self.long_poll())
    }

    /// A session's stage cannot close before its last member has sent, nor before it was last seen open.
    fn calls_of_stage<T>(
        &self,
        told: &[Told<T>],
        stage: usize,
        watch: &Watch,
        session: impl Fn(&T) -> Option<Bytes>,
    ) -> Calls {
        let of = |one: &Told<T>| one.result.as_ref().ok().and_then(&session);
        let last = last_request(told, of);
        self.calls(told, |place| {
            let session = of(&told[place]);
            let seen = session.as_ref().and_then(|session| watch.open_at(session, stage));
            seen.max(last.get(&session).copied())
        })
    }

    /// Gives everybody who was alive their answer, in order.
    fn settle<T>(&mut self, told: Vec<Told<T>>, mut take: impl FnMut(&mut Device, T)) -> anyhow::Result<()> {
        let alive = self.devices.iter_mut().filter(|device| device.lost.is_none());
        for (device, told) in alive.zip(told) {
            match told.result {
                Ok(answer) => take(device, answer),
                Err(why) => device.lost = Some(why),
            }
        }
        self.server.check()?;
        ensure!(self.alive().next().is_some(), "all devices are lost: {:?}", self.devices.first().map(|one| &one.lost));
        Ok(())
    }
}

/// When the last member of each group first sent.
fn last_request<T, K: std::hash::Hash + Eq>(told: &[Told<T>], group: impl Fn(&Told<T>) -> K) -> HashMap<K, Instant> {
    let mut last = HashMap::new();
    for one in told {
        if let Some(first) = one.attempts.first() {
            let at = last.entry(group(one)).or_insert(first.sent);
            *at = first.sent.max(*at);
        }
    }
    last
}

async fn call<T, F>(number: usize, call: impl Fn() -> F) -> Told<T>
where
    F: Future<Output = Result<Reply<T>, Status>>,
{
    let mut attempts = vec![];
    let result = until_answered(number, &mut attempts, call).await;
    Told { attempts, result }
}

fn empty() -> Status {
    Status::internal("an answer without content")
}

/// One device's masked input.
struct Upload {
    session: Bytes,
    bytes: Bytes,
    digest: Bytes,
}

impl Upload {
    fn of(device: &Device) -> Self {
        let digest = Bytes::copy_from_slice(&Digest::of(&device.payload).0);
        Self { session: device.session.clone(), bytes: device.payload.clone(), digest }
    }

    fn piece(&self, offset: usize, data: Bytes) -> wire::UploadRequest {
        wire::UploadRequest {
            protocol: PROTOCOL,
            session_handle: self.session.clone(),
            offset: offset as u64,
            total: self.bytes.len() as u64,
            digest: self.digest.clone(),
            data,
        }
    }

    /// Piece after piece, until the upload is part of the sum.
    fn send(self, device: &Device, wire: &Wire) -> impl Future<Output = Told<()>> + use<> {
        use upload_response::Answer;
        let (number, client, token) = (device.number, wire.rounds(device.number), device.token.clone());
        async move {
            let (mut attempts, mut offset) = (vec![], 0);
            loop {
                let end = (offset + PIECE).min(self.bytes.len());
                let message = self.piece(offset, self.bytes.slice(offset..end));
                let sent = until_answered(number, &mut attempts, || {
                    let (mut client, request) = (client.clone(), with_token(message.clone(), &token));
                    async move {
                        match client.upload_masked(request).await?.into_inner().answer {
                            Some(Answer::Received(held)) => Ok(Reply::Own(Some(held))),
                            Some(Answer::Committed(_) | Answer::Down(_)) => Ok(Reply::Own(None)),
                            Some(Answer::Wait(wait)) => Ok(Reply::Wait(wait)),
                            None => Err(empty()),
                        }
                    }
                });
                match sent.await {
                    Ok(Some(held)) => offset = usize::try_from(held).unwrap_or(usize::MAX).min(self.bytes.len()),
                    Ok(None) => return Told { attempts, result: Ok(()) },
                    Err(why) => return Told { attempts, result: Err(why) },
                }
            }
        }
    }
}
