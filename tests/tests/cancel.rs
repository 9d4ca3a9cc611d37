//! An app cancels: whatever its device is doing, and although nobody answers it, the call is over at once, and the next
//! one takes part as if nothing had been.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use scale_client_core::device::{Cancel, Cause, Outcome, Phase, Progress, RunOptions};
use scale_client_core::trainer::{Progressed, TrainError, Trained, Trainer, Training};
use scale_proto::ids::TaskId;
use scale_proto::plan::Plan;
use scale_tests::device::RawDevice;
use scale_tests::phone;
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::small_task;
use scale_tests::trainer::Steady;
use tokio::sync::Notify;

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const DEVICES: u8 = 13;
/// Within this time a cancelled call is over.
const AT_ONCE: Duration = Duration::from_millis(200);

/// Trains in short steps for as long as it is told to, then moves every weight a little.
struct Patient {
    go_on: Arc<AtomicBool>,
    steady: Steady,
}

struct Steps<'a> {
    training: Box<dyn Training + Send + 'a>,
    go_on: Arc<AtomicBool>,
}

impl Trainer for Patient {
    fn begin<'a>(
        &'a mut self,
        plan: &'a Plan,
        weights: &[f32],
        secret: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        let Self { go_on, steady } = self;
        Ok(Box::new(Steps { training: steady.begin(plan, weights, secret)?, go_on: go_on.clone() }))
    }
}

impl Training for Steps<'_> {
    fn step(&mut self) -> Result<Progressed, TrainError> {
        if self.go_on.load(Ordering::Acquire) {
            return self.training.step();
        }
        // A step on a slow phone.
        std::thread::sleep(Duration::from_millis(20));
        Ok(Progressed { done: 1, of: 1000, loss: None, over: false })
    }

    fn finish(self: Box<Self>) -> Result<Trained, TrainError> {
        self.training.finish()
    }
}

/// How long the call of a device took to end after it was cancelled in `phase`, with a coordinator that has stopped
/// answering; and the code that ended the next one, or `contributed`.
async fn cancelled_in(phase: Phase) -> (Duration, String) {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    let task: TaskId = "cancelled".parse().unwrap();
    admin.create_task(task.as_str(), small_task(u32::from(DEVICES), 20_000)).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let task_key = *RawDevice::enroll(coordinator.url(), 200, &token).await.unwrap().task_key();
    let go_on = Arc::new(AtomicBool::new(phase != Phase::Training));
    let mut clients = vec![];
    for number in 1..=DEVICES {
        clients.push(phone::enrolled(coordinator.url(), number, &token, &task, task_key).await.unwrap());
    }
    let canceller = clients.pop().unwrap();
    // The others stay until the test is over: a round that loses a device needs them, and so does the next one.
    let others: Vec<_> = clients
        .into_iter()
        .map(|client| {
            tokio::spawn(async move {
                let options = RunOptions { budget: Some(Duration::from_secs(60)), ..RunOptions::default() };
                loop {
                    let ran = client.participate(options.clone(), &mut Steady, &Cancel::new(), &mut ()).await;
                    ran.expect("the host works");
                }
            })
        })
        .collect();

    let (reached, cancel) = (Notify::new(), Cancel::new());
    let mut last = None;
    let mut watching = |progress: Progress| {
        // The coordinator stops before the device asks it anything in this phase.
        if progress.phase == phase && last != Some(phase) {
            coordinator.suspend().unwrap();
            reached.notify_one();
        }
        last = Some(progress.phase);
    };
    let participation = async {
        let mut trainer = Patient { go_on: go_on.clone(), steady: Steady };
        let outcome = canceller.participate(RunOptions::default(), &mut trainer, &cancel, &mut watching).await;
        (outcome.unwrap(), Instant::now())
    };
    let cancelling = async {
        reached.notified().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        cancel.cancel();
        Instant::now()
    };
    let ((outcome, ended), cancelled) = tokio::join!(participation, cancelling);
    coordinator.resume().unwrap();
    let Outcome::Left { cause: Cause::Cancelled, .. } = outcome else { panic!("{phase:?}: {outcome:?}") };
    assert!(matches!(last, Some(Phase::Over)) || last == Some(phase), "{phase:?}: it was in {last:?}");
    let took = ended - cancelled;

    go_on.store(true, Ordering::Release);
    let options = RunOptions { budget: Some(Duration::from_secs(40)), ..RunOptions::default() };
    let next = loop {
        let mut trainer = Patient { go_on: go_on.clone(), steady: Steady };
        match canceller.participate(options.clone(), &mut trainer, &Cancel::new(), &mut ()).await.unwrap() {
            Outcome::Contributed(_) => break "contributed".to_owned(),
            // It has left a round that is still open, or comes back to one that has begun.
            Outcome::Waited { until, .. } | Outcome::Left { until, .. } if until.as_millis() > 0 => {}
            other => break format!("{other:?}"),
        }
    };
    others.iter().for_each(tokio::task::JoinHandle::abort);
    (took, next)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancelled_call_ends_at_once_in_every_phase_and_the_next_one_takes_part() {
    let phases = [
        Phase::CheckingIn,
        Phase::Downloading,
        Phase::Training,
        Phase::Keys,
        Phase::Shares,
        Phase::Uploading,
        Phase::Agreeing,
        Phase::Unmasking,
    ];
    // A few at a time: the figure is about the device, not about the load of this test. One that was slow all the same gets
    // the machine for itself.
    for some in phases.chunks(4) {
        for (phase, first) in some.iter().zip(join_all(some.iter().map(|phase| cancelled_in(*phase))).await) {
            let (mut took, next) = first;
            println!("{phase:?}: {took:?}, then {next}");
            assert_eq!(next, "contributed", "{phase:?}");
            for _ in 0..2 {
                if took > AT_ONCE {
                    took = cancelled_in(*phase).await.0;
                    println!("{phase:?}, alone: {took:?}");
                }
            }
            assert!(took <= AT_ONCE, "{phase:?}: {took:?}");
        }
    }
}
