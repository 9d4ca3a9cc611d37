//! A coordinator that is stopped in the middle of a stage for longer than the stage's window, as `kill -STOP`, a debugger
//! or a machine without a free processor stops it: the round goes on with everybody.

use std::time::Duration;

use futures::future::{join, try_join_all};
use scale_tests::device::{Joined, RawDevice};
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::{plain_sum, recovered_sum, small_model, small_task, weights};

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const DEVICES: usize = 12;
const TASK: &str = "stopped";
/// Of every stage after the first.
const WINDOW_MS: u64 = 3_000;
const STANDSTILL: Duration = Duration::from_millis(4_500);

/// What the devices of a round do, one stage after the other.
const STAGES: [&str; 5] = ["keys", "shares", "masked input", "agreement", "unmask"];

async fn act(stage: usize, device: &mut RawDevice, joined: &mut Joined) -> anyhow::Result<()> {
    match stage {
        0 => device.advertise(joined).await,
        1 => device.share(joined).await,
        2 => {
            device.upload(joined, usize::MAX).await?;
            device.survivors(joined).await
        }
        3 => device.confirm(joined).await,
        _ => device.reveal(joined).await,
    }
}

/// Some devices are in time, the coordinator stops, and the others send while it stands still.
async fn stage(
    stage: usize,
    stopped: usize,
    coordinator: &CoordinatorProcess,
    devices: &mut [RawDevice],
    joined: &mut [Joined],
) -> anyhow::Result<()> {
    let late = stage == stopped;
    let calls = devices.iter_mut().zip(joined).enumerate().map(|(number, (device, joined))| async move {
        if late && number >= 4 {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        act(stage, device, joined).await
    });
    let stop = async {
        if late {
            tokio::time::sleep(Duration::from_millis(400)).await;
            coordinator.stand_still(STANDSTILL).await?;
        }
        anyhow::Ok(())
    };
    let (answers, stop) = join(try_join_all(calls), stop).await;
    stop?;
    answers.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_survives_a_standstill_in_every_stage() {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    let mut config = small_task(DEVICES as u32, WINDOW_MS);
    config.timing.as_mut().unwrap().training_ms = WINDOW_MS;
    config.training.as_mut().unwrap().time_limit_ms = WINDOW_MS;
    admin.create_task(TASK, config).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let enrolled = (0..DEVICES).map(|number| RawDevice::enroll(coordinator.url(), number as u8 + 1, &token));
    let mut devices = try_join_all(enrolled).await.unwrap();
    let mut base = weights(&admin.models(TASK).await.unwrap()[0], &small_model()).await.unwrap();
    for (stopped, name) in STAGES.into_iter().enumerate() {
        let mut joined = try_join_all(devices.iter_mut().map(RawDevice::join)).await.unwrap();
        for (number, reached) in STAGES.into_iter().enumerate() {
            let done = stage(number, stopped, &coordinator, &mut devices, &mut joined).await;
            done.unwrap_or_else(|error| panic!("stopped in {name}, then in {reached}: {error:#}"));
        }
        let closed = admin.closed_round(&joined[0].manifest.round_id).await.unwrap();
        assert_eq!(closed.phase, "finished", "{name}: {} {}", closed.reason_code, closed.reason);
        assert_eq!(closed.survivors as usize, DEVICES, "{name}: nobody is lost for it");
        let models = admin.models(TASK).await.unwrap();
        let newest = models.iter().max_by_key(|model| model.version).unwrap();
        let new = weights(newest, &small_model()).await.unwrap();
        let (sum, weight) = plain_sum(&joined);
        let published = recovered_sum(&base, &new, &joined[0].config, joined[0].plan.max_weight, weight);
        assert_eq!(published, sum, "{name}");
        base = new;
    }
    assert!(coordinator.output().contains("nobody looked at this round"), "the log says so: {}", coordinator.output());
}
