//! A budget ends a call and not the round.

use std::sync::atomic::{AtomicU32, Ordering};

use super::stepping::Stepping;
use super::*;
#[cfg(target_arch = "wasm32")]
use crate::single_thread as tokio;

/// Does `work`, and a millisecond passes whenever it gets on.
async fn while_time_passes<T>(clock: &MemoryClock, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    std::future::poll_fn(|context| {
        clock.advance(Duration::from_millis(1));
        context.waker().wake_by_ref();
        work.as_mut().poll(context)
    })
    .await
}

#[tokio::test]
async fn a_paused_round_goes_on_after_restarts_and_its_window_is_kept() {
    let (shared, clock) = (coordinator(), MemoryClock::at(Timestamp::from_millis(fixtures::START_MS)));
    let phone = host(&shared, &clock, 0);
    client(phone.clone()).enroll("token", &Cancel::new()).await.expect("enrolls");
    let options = RunOptions { budget: Some(Duration::from_millis(200)), ..RunOptions::default() };
    let turn = || {
        let (device, options) = (client(phone.clone()), options.clone());
        let clock = clock.clone();
        async move {
            let (cancel, mut train, mut nobody) = (Cancel::new(), trainer(0), ());
            let participation = device.participate(options, &mut train, &cancel, &mut nobody);
            while_time_passes(&clock, participation).await.expect("no error")
        }
    };
    // Nobody else is there yet: every call waits for keys, and gives up for now.
    for _ in 0..5 {
        let Outcome::Paused { resume, phase } = turn().await else { panic!("pauses") };
        assert_eq!(phase, Phase::Keys);
        assert!(resume.after <= resume.before && resume.before <= Duration::from_secs(2 * 3600), "{resume:?}");
    }
    assert!(shared.lock().expect("no panic").sent.len() >= 5, "every call asks again");
    let others: Vec<_> = (1..COHORT).map(|number| spawn(host(&shared, &clock, number), number)).collect();
    let mut pauses = 0;
    let outcome = loop {
        match turn().await {
            Outcome::Paused { resume, .. } => {
                pauses += 1;
                clock.advance(resume.after);
            }
            outcome => break outcome,
        }
        assert!(pauses < 1_000, "it goes on");
    };
    assert!(contributed(&outcome), "{outcome:?}");
    for other in others {
        assert!(contributed(&other.await.expect("no panic").expect("no error")));
    }
    let coordinator = shared.lock().expect("no panic");
    assert_eq!(coordinator.released.as_ref().expect("released").vectors[1], sum(0..COHORT)[1]);
    coordinator.assert_one_message_each();
}

#[tokio::test]
async fn the_report_is_there_while_a_round_runs_and_a_second_one_is_refused() {
    let (shared, clock) = (coordinator_with(|plan| fixtures::noisy(plan, 1.5)), clock());
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let others: Vec<_> = (1..COHORT).map(|number| spawn(host(&shared, &clock, number), number)).collect();
    let asking = async {
        let (mut while_running, mut after_paying, mut refused) = (0, 0, 0);
        loop {
            turn().await;
            let Some(phase) = device.phase() else {
                if while_running > 0 {
                    return (after_paying, refused);
                }
                continue;
            };
            let report = device.privacy_report().await.expect("readable");
            while_running += 1;
            after_paying += usize::from(phase == Phase::Uploading && report.receipts.len() == 1);
            let (cancel, mut train) = (Cancel::new(), trainer(0));
            let second = device.participate(RunOptions::default(), &mut train, &cancel, &mut ()).await;
            refused += usize::from(second == Err(Error::AlreadyRunning));
        }
    };
    let (cancel, mut train, mut nobody) = (Cancel::new(), trainer(0), ());
    let running = device.participate(RunOptions::default(), &mut train, &cancel, &mut nobody);
    let (outcome, (after_paying, refused)) = both(running, asking).await;
    assert!(contributed(&outcome.expect("no error")));
    assert!(after_paying > 0, "the report of a running round has its receipt as soon as it is paid for");
    assert!(refused > 0);
    for other in others {
        assert!(contributed(&other.await.expect("no panic").expect("no error")));
    }
}

