//! A coordinator that can be restarted, and devices that run rounds against it: the machine that ships, called by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use scale_client_core::device::Rules;
use scale_client_core::testing::{Device, setting};
use scale_proto::answer::{CheckIn, CheckInAnswer, StageAnswer, StageDown, UploadAnswer};
use scale_proto::ids::{DeviceId, Digest, SessionId, TaskId};
use scale_proto::manifest::Manifest;
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::task::TaskConfig;
use scale_proto::time::Timestamp;
use scale_secagg::config::RoundConfig;
use scale_secagg::keys::IdentityKey;
use scale_secagg::params::Profile;
use scale_secagg::roster::Certificate;
use tokio::sync::watch;

use super::cluster::Cluster;
use crate::blobs::{Blobs, Cdn, ModelUrls};
use crate::round::SessionStage;
use crate::staging::Staging;
use crate::store::{Store, StoreError, Tx};
use crate::*;
use scale_clock::{Anchor, Clock as _, MockClock, SharedClock};

/// Something that a test waits for has not come in this time: the test fails instead of hanging.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const ENTRIES: usize = 8;
/// In front of a model's blob.
const URL: &str = "https://fl.example.org/";
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

/// Who takes devices' calls.
pub(super) enum Desk {
    /// One coordinator after the other.
    One(watch::Sender<Coordinator>),
    /// Several at the same time.
    Many(Box<Cluster>),
}

