//! A coordinator that can be restarted, and raw protocol clients that run rounds against it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use scale_proto::answer::{CheckIn, CheckInAnswer, StageAnswer, StageDown, UploadAnswer};
use scale_proto::ids::{DeviceId, Digest, SessionId, TaskId};
use scale_proto::manifest::Manifest;
use scale_proto::plan::Plan;
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::task::TaskConfig;
use scale_proto::time::Timestamp;
use scale_secagg::client::{Answer, Event, Host, Participant};
use scale_secagg::config::{Policy, VectorSpec};
use scale_secagg::keys::IdentityKey;
use scale_secagg::params::Profile;
use scale_secagg::roster::Certificate;

use crate::clock::{Anchor, Clock as _, MockClock};
use crate::driver::*;
use crate::round::SessionStage;

pub(super) const ENTRIES: usize = 8;
/// No window of any stage is longer.
pub(super) const WINDOW: Duration = Duration::from_secs(61);

pub(super) fn task_id() -> TaskId {
    "demo".parse().expect("a valid name")
}

pub(crate) fn task(schedule: &str) -> TaskConfig {
    let json = serde_json::json!({
        "model": {"labels": ["a", "b"], "family": {"mlp": {"inputs": 3, "hidden": []}}},
        "training": {"epochs": 1, "batch_size": 8, "learning_rate": 0.1, "proximal_mu": 0.0, "time_limit_ms": 1000,
            "max_weight": 50, "holdout_permille": 0},
        "cohort": {"goal": 10, "floor": 10, "over_selection_permille": 1200, "session_max": 64},
        "timing": {"selecting_ms": 60_000, "training_ms": 60_000, "grace_ms": 60_000, "shares_ms": 60_000,
            "masked_input_ms": 60_000, "agreement_ms": 60_000, "unmask_ms": 60_000},
        "schedule": schedule, "aggregation": {"fed_avg": {"learning_rate": 1.0}},
        "quantization": {"clip": 1.0, "grid_factor": 64}, "privacy": {"mode": "none"}, "max_rounds": null
    });
    serde_json::from_value(json).expect("a valid task")
}

/// The authority of the malicious profile; not the coordinator's.
pub(super) fn root() -> IdentityKey {
    IdentityKey::from_seed(&[43; 32])
}

/// One coordinator after the other on the same rows and blobs.
pub(super) struct Site {
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) clock: MockClock,
    /// Clocks of devices are right, whatever is done to the coordinator's.
    pub(super) right: Anchor,
    pub(super) standstill: Duration,
    pub(super) task_key: Arc<IdentityKey>,
    pub(super) folder: tempfile::TempDir,
    pub(super) current: RwLock<Coordinator>,
}

impl Site {
    pub(super) async fn new() -> Arc<Self> {
        Self::over(Blobs::in_memory()).await
    }

    pub(super) async fn over(blobs: Blobs) -> Arc<Self> {
        // Tests move the clock by whole windows.
        Self::with(blobs, Duration::MAX).await
    }

