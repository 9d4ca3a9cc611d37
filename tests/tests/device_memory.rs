//! What a phone has to have free: a whole round with the demo's model, in a process of its own.
#![allow(clippy::print_stdout)]

use std::process::Stdio;

use scale_client_core::device::{Cancel, Outcome, RunOptions};
use scale_proto::ids::TaskId;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::wire;
use scale_tests::device::RawDevice;
use scale_tests::phone;
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::small_task;
use scale_tests::trainer::Steady;
use serde_json::Value;

const COORDINATOR: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const APP: &str = env!("CARGO_BIN_EXE_app-under-test");
const TASK: &str = "statements";
const DEVICES: u8 = 13;
/// Peak of resident memory, the program's own code included.
const PEAK_KB: u64 = 120 << 10;

/// The demo's model: 1,179,990 parameters.
fn model() -> ModelSpec {
    let labels =
        ["dining".to_owned(), "fuel".to_owned()].into_iter().chain((2..18).map(|class| format!("class {class}")));
    ModelSpec {
        labels: labels.collect(),
        family: Family::TextBag { buckets: 65_536, dim: 18, ngram_min: 2, ngram_max: 5 },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_with_the_model_of_the_demo_needs_little_memory() {
    assert_eq!(model().flat_len(), 1_179_990);
    let coordinator = CoordinatorProcess::start(COORDINATOR).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    let mut config = wire::TaskConfig { model: Some((&model()).into()), ..small_task(u32::from(DEVICES), 60_000) };
    if let Some(training) = &mut config.training {
        training.batch_size = 32;
    }
    admin.create_task(TASK, config).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let task_key = *RawDevice::enroll(coordinator.url(), 200, &token).await.unwrap().task_key();
    let task: TaskId = TASK.parse().unwrap();
    let mut others = vec![];
    for number in 1..DEVICES {
        let client = phone::enrolled(coordinator.url(), number, &token, &task, task_key).await.unwrap();
        others.push(tokio::spawn(async move {
            let options = RunOptions { budget: Some(std::time::Duration::from_secs(120)), ..RunOptions::default() };
            client.participate(options, &mut Steady, &Cancel::new(), &mut ()).await.unwrap()
        }));
    }

    let folder = tempfile::tempdir().unwrap();
    let call = async |call: &[&str]| -> Value {
        let mut process = tokio::process::Command::new(APP);
        process.arg(folder.path()).args([&coordinator.url(), TASK, &hex::encode(task_key)]).args(call);
        let out = process.stdin(Stdio::null()).output().await.unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{call:?}: {}", String::from_utf8_lossy(&out.stderr));
        serde_json::from_str(text.trim()).unwrap()
    };
    assert_eq!(call(&["enroll", &token]).await["outcome"], "enrolled");
    assert_eq!(call(&["put", "1000"]).await["added"], 1000);
    let said = call(&["participate", "120000"]).await;
    assert_eq!(said["outcome"], "contributed", "{said}");
    let peak: u64 = said["peak"].as_str().unwrap().trim_end_matches(" kB").trim().parse().unwrap();
    println!("peak of a whole round: {} MB", peak / 1024);
    assert!(peak <= PEAK_KB, "{peak} kB");
    for other in others {
        let outcome = other.await.unwrap();
        assert!(matches!(outcome, Outcome::Contributed(_)), "{outcome:?}");
    }
    // Another process, and no coordinator: the round has left its model.
    drop(coordinator);
    let folder = folder.path();
    let mut process = tokio::process::Command::new(APP);
    process.arg(folder).args(["http://127.0.0.1:9", TASK, &hex::encode(task_key), "predict", "CAFE ROMA"]);
    let out = process.stdin(Stdio::null()).output().await.unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stdout).contains("\"label\""));
}
