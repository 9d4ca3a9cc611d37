//! A round is abandoned in each of its stages: the devices that ship are back within seconds, not at its deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use scale_client_core::device::{Cancel, Client, Outcome, Phase, Progress, RunOptions};
use scale_client_core::host::Clock as _;
use scale_client_core::host::native::SystemClock;
use scale_client_core::trainer::{TrainError, Trainer, Training};
use scale_proto::ids::TaskId;
use scale_proto::plan::Plan;
use scale_proto::wire;
use scale_tests::device::RawDevice;
use scale_tests::phone::{Host, enrolled};
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::small_task;
use scale_tests::trainer::Steady;
use tokio::sync::watch;

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const TASK: &str = "fragile";
const DEVICES: u8 = 12;
/// From the end of the round to the next check-in.
const BACK_WITHIN: Duration = Duration::from_secs(15);

/// Trains once it may.
struct Held {
    may: Arc<AtomicBool>,
    steady: Steady,
}

impl Trainer for Held {
    fn begin<'a>(
        &'a mut self,
        plan: &'a Plan,
        weights: &[f32],
        secret: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        tokio::task::block_in_place(|| {
            while !self.may.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        self.steady.begin(plan, weights, secret)
    }
}

/// The stage in which the round ends.
#[derive(Clone, Copy, Debug)]
struct Stage {
    /// What the devices are doing by then.
    phase: Phase,
    /// Stages that the thirteenth device takes part in before it falls silent; `None`: it does not even check in.
    silent_after: Option<u8>,
}

/// Takes part as an app does. Says when it reaches `phase`; gives the first outcome, and when it asked for work again.
async fn lives(client: Client<Host>, mut trainer: Held, reached: watch::Sender<Phase>) -> (Outcome, Instant) {
    let mut telling = |progress: Progress| {
        reached.send_replace(progress.phase);
    };
    let first = client.participate(RunOptions::default(), &mut trainer, &Cancel::new(), &mut telling).await.unwrap();
    let Outcome::Waited { until, .. } = &first else { return (first, Instant::now()) };
    tokio::time::sleep(SystemClock.now().until(*until)).await;
    let mut asked = None;
    let mut watching = |_: Progress| {
        asked.get_or_insert_with(Instant::now);
    };
    let cancel = Cancel::new();
    let again = client.participate(RunOptions::default(), &mut trainer, &cancel, &mut watching);
    let _next_round_is_open_for_as_long_as_it_likes = tokio::time::timeout(Duration::from_millis(500), again).await;
    (first, asked.unwrap())
}

async fn abandoned_in(stage: Stage) {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    admin.create_task(TASK, small_task(u32::from(DEVICES) + 1, 20_000)).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let task: TaskId = TASK.parse().unwrap();
    let mut silent = RawDevice::enroll(coordinator.url(), 200, &token).await.unwrap();
    let released = Arc::new(AtomicBool::new(stage.phase != Phase::Training));

    let mut phases = vec![];
    let mut running = vec![];
    for number in 1..=DEVICES {
        let client = enrolled(coordinator.url(), number, &token, &task, *silent.task_key()).await.unwrap();
        let (reached, phase) = watch::channel(Phase::Over);
        phases.push(phase);
        running.push(tokio::spawn(lives(client, Held { may: Arc::clone(&released), steady: Steady }, reached)));
    }
    if let Some(stages) = stage.silent_after {
        let mut joined = silent.join().await.unwrap();
        if stages > 0 {
            silent.advertise(&mut joined).await.unwrap();
        }
        if stages > 1 {
            silent.share(&mut joined).await.unwrap();
        }
        if stages > 2 {
            silent.upload(&joined, usize::MAX).await.unwrap();
            silent.survivors(&mut joined).await.unwrap();
        }
    }
    for phase in &mut phases {
        let there = phase.wait_for(|phase| *phase == stage.phase);
        tokio::time::timeout(Duration::from_secs(30), there).await.expect("reaches the stage").unwrap();
    }
    // A device that asks for work need not be in yet.
    let mut round = admin.newest_round(TASK).await.unwrap();
    while round.cohort < u32::from(DEVICES) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        round = admin.newest_round(TASK).await.unwrap();
    }
    let request = wire::AbandonRoundRequest { round_id: round.round_id, reason: "a test of the end".into() };
    let request = admin.request(request);
    admin.client().abandon_round(request).await.unwrap();
    let ended = Instant::now();
    released.store(true, Ordering::Release);

    let ran = tokio::time::timeout(2 * BACK_WITHIN, join_all(running)).await;
    let ran = ran.unwrap_or_else(|_| panic!("{stage:?}: devices hang on the round that is over"));
    for (number, ran) in ran.into_iter().enumerate() {
        let (outcome, asked) = ran.unwrap();
        let Outcome::Waited { code, .. } = &outcome else { panic!("{stage:?}, device {number}: {outcome:?}") };
        assert_eq!(code, "operator", "{stage:?}, device {number}");
        let away = asked - ended;
        assert!(away < BACK_WITHIN, "{stage:?}, device {number}: away for {away:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn devices_are_back_soon_whatever_the_stage() {
    let stage = |phase, silent_after| Stage { phase, silent_after };
    join_all([
        abandoned_in(stage(Phase::CheckingIn, None)),
        abandoned_in(stage(Phase::Training, Some(0))),
        abandoned_in(stage(Phase::Keys, Some(0))),
        abandoned_in(stage(Phase::Shares, Some(1))),
        abandoned_in(stage(Phase::Uploading, Some(2))),
        abandoned_in(stage(Phase::Agreeing, Some(3))),
    ])
    .await;
}
