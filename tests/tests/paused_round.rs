//! A phone gives an app a few seconds at a time: a round whose stages take ten times as long goes on from process to
//! process, and its update is in the sum.
#![allow(clippy::print_stdout)]

use std::path::Path;
use std::process::Stdio;

use futures::future::{join_all, try_join_all};
use scale_proto::plan::STATISTICS_LEN;
use scale_tests::device::{Joined, RawDevice};
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::{plain_sum, recovered_sum, small_model, small_task, weights};
use scale_tests::trainer::MovesFirst;
use serde_json::Value;

const COORDINATOR: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const APP: &str = env!("CARGO_BIN_EXE_app-under-test");
const TASK: &str = "paused";
const OTHERS: u8 = 10;
const BUDGET_MS: u64 = 2_000;

/// One process of the app.
struct Phone<'a> {
    folder: &'a Path,
    url: String,
    task_key: String,
}

impl Phone<'_> {
    async fn call(&self, call: &[&str]) -> Value {
        let mut process = tokio::process::Command::new(APP);
        process.arg(self.folder).args([&self.url, TASK, &self.task_key]).args(call).stdin(Stdio::null());
        let out = process.output().await.unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{call:?}: {text}{}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_str(text.trim()).unwrap()
    }

    /// Takes part for the budget, in a new process; the phase in which it is paused.
    async fn turn(&self, step: f32) -> Result<String, Value> {
        let said = self.call(&["move", &step.to_string(), &BUDGET_MS.to_string()]).await;
        match said["outcome"].as_str() {
            Some("paused") => Ok(said["phase"].as_str().unwrap().to_owned()),
            _ => Err(said),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_ten_times_as_long_as_the_budget_is_joined_from_process_to_process() {
    let coordinator = CoordinatorProcess::start(COORDINATOR).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    let mut task = small_task(u32::from(OTHERS) + 1, 10 * BUDGET_MS);
    if let Some(timing) = &mut task.timing {
        (timing.selecting_ms, timing.training_ms) = (60_000, 10 * BUDGET_MS);
    }
    admin.create_task(TASK, task).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let enrolled = (0..OTHERS).map(|number| RawDevice::enroll(coordinator.url(), number + 1, &token));
    let mut devices = try_join_all(enrolled).await.unwrap();
    let base = weights(&admin.models(TASK).await.unwrap()[0], &small_model()).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let task_key = hex::encode(devices[0].task_key());
    let phone = Phone { folder: folder.path(), url: coordinator.url(), task_key };
    assert_eq!(phone.call(&["enroll", &token]).await["outcome"], "enrolled");

    // A hundred grid units on the first weight: far enough from the rounding of f32 to be exact.
    let grid = (64.0 * ((small_model().flat_len() + STATISTICS_LEN) as f64).sqrt()).ceil();
    let unit = (1.0 + 2f64.powi(-20)) / grid;
    let step = (100.0 * unit) as f32;
    let joining = tokio::spawn(async move {
        let joined: Vec<Joined> = try_join_all(devices.iter_mut().map(RawDevice::join)).await.unwrap();
        (devices, joined)
    });
    let mut pauses = vec![phone.turn(step).await.unwrap()];
    let (mut devices, mut joined) = joining.await.unwrap();
    let round_id = joined[0].manifest.round_id.clone();
    assert_eq!(f64::from(joined[0].config.grid), grid);
    let mut ended = None;
    for stage in 0..5 {
        // Everybody else is through with the stage, and the phone is called twice: to go on, and too early.
        let answers = devices.iter_mut().zip(&mut joined).map(async |(device, joined)| match stage {
            0 => device.advertise(joined).await,
            1 => device.share(joined).await,
            2 => device.upload(joined, usize::MAX).await.map(drop),
            3 => {
                device.survivors(joined).await?;
                device.confirm(joined).await
            }
            _ => device.reveal(joined).await,
        });
        let turns = if ended.is_none() { 2 } else { 0 };
        let phone_goes_on = async {
            for _ in 0..turns {
                match phone.turn(step).await {
                    Ok(phase) => pauses.push(phase),
                    Err(said) => return Some(said),
                }
            }
            None
        };
        let (answers, said) = tokio::join!(join_all(answers), phone_goes_on);
        answers.into_iter().for_each(|answer| answer.unwrap());
        ended = ended.or(said);
    }
    while ended.is_none() {
        ended = phone.turn(step).await.err();
    }
    assert_eq!(ended.unwrap()["outcome"], "contributed", "{pauses:?}");
    assert!(pauses.len() >= 5, "{pauses:?}");

    let round = admin.closed_round(&round_id).await.unwrap();
    assert_eq!((round.phase.as_str(), round.survivors), ("finished", 11), "{}", round.reason_code);
    let models = admin.models(TASK).await.unwrap();
    let newest = models.iter().max_by_key(|model| model.version).unwrap();
    let new = weights(newest, &small_model()).await.unwrap();
    let (mut sum, weight) = plain_sum(&joined);
    // The plan's largest weight is 50, and the phone says 50 examples: its step counts in full.
    sum[0] += 100;
    let weight = weight + i64::from(MovesFirst::EXAMPLES);
    let published = recovered_sum(&base, &new, &joined[0].config, joined[0].plan.max_weight, weight);
    assert_eq!(published, sum, "the exact sum of all eleven");
    println!("paused {} times: {pauses:?}", pauses.len());
}
