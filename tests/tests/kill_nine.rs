//! kill -9 of the coordinator between any two messages of a round: after a restart the same round goes on, every
//! acknowledged upload is in the sum, and none is in it twice.

use futures::future::try_join_all;
use scale_proto::wire::{RoundInfo, SessionInfo};
use scale_tests::device::{Joined, RawDevice};
use scale_tests::process::CoordinatorProcess;
use scale_tests::round::{plain_sum, recovered_sum, small_model, small_task, weights};

const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
const DEVICES: usize = 12;
/// Devices whose calls are in flight when the coordinator dies in the middle of a stage.
const EARLY: usize = 5;
const TASK: &str = "killed";

/// Moments of a round, in order. The coordinator dies at one of them, with some calls answered and some in flight.
const MOMENTS: &[&str] = &[
    "some have checked in",
    "all hold a manifest",
    "some have advertised keys",
    "all have the roster",
    "some have shared keys",
    "all have their shares",
    "uploads are half there",
    "some uploads are committed",
    "all uploads are committed",
    "some have signed the survivors",
    "all have the signatures",
    "some have revealed their shares",
    "all have revealed their shares",
];

struct World {
    coordinator: CoordinatorProcess,
    devices: Vec<RawDevice>,
    base: Vec<f32>,
    moment: usize,
}

impl World {
    /// Kills and restarts if this is the moment.
    async fn passes(&mut self, moment: &str) {
        if MOMENTS[self.moment] == moment {
            self.coordinator.kill().unwrap();
            self.coordinator.restart().await.unwrap();
        }
    }

    /// The same in the middle of a stage, which all devices' `calls` make up: the coordinator dies when the messages of the
    /// first five are kept (as `kept` counts them) and their calls wait; the others call after its restart.
    async fn passes_during<T, F>(&mut self, moment: &str, calls: Vec<F>, kept: fn(&RoundInfo) -> u32) -> Vec<T>
    where
        F: Future<Output = anyhow::Result<T>>,
    {
        if MOMENTS[self.moment] != moment {
            return try_join_all(calls).await.unwrap();
        }
        let mut early = calls;
        let late = early.split_off(EARLY);
        let coordinator = &mut self.coordinator;
        let kill = async {
            let mut admin = coordinator.admin().await.unwrap();
            admin.round_until(TASK, |round| kept(round) as usize == EARLY).await.unwrap();
            coordinator.kill().unwrap();
            coordinator.restart().await.unwrap();
            try_join_all(late).await.unwrap()
        };
        let (early, late) = tokio::join!(try_join_all(early), kill);
        early.unwrap().into_iter().chain(late).collect()
    }
}

/// Of all sessions of a round.
fn sum(round: &RoundInfo, of_one: fn(&SessionInfo) -> u32) -> u32 {
    round.sessions.iter().map(of_one).sum()
}

async fn round(world: &mut World) {
    let name = MOMENTS[world.moment];
    let mut devices = std::mem::take(&mut world.devices);

    let join = devices.iter_mut().map(RawDevice::join).collect();
    let mut joined: Vec<Joined> = world.passes_during("some have checked in", join, |round| round.cohort).await;
    let round_id = joined[0].manifest.round_id.clone();
    assert!(joined.iter().all(|joined| joined.manifest.round_id == round_id), "{name}: one round for all");
    world.passes("all hold a manifest").await;

    let pairs = devices.iter_mut().zip(&mut joined);
    let advertise = pairs.map(|(device, joined)| device.advertise(joined)).collect();
    let kept: fn(&RoundInfo) -> u32 = |round| sum(round, |session| session.advertised);
    world.passes_during("some have advertised keys", advertise, kept).await;
    world.passes("all have the roster").await;

    let pairs = devices.iter_mut().zip(&mut joined);
    let share = pairs.map(|(device, joined)| device.share(joined)).collect();
    world.passes_during("some have shared keys", share, |round| sum(round, |session| session.shared)).await;
    world.passes("all have their shares").await;

    for (device, joined) in devices.iter().zip(&joined) {
        assert!(!device.upload(joined, 1).await.unwrap(), "{name}: one piece is not the whole");
    }
    world.passes("uploads are half there").await;
    for (device, joined) in devices.iter().zip(&joined).take(5) {
        assert!(device.upload(joined, usize::MAX).await.unwrap(), "{name}");
    }
    world.passes("some uploads are committed").await;
    // Everybody sends again, the five that were told so too: nothing may be counted twice.
    try_join_all(devices.iter().zip(&joined).map(|(device, joined)| device.upload(joined, usize::MAX))).await.unwrap();
    world.passes("all uploads are committed").await;

    let pairs = devices.iter_mut().zip(&mut joined);
    let sign = pairs.map(|(device, joined)| async {
        device.survivors(joined).await?;
        device.confirm(joined).await
    });
    let kept: fn(&RoundInfo) -> u32 = |round| sum(round, |session| session.confirmed);
    world.passes_during("some have signed the survivors", sign.collect(), kept).await;
    world.passes("all have the signatures").await;
    let reveal = devices.iter_mut().zip(&joined).map(|(device, joined)| device.reveal(joined)).collect();
    world
        .passes_during("some have revealed their shares", reveal, |round| sum(round, |session| session.revealed))
        .await;
    world.passes("all have revealed their shares").await;

    let mut admin = world.coordinator.admin().await.unwrap();
    let closed = admin.closed_round(&round_id).await.unwrap();
    assert_eq!(closed.phase, "finished", "{name}: {} {}", closed.reason_code, closed.reason);
    assert_eq!(closed.survivors as usize, DEVICES, "{name}");
    let models = admin.models(TASK).await.unwrap();
    let newest = models.iter().max_by_key(|model| model.version).unwrap();
    assert_eq!(newest.version as usize, world.moment + 2, "{name}: one model per round");
    let new = weights(newest, &small_model()).await.unwrap();
    let (sum, weight) = plain_sum(&joined);
    let published = recovered_sum(&world.base, &new, &joined[0].config, joined[0].plan.max_weight, weight);
    assert_eq!(published, sum, "{name}");
    (world.devices, world.base) = (devices, new);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_survives_the_coordinators_death_at_any_moment() {
    let coordinator = CoordinatorProcess::start(BINARY).await.unwrap();
    let mut admin = coordinator.admin().await.unwrap();
    admin.create_task(TASK, small_task(DEVICES as u32, 15_000)).await.unwrap();
    let token = admin.enroll_token().await.unwrap();
    let enrolled = (0..DEVICES).map(|number| RawDevice::enroll(coordinator.url(), number as u8 + 1, &token));
    let devices = try_join_all(enrolled).await.unwrap();
    let base = weights(&admin.models(TASK).await.unwrap()[0], &small_model()).await.unwrap();
    let mut world = World { coordinator, devices, base, moment: 0 };
    for moment in 0..MOMENTS.len() {
        world.moment = moment;
        round(&mut world).await;
    }
}