    pub(super) async fn with(blobs: Blobs, standstill: Duration) -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open_in_memory().await.expect("a database");
        let clock = MockClock::at(Timestamp::from_millis(1_700_000_000_000));
        let task_key = Arc::new(IdentityKey::from_seed(&[42; 32]));
        let right = Anchor::at(&clock);
        let current = Self::begin(&store, &blobs, &clock, &task_key, folder.path(), standstill).await;
        let current = RwLock::new(current);
        Arc::new(Self { store, blobs, clock, right, standstill, task_key, folder, current })
    }

    pub(super) async fn begin(
        store: &Store,
        blobs: &Blobs,
        clock: &MockClock,
        task_key: &Arc<IdentityKey>,
        folder: &std::path::Path,
        standstill: Duration,
    ) -> Coordinator {
        let mut settings = Settings::new(folder.join("staging"));
        settings.long_poll = Duration::from_secs(5);
        settings.standstill = standstill;
        let parts = Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            clock: Arc::new(clock.clone()),
            task_key: Arc::clone(task_key),
            model_url: Arc::new(|blob| format!("https://fl.example.org/{blob}")),
            watch: Arc::new(()),
            settings,
        };
        Coordinator::start(parts).await.expect("it starts")
    }

    pub(super) fn now(&self) -> Coordinator {
        self.current.read().expect("nobody panics").clone()
    }

    /// Ends the coordinator between two transactions and starts another one.
    pub(super) async fn restart(&self) {
        self.now().shutdown().await;
        let Self { store, blobs, clock, task_key, folder, standstill, .. } = self;
        let next = Self::begin(store, blobs, clock, task_key, folder.path(), *standstill).await;
        *self.current.write().expect("nobody panics") = next;
    }

    /// Somebody sets the coordinator's clock.
    pub(super) fn set_clock(&self, seconds: i64) {
        let now = self.clock.now().as_millis();
        self.clock.set(Timestamp::from_millis(now.saturating_add_signed(seconds * 1000)));
    }

    pub(super) async fn pass_window(&self) {
        self.clock.advance(WINDOW);
        self.now().tick().await.expect("no storage error");
    }

    pub(super) async fn round(&self) -> RoundInfo {
        self.now().list_rounds(&task_id(), 1).await.expect("rows").remove(0)
    }

    /// Waits until the newest round is as wanted.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&RoundInfo) -> bool) -> RoundInfo {
        for _ in 0..1_000 {
            let info = self.round().await;
            if wanted(&info) {
                return info;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain for {what}: {:?}", self.round().await);
    }

    /// Waits until `stage` has that many answers in all sessions together.
    pub(super) async fn until_answered(&self, stage: SessionStage, answers: usize) {
        let number = usize::from(stage.number().expect("an open stage"));
        let count =
            |info: &RoundInfo| -> u32 { info.round.sessions.iter().map(|session| session.answered[number]).sum() };
        self.until(stage.name(), |info| count(info) as usize >= answers || info.round.phase.is_over()).await;
    }
}

/// A device: the protocol's client and what it sends.
pub(super) struct Phone {
    pub(super) site: Arc<Site>,
    pub(super) caller: Caller,
    pub(super) identity: IdentityKey,
    pub(super) certificate: Certificate,
    pub(super) participant: Participant,
    pub(super) rng: ChaCha20Rng,
    pub(super) update: Vec<i64>,
    pub(super) statistics: [i64; 4],
    pub(super) manifest: Option<Manifest>,
    pub(super) session: Option<SessionId>,
    pub(super) upload: Bytes,
    pub(super) down: Option<StageDown>,
}

impl Phone {
    pub(super) fn new(site: &Arc<Site>, number: u8) -> Self {
        let identity = IdentityKey::from_seed(&[number; 32]);
        let caller = Caller { device: DeviceId::from_random([number; 16]), identity_key: identity.public() };
        // A weight from 1 to 50.
        let n = i64::from(number % 50);
        // Other keys in every round.
        static STREAMS: AtomicU64 = AtomicU64::new(0);
        let mut rng = ChaCha20Rng::from_seed([number; 32]);
        rng.set_stream(STREAMS.fetch_add(1, Ordering::Relaxed));
        Self {
            site: Arc::clone(site),
            caller,
            certificate: Certificate::issue(&root(), &caller.identity_key, u64::MAX),
            identity,
            participant: Participant::new(),
            rng,
            update: (0..ENTRIES as i64).map(|entry| (n * 17 + entry * 29) % 101 - 50).collect(),
            statistics: [1 + n, 3 * n, n / 2, n],
            manifest: None,
            session: None,
            upload: Bytes::new(),
            down: None,
        }
    }

    pub(super) fn policy(&self, manifest: &Manifest) -> Policy {
        let plan = Plan::decode(&manifest.plan).expect("a plan");
        let config = scale_secagg::config::RoundConfig::decode(&manifest.round_config).expect("a configuration");
        assert_eq!(config.plan_digest, Digest::of(&manifest.plan).0);
        let vector = |name: &str, len| VectorSpec { name: name.into(), len };
        Policy {
            task_key: self.site.task_key.public(),
            model_digest: config.model_digest,
            vectors: vec![vector("update", plan.model.flat_len()), vector("statistics", 4)],
            last_round: 0,
            min_clients: 10,
            identity_root: (config.profile == Profile::Malicious).then(|| root().public()),
        }
    }

