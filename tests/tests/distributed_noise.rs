//! Distributed noise from end to end: real devices against the real binary. What a round publishes, less what its devices
//! have learnt, is discrete Gaussian noise of exactly the variance that the signed configuration promises, with everybody
//! there and with as many lost as the task stands.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use scale_client_core::device::{Cancel, Client, ClientConfig, Outcome, Phase, Progress, RunOptions};
use scale_client_core::host::DeviceConditions;
use scale_client_core::host::Parts;
use scale_client_core::host::memory::{FixedConditions, MemoryKeys, MemoryLedger, MemoryStore, SeededRandomness};
use scale_client_core::host::native::SystemClock;
use scale_client_core::trainer::{TrainError, Trained, Trainer, Training, in_one_step};
use scale_client_core::transport::native::{Connection, GrpcTransport};
use scale_privacy::fit;
use scale_proto::model::{Family, ModelSpec};
use scale_proto::plan::Plan;
use scale_proto::privacy::Privacy;
use scale_proto::{PROTOCOL, wire};
use scale_secagg::config::Mechanism;
use scale_tests::device::{Joined, RawDevice};
use scale_tests::process::{Admin, CoordinatorProcess};
use scale_tests::round::{recovered_sum, small_task, weights};

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");

/// So many that something can be learned under noise on the entries of [`model`], or the task is refused.
const DEVICES: u32 = 100;
const FLOOR: u32 = 83;

type Device =
    Client<Parts<GrpcTransport, MemoryStore, MemoryKeys, FixedConditions, SystemClock, SeededRandomness, MemoryLedger>>;

/// Two rounds of it are 120,000 numbers; 60,000 show a variance that is off by a twentieth at eight standard deviations.
fn model() -> ModelSpec {
    ModelSpec {
        labels: vec!["no".to_owned(), "yes".to_owned()],
        family: Family::Mlp { inputs: 400, hidden: vec![150] },
    }
}

fn task() -> wire::TaskConfig {
    let small = small_task(DEVICES, 60_000);
    wire::TaskConfig {
        model: Some((&model()).into()),
        cohort: Some(wire::Cohort { goal: DEVICES, floor: FLOOR, over_selection_permille: 1000, session_max: 128 }),
        timing: Some(wire::Timing {
            selecting_ms: 60_000,
            training_ms: 60_000,
            // Somebody is always lost before its keys: nobody needs to wait for it.
            grace_ms: 1,
            ..small.timing.unwrap()
        }),
        privacy: Some((&Privacy::Distributed { epsilon: 5.8, delta: 1e-6, rounds: 2 }).into()),
        max_rounds: 2,
        ..small
    }
}

/// What every device learns: nine tenths of the clip norm, up and down in turn.
fn step(index: usize, len: usize) -> f64 {
    let size = 0.9 / (len as f64).sqrt();
    if index.is_multiple_of(2) { size } else { -size }
}

struct Fixed;

impl Trainer for Fixed {
    fn begin<'a>(
        &'a mut self,
        _: &'a Plan,
        weights: &[f32],
        _: &[u8; 32],
    ) -> Result<Box<dyn Training + Send + 'a>, TrainError> {
        let moved = weights.iter().enumerate().map(|(i, weight)| weight + step(i, weights.len()) as f32);
        let weights = moved.collect();
        let trained = Trained { weights, weight: 20, loss_sum: 10.0, correct: 9, examples: 20, dp_sgd: None };
        Ok(in_one_step(move || Ok(trained)))
    }
}

/// Takes part once. `lost`: leaves when its shares are there and its update is due.
async fn take_part(device: &Device, lost: bool) {
    let cancel = Cancel::new();
    let mut observer = |progress: Progress| {
        if lost && progress.phase == Phase::Uploading {
            cancel.cancel();
        }
    };
    // Short waits for the round are sat out.
    let options = RunOptions { budget: Some(Duration::from_secs(600)), ..RunOptions::default() };
    loop {
        match device.participate(options.clone(), &mut Fixed, &cancel, &mut observer).await.unwrap() {
            // Once there are shares enough to take the masks off, nobody waits for the rest.
            Outcome::Waited { code, .. } if code == "late" => return assert!(!lost, "it was to leave"),
            Outcome::Waited { .. } => tokio::time::sleep(Duration::from_millis(100)).await,
            Outcome::Contributed(_) => return assert!(!lost, "it was to leave"),
            Outcome::Left { cause, .. } => return assert!(lost, "{}: {cause}", cause.code()),
            other => panic!("{other:?}"),
        }
    }
}