/// An app that gives too little time and comes back at once: the pauses grow, and nothing is asked in between.
#[tokio::test]
async fn short_budgets_do_not_hammer_a_coordinator_that_does_not_answer() {
    let (shared, clock) = (coordinator(), MemoryClock::at(Timestamp::from_millis(fixtures::START_MS)));
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    shared.lock().expect("no panic").link.lose_every = 1;
    for budget in [Duration::ZERO, Duration::from_millis(300)] {
        let calls_before = shared.lock().expect("no panic").calls();
        let start = clock.now();
        let mut participations = 0;
        while start.until(clock.now()) < Duration::from_secs(3600) {
            participations += 1;
            assert!(participations < 200, "{budget:?}");
            let options = RunOptions { budget: Some(budget), ..RunOptions::default() };
            let (cancel, mut train, mut nobody) = (Cancel::new(), trainer(0), ());
            let participation = device.participate(options, &mut train, &cancel, &mut nobody);
            let outcome = while_time_passes(&clock, participation).await.expect("no error");
            let Outcome::Waited { until, .. } = outcome else { panic!("{budget:?}: {outcome:?}") };
            clock.advance(clock.now().until(until).max(Duration::from_millis(1)));
        }
        let calls = shared.lock().expect("no panic").calls() - calls_before;
        assert!(calls < 100, "{budget:?}: {calls} calls in an hour");
    }
}

/// Nothing is learned and nothing is paid before the first training step: a budget that ends there ends no round.
#[tokio::test]
async fn a_budget_that_ends_before_the_first_training_step_pauses() {
    let (shared, clock) = (coordinator(), MemoryClock::at(Timestamp::from_millis(fixtures::START_MS)));
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let step = Duration::from_millis(400);
    let mut slow = Stepping { clock: clock.clone(), step, prepares: true, steps: Arc::default() };
    let options = RunOptions { budget: Some(Duration::from_secs(2)), ..RunOptions::default() };
    let (cancel, mut nobody) = (Cancel::new(), ());
    let participation = device.participate(options, &mut slow, &cancel, &mut nobody);
    let outcome = while_time_passes(&clock, participation).await.expect("no error");
    assert!(matches!(outcome, Outcome::Paused { phase: Phase::Training, .. }), "{outcome:?}");
    assert!(shared.lock().expect("no panic").left.is_empty(), "it has not left");
    // Asked too early, the window still ends when the round is lost.
    let options = RunOptions { budget: Some(Duration::ZERO), ..RunOptions::default() };
    let Outcome::Paused { resume: first, .. } = outcome else { unreachable!("matched above") };
    let early = device.participate(options, &mut slow, &Cancel::new(), &mut ()).await.expect("no error");
    let Outcome::Paused { resume, .. } = early else { panic!("{early:?}") };
    assert!(resume.before + Duration::from_secs(1) > first.before, "{resume:?} after {first:?}");
    assert!(device.host().store.0.keys().contains(&"round".to_owned()));
}

/// A budget that ends while the device trains ends training as a time limit does: what was learned counts.
#[tokio::test]
async fn a_budget_cuts_training_and_keeps_what_was_learned() {
    let (shared, clock) = (coordinator(), MemoryClock::at(Timestamp::from_millis(fixtures::START_MS)));
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let (start, budget) = (clock.now(), Duration::from_secs(5));
    let options = RunOptions { budget: Some(budget), ..RunOptions::default() };
    let step = Duration::from_millis(100);
    let mut slow = Stepping { clock: clock.clone(), step, prepares: false, steps: Arc::default() };
    let (cancel, mut steps) = (Cancel::new(), 0);
    let mut watching = |progress: Progress| {
        if let ProgressEvent::Step { step, .. } = progress.event {
            steps = step;
        }
    };
    let participation = device.participate(options, &mut slow, &cancel, &mut watching);
    let outcome = while_time_passes(&clock, participation).await.expect("no error");
    assert!(matches!(outcome, Outcome::Paused { phase: Phase::Keys, .. }), "{outcome:?}");
    assert!((30..50).contains(&steps), "nine tenths of the budget, less the way there: {steps} steps");
    assert!(start.until(clock.now()) < budget + Duration::from_millis(500), "{:?}", start.until(clock.now()));
    assert_eq!(shared.lock().expect("no panic").sent[0].stage, 0, "its keys are sent");
}

/// The system's clock, set back an hour at the first look after `at`; its steady one goes on.
#[derive(Clone)]
struct SetBack(MemoryClock, Timestamp);

