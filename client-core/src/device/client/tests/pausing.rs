//! A budget ends a call and not the round.

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