/// Somebody who only wants to see the round's manifest, and is lost before its keys.
async fn look_in(witness: &mut RawDevice) -> Joined {
    let joined = witness.join().await.unwrap();
    let leave = wire::LeaveRequest {
        protocol: PROTOCOL,
        round_id: joined.manifest.round_id.clone(),
        reason: "cancelled".to_owned(),
    };
    witness.rounds().leave(witness.request(leave)).await.unwrap();
    joined
}

async fn newest_weights(admin: &mut Admin) -> Vec<f32> {
    let models = admin.models("noisy").await.unwrap();
    let newest = models.iter().max_by_key(|model| model.version).unwrap();
    weights(newest, &model()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_model_holds_the_noise_that_was_promised() {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    admin.create_task("noisy", task()).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let mut witness = RawDevice::enroll(coordinator.url(), 250, &token).await.unwrap();
    let task_key = *witness.task_key();
    let transport = GrpcTransport::new(Connection::new(coordinator.url())).unwrap();
    let enrolled = (1..DEVICES as u8).map(|number| {
        let seed = [number; 32];
        let host = Parts {
            transport: transport.clone(),
            store: MemoryStore::default(),
            keys: MemoryKeys::new(seed),
            conditions: FixedConditions(DeviceConditions::FINE),
            clock: SystemClock,
            randomness: SeededRandomness::new(seed),
            ledger: MemoryLedger::default(),
        };
        let device = Client::new(host, ClientConfig::new(vec!["noisy".parse().unwrap()], task_key));
        async { device.enroll(&token, &Cancel::new()).await.map(|_| device) }
    });
    let devices: Vec<Device> = try_join_all(enrolled).await.unwrap();
    let mut base = newest_weights(&mut admin).await;

    for lost in [0, DEVICES - 1 - FLOOR] {
        let taking_part = devices.iter().zip(0..).map(|(device, number)| take_part(device, number < lost));
        let (joined, _) = tokio::join!(look_in(&mut witness), join_all(taking_part));
        let round = admin.closed_round(&joined.manifest.round_id).await.unwrap();
        assert_eq!(round.phase, "finished", "{lost} lost: {} {}", round.reason_code, round.reason);
        let survivors = DEVICES - 1 - lost;
        assert_eq!(round.survivors, survivors);

        // Everybody counts the same under noise.
        let new = newest_weights(&mut admin).await;
        let max_weight = joined.plan.max_weight;
        let sum = recovered_sum(&base, &new, &joined.config, max_weight, i64::from(survivors * max_weight));
        let grid_units = f64::from(joined.config.grid) / joined.config.clip;
        let learnt = |i: usize| (f64::from(survivors) * step(i, sum.len()) * grid_units).round() as i64;
        let noise: Vec<i64> = sum.iter().enumerate().map(|(i, entry)| entry - learnt(i)).collect();

        let Mechanism::DistributedGaussian { local_variance, n_honest, .. } = joined.config.mechanism else {
            panic!("{lost} lost: the configuration promises no noise")
        };
        let variance = f64::from(survivors) * local_variance as f64;
        let (spread, shape) = (fit::variance(&noise, variance), fit::shape(&noise, variance.sqrt()));
        assert!(spread.abs() < 4.0, "{lost} lost: variance off by {spread:.1} standard deviations");
        assert!(shape.abs() < 4.0, "{lost} lost: shape off by {shape:.1} standard deviations");
        // Controls: the same distances see a twentieth of variance too much or too little, and updates left in.
        for wrong in [0.95, 1.05] {
            let off = fit::variance(&noise, variance * wrong);
            assert!(off.abs() > 4.0, "{lost} lost: no power: {off:.1}");
        }
        assert!(fit::variance(&sum, variance) > 4.0, "{lost} lost: the updates do not show");
        // What was learnt is there at its full size, and the honest devices alone bring the promised noise.
        let along: f64 = noise.iter().enumerate().map(|(i, &entry)| entry as f64 * step(i, 1).signum()).sum();
        let along = along / (noise.len() as f64 * variance).sqrt();
        assert!(along.abs() < 4.0, "{lost} lost: the mean update is off by {along:.1} standard deviations");
        assert!(n_honest < FLOOR && survivors >= FLOOR);

        let ratio = round.signal_to_noise.unwrap();
        let expected =
            (sum.iter().map(|&entry| (entry as f64).powi(2)).sum::<f64>() / sum.len() as f64 / variance).sqrt();
        assert!((ratio - expected).abs() < 0.01, "{lost} lost: signal to noise {ratio}, not {expected}");
        base = new;
    }
}