impl crate::host::Clock for SetBack {
    fn now(&self) -> Timestamp {
        let now = self.0.now();
        let back = if now > self.1 { 60 * 60 * 1000 } else { 0 };
        Timestamp::from_millis(now.as_millis() - back)
    }
    fn steady(&self) -> Duration {
        Duration::from_millis(self.0.now().as_millis())
    }
    async fn sleep(&self, time: Duration) {
        self.0.sleep(time).await;
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_no_budget_longer() {
    let (shared, clock) = (coordinator(), MemoryClock::at(Timestamp::from_millis(fixtures::START_MS)));
    let Parts { transport, store, keys, conditions, randomness, ledger, .. } = host(&shared, &clock, 0);
    let set_back = SetBack(clock.clone(), clock.now().plus(Duration::from_secs(1)));
    let phone = Parts { transport, store, keys, conditions, clock: set_back, randomness, ledger };
    let config = ClientConfig {
        families: vec!["mlp".into()],
        ..ClientConfig::new(vec![fixtures::task()], fixtures::task_key().public())
    };
    let device = Client::new(phone, config);
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let (start, budget) = (clock.now(), Duration::from_secs(5));
    let options = RunOptions { budget: Some(budget), ..RunOptions::default() };
    let (cancel, mut train, mut nobody) = (Cancel::new(), trainer(0), ());
    let participation = device.participate(options, &mut train, &cancel, &mut nobody);
    let outcome = while_time_passes(&clock, participation).await.expect("no error");
    assert!(matches!(outcome, Outcome::Paused { phase: Phase::Keys, .. }), "{outcome:?}");
    let took = start.until(clock.now());
    assert!(took < budget + Duration::from_secs(1), "{took:?}");
}

/// A platform that is about to suspend the app pauses the call, at any moment: the round goes on with the next call, and
/// its sum is exact.
#[tokio::test]
async fn a_call_that_is_paused_at_random_moments_goes_on_with_the_next_one() {
    let mut random = ChaCha20Rng::from_seed([9; 32]);
    let mut phases = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let (shared, clock) = (coordinator(), clock());
        let phone = host(&shared, &clock, 0);
        client(phone.clone()).enroll("token", &Cancel::new()).await.expect("enrolls");
        let others: Vec<_> = (1..COHORT).map(|number| spawn(host(&shared, &clock, number), number)).collect();
        let outcome = loop {
            let (device, cancel) = (client(phone.clone()), Cancel::new());
            let polls = random.next_u32() % 40;
            let pausing = async {
                for _ in 0..polls {
                    turn().await;
                }
                cancel.pause();
            };
            let (mut train, mut nobody) = (trainer(0), ());
            let participation = device.participate(RunOptions::default(), &mut train, &cancel, &mut nobody);
            match both(participation, pausing).await.0.expect("no error") {
                Outcome::Paused { phase, .. } => drop(phases.insert(phase)),
                Outcome::Waited { code, .. } => assert_eq!(code, "paused", "nothing was asked of the coordinator yet"),
                outcome => break outcome,
            }
        };
        assert!(contributed(&outcome), "{outcome:?}");
        for other in others {
            assert!(contributed(&other.await.expect("no panic").expect("no error")));
        }
        let coordinator = shared.lock().expect("no panic");
        assert_eq!(coordinator.released.as_ref().expect("released").vectors[1], sum(0..COHORT)[1]);
        coordinator.assert_one_message_each();
    }
    assert!(phases.len() >= 4, "{phases:?}");
}

/// What is trained so far is thrown away: a shorter training would be another update.
#[tokio::test]
async fn training_that_is_paused_begins_again() {
    let (shared, clock) = (coordinator(), clock());
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let (cancel, steps) = (Cancel::new(), Arc::new(AtomicU32::new(0)));
    let step = Duration::from_millis(10);
    let mut endless = Stepping { clock: clock.clone(), step, prepares: false, steps: steps.clone() };
    let pausing = async {
        while steps.load(Ordering::SeqCst) < 20 {
            turn().await;
        }
        cancel.pause();
    };
    let mut nobody = ();
    let participation = device.participate(RunOptions::default(), &mut endless, &cancel, &mut nobody);
    let outcome = both(participation, pausing).await.0;
    assert!(matches!(outcome, Ok(Outcome::Paused { phase: Phase::Training, .. })), "{outcome:?}");
    assert!(shared.lock().expect("no panic").sent.is_empty(), "nothing was sent");
}
