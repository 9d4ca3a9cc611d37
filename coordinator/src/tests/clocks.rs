//! Clocks that are set, and a process that stands still.

use super::*;
use crate::blobs::Blobs;
use scale_clock::Clock as _;

const HOUR_S: i64 = 3600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setting_the_clock_moves_no_window_of_a_stage() {
    for seconds in [-HOUR_S, HOUR_S] {
        for stage in 0..5 {
            let site = manual_site().await;
            // One device is lost in the stage, so that the stage closes by its window and not by its answers.
            let mut lost = [0; 5];
            lost[stage] = 1;
            let began = site.clock.steady();
            let told = tell(&site, 12, Story { lost, set_clock_in: Some((stage, seconds)), ..Story::default() }).await;
            assert!(told.errors.is_empty(), "stage {stage}, {seconds} s: {:?}", told.errors);
            assert_exact(&site, &told, if stage < 3 { 11 } else { 12 }).await;
            assert_eq!(site.clock.steady() - began, WINDOW, "stage {stage}, {seconds} s: one window");
            let Phase::Finished { at, .. } = told.info.round.phase else { panic!("it has finished") };
            assert_eq!(told.info.round.opened_at.until(at), WINDOW, "the round's times are those of one clock");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selection_follows_a_clock_that_is_set_and_stays_as_short() {
    for seconds in [-HOUR_S, HOUR_S] {
        let site = manual_site().await;
        // Twelve are wanted, eleven come: selection ends by its window.
        let waiting = tokio::spawn({
            let site = Arc::clone(&site);
            async move { gather(&site, 11).await }
        });
        site.until("eleven admissions", |info| info.round.cohort == 11).await;
        site.set_clock(seconds);
        site.now().tick().await.expect("no storage error");
        assert_eq!(site.round().await.round.phase.name(), "selecting", "{seconds} s");
        site.pass_window().await;
        let round = site.until("training", |info| info.round.phase.name() == "training").await.round;
        assert_eq!(waiting.await.expect("no panic").len(), 11, "{seconds} s");
        let left = site.clock.now().until(round.closings[0]);
        assert_eq!(left, Duration::from_secs(60 + 300), "{seconds} s: signed times are those of the wall clock");
    }
}

/// Rows that were kept before the clock was set back, read after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_after_the_clock_was_set_back_keeps_the_window() {
    let site = manual_site().await;
    let phones = gather(&site, 12).await;
    site.set_clock(-HOUR_S);
    site.restart().await;
    let told = go_on(&site, phones, Story { lost: [1, 0, 0, 0, 0], ..Story::default() }).await;
    assert_exact(&site, &told, 11).await;
}

/// Messages that came while the process stood still are taken before the stage closes, whichever is noticed first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standstill_is_not_held_against_devices() {
    let site = Site::with(Blobs::in_memory(), Duration::from_secs(2)).await;
    site.now().create_task(task_id(), task("manual"), None).await.expect("a good task");
    site.now().open_round(&task_id()).await.expect("none is open");
    let mut alive = gather(&site, 12).await;
    for stage in SessionStage::OPEN {
        let act = move |mut phone: Phone| async move { phone.act(stage).await.map(|()| phone) };
        let late = alive.split_off(9);
        let first = tokio::spawn(together(alive, act));
        site.until_answered(stage, 9).await;
        // As long as the window: whoever looks at the time first finds it over.
        site.clock.advance(WINDOW);
        let rest = together(late, act).await;
        let first = first.await.expect("no panic");
        assert!(first.1.is_empty() && rest.1.is_empty(), "{}: {:?} {:?}", stage.name(), first.1, rest.1);
        alive = first.0.into_iter().chain(rest.0).collect();
    }
    let info = site.until("the end", |info| info.round.phase.is_over()).await;
    assert_eq!((info.round.phase.name(), info.survivors()), ("finished", 12));
}