/// Coordinators on the same rows and blobs.
pub(super) struct Site {
    pub(super) store: Store,
    pub(super) blobs: Blobs,
    pub(super) clock: MockClock,
    /// What the coordinators go by: that one, or the machine's.
    pub(super) time: SharedClock,
    /// Clocks of devices are right, whatever is done to the coordinator's.
    pub(super) right: Anchor,
    pub(super) standstill: Duration,
    pub(super) task_key: Arc<IdentityKey>,
    pub(super) folder: tempfile::TempDir,
    pub(super) desk: Desk,
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
        let (time, desk) = (Arc::new(clock.clone()), Desk::One(watch::Sender::new(current)));
        Arc::new(Self { store, blobs, clock, time, right, standstill, task_key, folder, desk })
    }

    pub(super) async fn begin(
        store: &Store,
        blobs: &Blobs,
        clock: &MockClock,
        task_key: &Arc<IdentityKey>,
        folder: &std::path::Path,
        standstill: Duration,
    ) -> Coordinator {
        let settings = Settings { long_poll: Duration::from_secs(5), standstill, ..Settings::default() };
        let parts = Parts {
            store: store.clone(),
            blobs: blobs.clone(),
            clock: Arc::new(clock.clone()),
            task_key: Arc::clone(task_key),
            model_urls: model_urls(),
            staging: Staging::folder(folder.join("staging")).expect("a folder"),
            watch: Arc::new(()),
            settings,
        };
        Coordinator::start(parts).await.expect("it starts")
    }

    fn current(&self) -> &watch::Sender<Coordinator> {
        let Desk::One(current) = &self.desk else { panic!("several coordinators run") };
        current
    }

    pub(super) fn cluster(&self) -> &Cluster {
        let Desk::Many(cluster) = &self.desk else { panic!("one coordinator runs") };
        cluster
    }

    pub(super) fn now(&self) -> Coordinator {
        self.current().borrow().clone()
    }

    /// A device's call. `None`: no answer, ask again. A coordinator that is being restarted is waited for.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(Coordinator) -> BoxFuture<'static, Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let current = match &self.desk {
            Desk::Many(cluster) => return cluster.ask(call).await,
            Desk::One(current) => current,
        };
        let mut next = current.subscribe();
        match call(self.now()).await {
            Err(Error::Stopping) => {
                drop(next.changed().await);
                Ok(None)
            }
            answer => answer.map(Some),
        }
    }

    /// An operator's call, asked until it is answered.
    pub(super) async fn operate<T: Send + 'static>(
        &self,
        call: impl Fn(Coordinator) -> BoxFuture<'static, Result<T, Error>>,
    ) -> T {
        loop {
            if let Some(answer) = self.ask(&call).await.expect("an answer") {
                return answer;
            }
        }
    }

    /// Ends the coordinator between two transactions and starts another one.
    pub(super) async fn restart(&self) {
        self.now().shutdown().await;
        self.start().await;
    }

    /// Starts another coordinator, after [`Coordinator::shutdown`] of the present one.
    pub(super) async fn start(&self) {
        let Self { store, blobs, clock, task_key, folder, standstill, .. } = self;
        let next = Self::begin(store, blobs, clock, task_key, folder.path(), *standstill).await;
        self.current().send_replace(next);
    }

    /// The next coordinator is on other rows and blobs, and every device finds it there. After [`Coordinator::shutdown`] of
    /// the present one.
    pub(super) async fn moved(&self, store: Store, blobs: Blobs) -> Arc<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (clock, right, standstill) = (self.clock.clone(), self.right, self.standstill);
        let (task_key, desk) = (Arc::clone(&self.task_key), Desk::One(self.current().clone()));
        let time = Arc::clone(&self.time);
        let moved = Self { store, blobs, clock, time, right, standstill, task_key, folder, desk };
        moved.start().await;
        Arc::new(moved)
    }

    /// Sets the coordinator's wall clock.
    pub(super) fn set_clock(&self, seconds: i64) {
        let now = self.clock.now().as_millis();
        self.clock.set(Timestamp::from_millis(now.saturating_add_signed(seconds * 1000)));
    }

    pub(super) async fn pass_window(&self) {
        self.clock.advance(WINDOW);
        self.operate(|coordinator| Box::pin(async move { coordinator.tick().await })).await;
    }

    pub(super) async fn round(&self) -> RoundInfo {
        self.operate(|coordinator| Box::pin(async move { coordinator.list_rounds(&task_id(), 1).await }))
            .await
            .remove(0)
    }

    /// What a device's own clock shows.
    pub(super) fn device_time(&self) -> Timestamp {
        match self.desk {
            Desk::One(_) => self.right.now(&self.clock),
            Desk::Many(_) => self.time.now(),
        }
    }

    /// Waits until the newest round is as wanted.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&RoundInfo) -> bool) -> RoundInfo {
        let looking = async {
            loop {
                let info = self.round().await;
                if wanted(&info) {
                    return info;
                }
                // Rows change by themselves, and whoever changes them tells nobody here.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        match tokio::time::timeout(PATIENCE, looking).await {
            Ok(info) => info,
            Err(_) => panic!("waited in vain for {what}: {:?}", self.round().await),
        }
    }

    /// Waits until the rows are as wanted.
    pub(super) async fn until_row<F>(&self, what: &str, wanted: F)
    where
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<bool, StoreError>> + Send + Sync,
    {
        let looking = async {
            while !self.store.run_tx("look", &wanted).await.expect("rows") {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
    }

    /// Waits until nothing is left to do for rounds that are over, and memory knows it.
    pub(super) async fn until_settled(&self) {
        self.until_row("work ends", |tx| Box::pin(async move { Ok(tx.next_work().await?.is_none()) })).await;
    }

    /// Weights of the version that is served.
    pub(super) async fn weights(&self, task: &TaskId) -> Vec<f32> {
        let (id, of) = (task.clone(), task.clone());
        let info = self
            .operate(move |coordinator| {
                let task = of.clone();
                Box::pin(async move { coordinator.get_model_info(&task, None).await })
            })
            .await;
        let file = self.blobs.get(info.url.strip_prefix(URL).expect("the site's own URL")).await.expect("no error");
        let tasks = self.operate(|coordinator| Box::pin(async move { coordinator.list_tasks().await })).await;
        let task = tasks.into_iter().find(|info| info.task == id);
        let spec = task.expect("the task").config.model;
        scale_proto::model_file::decode(&spec, &file.expect("a file")).expect("a model file")
    }

    /// Waits until `stage` has that many answers in all sessions together.
    pub(super) async fn until_answered(&self, stage: SessionStage, answers: usize) {
        let number = usize::from(stage.number().expect("an open stage"));
        let count =
            |info: &RoundInfo| -> u32 { info.round.sessions.iter().map(|session| session.answered[number]).sum() };
        self.until(stage.name(), |info| count(info) as usize >= answers || info.round.phase.is_over()).await;
    }
}

/// In front of a model's blob is [`URL`].
pub(super) fn model_urls() -> ModelUrls {
    ModelUrls::cdn(Cdn::parse(URL).expect("an address"))
}

/// A device, and its way to the coordinator.
pub(super) struct Phone {
    pub(super) site: Arc<Site>,
    pub(super) caller: Caller,
    pub(super) device: Device,
    pub(super) manifest: Option<Manifest>,
    pub(super) session: Option<SessionId>,
    pub(super) upload: Bytes,
    pub(super) down: Option<StageDown>,
}

impl Phone {
    /// Device number `number`, with other keys each time.
    pub(super) fn new(site: &Arc<Site>, number: u8) -> Self {
        let rules = Rules { task_key: site.task_key.public(), tasks: vec![], ..setting::rules() };
        let mut device = Device::at(number.into(), rules, site.device_time());
        static STREAMS: AtomicU64 = AtomicU64::new(0);
        device.keys.set_stream(STREAMS.fetch_add(1, Ordering::Relaxed));
        let identity_key = device.identity.public();
        device.certificate = Some(Certificate::issue(&root(), &identity_key, u64::MAX));
        Self {
            site: Arc::clone(site),
            caller: Caller { device: DeviceId::from_random([number; 16]), identity_key },
            device,
            manifest: None,
            session: None,
            upload: Bytes::new(),
            down: None,
        }
    }

    /// Checks in until there is a manifest.
    pub(super) async fn check_in(&mut self) -> Result<(), Error> {
        let caller = self.caller;
        loop {
            let ask = |coordinator: Coordinator| -> BoxFuture<'static, _> {
                Box::pin(async move { coordinator.check_in(&caller, CheckIn::default()).await })
            };
            if let Some(CheckInAnswer::Manifest(manifest)) = self.site.ask(ask).await? {
                self.manifest = Some(manifest);
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }

    /// Sends the same message until it is answered, across restarts.
    pub(super) async fn send(&mut self, stage: SessionStage, payload: Bytes) -> Result<(), Error> {
        let (caller, round) = (self.caller, self.manifest.as_ref().expect("checked in").round);
        loop {
            let (session, payload) = (self.session, payload.clone());
            let ask = move |coordinator: Coordinator| -> BoxFuture<'static, _> {
                Box::pin(async move {
                    if stage == SessionStage::Keys {
                        return coordinator.advertise_keys(&caller, StageUp { handle: round, payload }).await;
                    }
                    let up = StageUp { handle: session.expect("has keys"), payload };
                    match stage {
                        SessionStage::Shares => coordinator.share_keys(&caller, up).await,
                        SessionStage::Agreement => coordinator.confirm_survivors(&caller, up).await,
                        _ => coordinator.reveal_shares(&caller, up).await,
                    }
                })
            };
            match self.site.ask(ask).await? {
                Some(StageAnswer::Down(down)) => {
                    self.session = Some(down.session);
                    self.down = Some(down);
                    return Ok(());
                }
                Some(StageAnswer::Accepted) => {
                    self.device.accepted().expect("the last stage");
                    return Ok(());
                }
                Some(StageAnswer::Wait(_)) | None => tokio::task::yield_now().await,
            }
        }
    }

    /// A piece of its upload.
    pub(super) fn part(&self, from: usize, to: usize) -> UploadPiece {
        UploadPiece {
            session: self.session.expect("has keys"),
            offset: from as u64,
            total: self.upload.len() as u64,
            digest: Digest::of(&self.upload),
            data: self.upload.slice(from..to),
        }
    }

    pub(super) async fn piece(&self, from: usize, to: usize) -> Result<UploadAnswer, Error> {
        self.site.now().upload_piece(&self.caller, self.part(from, to)).await
    }

    /// Sends the upload in pieces until it is committed, then waits for the survivors.
    pub(super) async fn send_upload(&mut self) -> Result<(), Error> {
        let (mut from, len, caller) = (0, self.upload.len(), self.caller);
        loop {
            let piece = self.part(from, (from + len / 3 + 1).min(len));
            let ask = move |coordinator: Coordinator| -> BoxFuture<'static, _> {
                Box::pin(async move { coordinator.upload_piece(&caller, piece).await })
            };
            match self.site.ask(ask).await? {
                Some(UploadAnswer::Received(held)) => from = usize::try_from(held).expect("small"),
                Some(UploadAnswer::Committed) => from = len,
                Some(UploadAnswer::Down(down)) => {
                    self.down = Some(down);
                    return Ok(());
                }
                Some(UploadAnswer::Wait(_)) | None => tokio::task::yield_now().await,
            }
        }
    }

    /// What goes up in stage 0: the round is checked and trained for.
    pub(super) async fn keys(&mut self) -> Bytes {
        let manifest = self.manifest.clone().expect("checked in");
        let config = RoundConfig::decode(&manifest.round_config).expect("a configuration");
        self.device.rules.identity_root = (config.profile == Profile::Malicious).then(|| root().public());
        let blob = manifest.model_url.strip_prefix(URL).expect("the site's own URL");
        let file = self.site.blobs.get(blob).await.expect("no error").expect("a model");
        self.device.now = self.site.device_time();
        self.device.take(manifest, &file).expect("an honest coordinator")
    }

    /// One stage of the protocol: the message that opened it in, the answer out and on its way.
    pub(super) async fn act(&mut self, stage: SessionStage) -> Result<(), Error> {
        let payload = match self.down.take() {
            None => self.keys().await,
            Some(down) => {
                self.device.now = self.site.device_time();
                self.device.answer(down).expect("an honest coordinator")
            }
        };
        if stage == SessionStage::MaskedInput {
            self.upload = payload;
            return self.send_upload().await;
        }
        self.send(stage, payload).await
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
    /// What each device has added to the sum, noise included, of those whose upload was committed.
    pub(super) inputs: Vec<Vec<Vec<i64>>>,
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
        let last = if story.restart_in == Some(number) { alive.split_off(answers - 1) } else { Vec::new() };
        let first = tokio::spawn(together(alive, act));
        if !last.is_empty() {
            site.until_answered(stage, answers - 1).await;
            match &site.desk {
                Desk::One(_) => site.restart().await,
                Desk::Many(cluster) => cluster.stop_one().await,
            }
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
        if number == 2 {
            inputs = alive.iter().map(|phone| phone.device.summand().to_vec()).collect();
        }
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
            Err(error) => {
                // Whoever waits for the stage to have all its answers waits in vain.
                tracing::info!("a device fails: {error}");
                errors.push(error);
            }
        }
    }
    (alive, errors)
}
