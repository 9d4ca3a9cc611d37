//! A cancel ends the call that has its token, whenever it comes, and no other one.

use std::sync::atomic::{AtomicU32, Ordering};

use super::stepping::Stepping;
use super::*;
#[cfg(target_arch = "wasm32")]
use crate::single_thread as tokio;

/// What became of a call that was cancelled after `polls` turns, and of another one that ran beside it.
async fn cancelled_after(
    device: &Client<TestHost>,
    polls: u32,
    cancel: &Cancel,
) -> (Result<Outcome, Error>, Result<crate::model::Model, Error>) {
    let cancelling = async {
        for _ in 0..polls {
            turn().await;
        }
        cancel.cancel();
    };
    let (beside, nobody) = (Cancel::new(), &mut ());
    let task = fixtures::task();
    let mut train = trainer(0);
    let participation = device.participate(RunOptions::default(), &mut train, cancel, nobody);
    let ((outcome, model), ()) = both(both(participation, device.fetch_model(&task, None, &beside)), cancelling).await;
    (outcome, model)
}

/// On one thread, as in a browser: training lets others run every 50 ms, and ends with the first step after a cancel.
#[tokio::test]
async fn training_is_cancelled_between_two_steps_on_one_thread_too() {
    let (shared, clock) = (coordinator(), clock());
    let device = client(host(&shared, &clock, 0));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    let (cancel, steps) = (Cancel::new(), Arc::new(AtomicU32::new(0)));
    let step = Duration::from_millis(10);
    let mut trainer = Stepping { clock: clock.clone(), step, prepares: false, steps: steps.clone() };
    let mut nobody = ();
    let cancelling = async {
        while steps.load(Ordering::SeqCst) < 20 {
            turn().await;
        }
        cancel.cancel();
        steps.load(Ordering::SeqCst)
    };
    let participation = device.participate(RunOptions::default(), &mut trainer, &cancel, &mut nobody);
    let (outcome, at_cancel) = both(participation, cancelling).await;
    assert!(matches!(outcome, Ok(Outcome::Left { cause: Cause::Cancelled, .. })), "{outcome:?}");
    assert_eq!(steps.load(Ordering::SeqCst), at_cancel, "not one step more");
    assert!(at_cancel < 20 + 6, "others ran at least every 50 ms: {at_cancel}");
}

#[tokio::test]
async fn a_thousand_cancels_at_random_moments_touch_no_other_call() {
    let mut random = ChaCha20Rng::from_seed([7; 32]);
    let (mut cancelled, mut before_the_start, mut phases) = (0, 0, std::collections::BTreeSet::new());
    for number in 0..1000_u32 {
        let (shared, clock) = (coordinator(), clock());
        let device = client(host(&shared, &clock, (number % 250) as usize));
        device.enroll("token", &Cancel::new()).await.expect("enrolls");
        let cancel = Cancel::new();
        let polls = match random.next_u32() % 10 {
            0 => {
                cancel.cancel();
                before_the_start += 1;
                0
            }
            _ => random.next_u32() % 120,
        };
        let (outcome, model) = cancelled_after(&device, polls, &cancel).await;
        assert!(model.is_ok(), "the call beside it: {model:?}");
        let Outcome::Left { cause, .. } = outcome.expect("no error") else { panic!("nobody else is in the round") };
        assert_eq!(cause, Cause::Cancelled, "after {polls} turns");
        cancelled += 1;
        // The token again, after the end: nothing has it any more.
        cancel.cancel();
        let joined_before = device.host().store.0.keys().contains(&"history".to_owned());
        let mut seen = vec![];
        let mut watching = |progress: Progress| seen.push(progress.phase);
        let fresh = Cancel::new();
        let mut train = trainer(0);
        let again = device.participate(RunOptions::default(), &mut train, &fresh, &mut watching);
        match killed_after(200, again).await {
            // It waits for the others, who never come.
            None => {}
            // It has shown its keys before, and joins no round twice.
            Some(Ok(Outcome::Left { cause, .. })) => {
                assert!(joined_before, "{cause:?}");
                assert_eq!(cause.code(), "round_not_newer");
            }
            Some(other) => panic!("after {polls} turns: {other:?}"),
        }
        phases.extend(seen);
    }
    assert_eq!(cancelled, 1000);
    assert!(before_the_start > 50, "{before_the_start}");
    assert!(phases.contains(&Phase::Training) && phases.contains(&Phase::Keys), "{phases:?}");
}

/// Nobody answers the goodbye of a device that cancels: its call ends all the same, and the token stays cancelled.
#[tokio::test]
async fn enrolling_and_loading_a_model_can_be_cancelled_too() {
    let (shared, clock) = (coordinator(), clock());
    let device = client(host(&shared, &clock, 0));
    let cancel = Cancel::new();
    cancel.cancel();
    assert_eq!(device.enroll("token", &cancel).await, Err(Error::Cancelled));
    assert_eq!(device.device().await, Ok(None));
    device.enroll("token", &Cancel::new()).await.expect("enrolls");
    assert_eq!(device.fetch_model(&fixtures::task(), None, &cancel).await, Err(Error::Cancelled));
    assert_eq!(device.refresh_model(&fixtures::task(), &cancel).await, Err(Error::Cancelled));
    assert!(device.refresh_model(&fixtures::task(), &Cancel::new()).await.expect("loads").is_some());
    assert_eq!(device.refresh_model(&fixtures::task(), &Cancel::new()).await, Ok(None), "nothing newer is there");
}
