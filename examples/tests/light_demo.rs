//! The demo of a thousand devices, short: the real coordinator in a process of its own, one session on a sparse graph,
//! losses, and noise for whole people that the planner calls useful or says what it is.

use std::path::{Path, PathBuf};

use scale_examples::fleet::demo::{Options, run};

fn options(keep: &Path) -> Options {
    Options {
        coordinator: Some(PathBuf::from(env!("CARGO_BIN_EXE_fleet"))),
        light: true,
        // More than a complete graph may have.
        devices: Some(140),
        rounds: Some(1),
        drop: None,
        seed: 1,
        privacy: None,
        epsilon: Some(3.0),
        no_baselines: true,
        json: None,
        keep: keep.join("demo"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_of_one_large_session_costs_what_was_promised() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let report = run(&options(folder.path())).await.expect("the demo ends well");
    let [row] = &report.rounds[..] else { panic!("one round: {}", report.text()) };
    assert_eq!((row.cohort, &row.abandoned), (140, &None));
    assert!((122..140).contains(&row.survivors), "some are lost, not too many: {row:?}");
    assert_eq!(row.loss, None, "nobody knows it under noise");
    let (spent, promised) = (row.epsilon.expect("noise"), 3.0);
    assert!(spent <= promised && spent > 0.98 * promised, "{spent}");
    assert!(row.epsilon_alone.expect("noise") > 5.0 * spent, "alone, a device's noise is next to nothing");
    let text = report.text();
    for part in ["alone", "always the most frequent", "noise is"] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(report.model_file.is_file() && report.chart_png.is_file());
}

/// A setting under which nothing is learned is refused before anybody joins, with the planner's reason.
#[tokio::test(flavor = "multi_thread")]
async fn noise_that_drowns_the_model_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let refused = run(&Options { epsilon: Some(0.05), ..options(folder.path()) }).await.expect_err("hopeless");
    assert!(format!("{refused:#}").contains("Training cannot work"), "{refused:#}");
}