    pub(super) fn handle(&mut self, event: Event<'_>) -> Answer {
        let manifest = self.manifest.clone().expect("checked in");
        let policy = self.policy(&manifest);
        let now = self.site.right.now(&self.site.clock).as_millis();
        let Self { identity, certificate, rng, .. } = self;
        let mut host = Host { policy: &policy, identity, certificate: Some(certificate), rng };
        self.participant.handle(event, now, &mut host).expect("an honest coordinator")
    }

    /// Checks in until there is a manifest.
    pub(super) async fn check_in(&mut self) -> Result<(), Error> {
        loop {
            match self.site.now().check_in(&self.caller, CheckIn::default()).await {
                Ok(CheckInAnswer::Manifest(manifest)) => {
                    self.manifest = Some(manifest);
                    return Ok(());
                }
                Ok(CheckInAnswer::Wait(_)) | Err(Error::Stopping) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends the same message until it is answered, across restarts.
    pub(super) async fn send(&mut self, stage: SessionStage, payload: Vec<u8>) -> Result<(), Error> {
        let payload = Bytes::from(payload);
        loop {
            let coordinator = self.site.now();
            let (caller, payload) = (&self.caller, payload.clone());
            let answer = if stage == SessionStage::Keys {
                let handle = self.manifest.as_ref().expect("checked in").round;
                coordinator.advertise_keys(caller, StageUp { handle, payload }).await
            } else {
                let handle = self.session.expect("has keys");
                let up = StageUp { handle, payload };
                match stage {
                    SessionStage::Shares => coordinator.share_keys(caller, up).await,
                    SessionStage::Agreement => coordinator.confirm_survivors(caller, up).await,
                    _ => coordinator.reveal_shares(caller, up).await,
                }
            };
            match answer {
                Ok(StageAnswer::Down(down)) => {
                    self.session = Some(down.session);
                    self.down = Some(down);
                    return Ok(());
                }
                Ok(StageAnswer::Accepted) => return Ok(()),
                Ok(StageAnswer::Wait(_)) | Err(Error::Stopping) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn piece(&self, from: usize, to: usize) -> Result<UploadAnswer, Error> {
        let piece = UploadPiece {
            session: self.session.expect("has keys"),
            offset: from as u64,
            total: self.upload.len() as u64,
            digest: Digest::of(&self.upload),
            data: self.upload.slice(from..to),
        };
        self.site.now().upload_piece(&self.caller, piece).await
    }

    /// Sends the upload in pieces until it is committed, then waits for the survivors.
    pub(super) async fn send_upload(&mut self) -> Result<(), Error> {
        let mut from = 0;
        let len = self.upload.len();
        loop {
            let to = (from + len / 3 + 1).min(len);
            match self.piece(from, to).await {
                Ok(UploadAnswer::Received(held)) => from = usize::try_from(held).expect("small"),
                Ok(UploadAnswer::Committed) => from = len,
                Ok(UploadAnswer::Down(down)) => {
                    self.down = Some(down);
                    return Ok(());
                }
                Ok(UploadAnswer::Wait(_)) | Err(Error::Stopping) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What goes up in stage 0.
    pub(super) fn keys(&mut self) -> Vec<u8> {
        let manifest = self.manifest.clone().expect("checked in");
        let event = Event::Config { bytes: &manifest.round_config, signature: &manifest.config_signature };
        let Answer::Send(payload) = self.handle(event) else { panic!("stage 0 sends") };
        payload
    }

    /// One stage of the protocol: the message that opened it in, the answer out and on its way.
    pub(super) async fn act(&mut self, stage: SessionStage) -> Result<(), Error> {
        let opened = self.down.take();
        let payload = opened.as_ref().map(|down| down.payload.clone()).unwrap_or_default();
        let answer = match stage {
            SessionStage::Keys => Answer::Send(self.keys()),
            SessionStage::Shares => {
                let form = opened.expect("the roster").roster.expect("a roster");
                self.handle(Event::Roster { form, bytes: &payload })
            }
            SessionStage::MaskedInput => self.handle(Event::Shares(&payload)),
            SessionStage::Agreement => self.handle(Event::Survivors(&payload)),
            _ => self.handle(Event::Signatures(&payload)),
        };
        match answer {
            Answer::Send(bytes) => self.send(stage, bytes).await,
            Answer::InputWanted => {
                let words = |values: &[i64]| values.iter().map(|&value| value as u32).collect::<Vec<u32>>();
                let input = vec![words(&self.update), words(&self.statistics)];
                self.upload = self.participant.mask(Some(input)).expect("the lengths fit").into();
                self.send_upload().await
            }
        }
    }
}

/// What happens besides in a round.
#[derive(Clone, Copy, Default)]
pub(super) struct Story {
    /// Devices that fall silent before they answer, by stage.
    pub(super) lost: [usize; 5],
    /// The coordinator restarts when all but one have answered this stage.
    pub(super) restart_in: Option<usize>,
    /// The coordinator's clock is set once this stage has all its answers, to so many seconds from what it showed.
    pub(super) set_clock_in: Option<(usize, i64)>,
}

pub(super) struct Told {
    pub(super) info: RoundInfo,
    /// Errors that devices met.
    pub(super) errors: Vec<Error>,
    /// Who sent what, of the devices whose upload was sent.
    pub(super) inputs: Vec<(Vec<i64>, [i64; 4])>,
}

/// Runs one round with these devices.
pub(super) async fn tell(site: &Arc<Site>, devices: u8, story: Story) -> Told {
    let phones = gather(site, devices).await;
    go_on(site, phones, story).await
}

/// As many devices, each with a manifest.
pub(super) async fn gather(site: &Arc<Site>, devices: u8) -> Vec<Phone> {
    let phones: Vec<Phone> = (1..=devices).map(|number| Phone::new(site, number)).collect();
    together(phones, |mut phone| async move { phone.check_in().await.map(|()| phone) }).await.0
}

/// Runs the stages of a round with the devices that are left.
pub(super) async fn go_on(site: &Arc<Site>, mut alive: Vec<Phone>, story: Story) -> Told {
    let mut errors = Vec::new();
    let mut inputs = Vec::new();
    for (number, stage) in SessionStage::OPEN.into_iter().enumerate() {
        let lost = story.lost[number];
        let begun = alive.len();
        alive.truncate(begun - lost);
        let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
        let answers = alive.len();
        if number == 2 {
            inputs = alive.iter().map(|phone| (phone.update.clone(), phone.statistics)).collect();
        }
        let last = if story.restart_in == Some(number) { alive.split_off(answers - 1) } else { Vec::new() };
        let first = tokio::spawn(together(alive, act));
        if !last.is_empty() {
            site.until_answered(stage, answers - 1).await;
            site.restart().await;
        }
        let rest = tokio::spawn(together(last, act));
        site.until_answered(stage, answers).await;
        if let Some((_, seconds)) = story.set_clock_in.filter(|(at, _)| *at == number) {
            site.set_clock(seconds);
        }
        if lost > 0 {
            site.pass_window().await;
        }
        let (first, rest) = (first.await.expect("no panic"), rest.await.expect("no panic"));
        alive = first.0.into_iter().chain(rest.0).collect();
        errors.extend(first.1.into_iter().chain(rest.1));
        if alive.is_empty() {
            break;
        }
    }
    let info = site.until("the end", |info| info.round.phase.is_over()).await;
    Told { info, errors, inputs }
}

/// Runs one call of each, side by side; who failed is out.
pub(super) async fn together<F, Fut>(phones: Vec<Phone>, act: F) -> (Vec<Phone>, Vec<Error>)
where
    F: Fn(Phone) -> Fut,
    Fut: Future<Output = Result<Phone, Error>> + Send + 'static,
{
    let running: Vec<_> = phones.into_iter().map(|phone| tokio::spawn(act(phone))).collect();
    let (mut alive, mut errors) = (Vec::new(), Vec::new());
    for call in running {
        match call.await.expect("no panic") {
            Ok(phone) => alive.push(phone),
            Err(error) => errors.push(error),
        }
    }
    (alive, errors)
}
