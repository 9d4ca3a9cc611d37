//! Servers that break one promise each, to show that the check sees it.

use std::sync::Arc;

use super::faults::Plant;
use super::operations::{List, Operation};
use super::world::World;
use crate::Error;
use crate::context::guard;
use crate::rows::ModelRow;
use crate::tests::fleet::task_id;

/// A round in which nothing is in the way, on a server with this fault.
async fn live(plant: impl FnOnce(&Arc<World>) -> Option<Plant>) -> Arc<World> {
    let world = World::new(false).await;
    if let Some(plant) = plant(&world) {
        world.faults.plant(plant);
    }
    world.live(&List { shared: false, operations: vec![Operation::Everybody; 7] }, 5).await;
    world
}

async fn assert_seen(world: &World, phrase: &str) {
    let wrong = world.check().await.expect_err(phrase);
    assert!(wrong.iter().any(|what| what.contains(phrase)), "{phrase}: {wrong:?}");
}

/// Adds one device's numbers to a sum so often: once more than it belongs there, or so that it is not in it.
fn once_more(world: &Arc<World>, times: i32) -> Option<Plant> {
    let world = Arc::downgrade(world);
    Some(Plant::Sum(Arc::new(move |sum| {
        let world = world.upgrade().expect("it lives");
        let heard = guard(&world.heard);
        let told = heard.acknowledged.values().next().expect("somebody was told");
        let (_, summand) = told.first_key_value().expect("somebody was told");
        let entries = summand.iter().flatten().map(|&entry| i32::try_from(entry).expect("small"));
        let words = sum.as_chunks::<4>().0.iter().map(|word| i32::from_le_bytes(*word));
        words.zip(entries).flat_map(|(word, entry)| (word + times * entry).to_le_bytes()).collect()
    })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_counted_twice_is_seen() {
    let world = live(|world| once_more(world, 1)).await;
    assert_seen(&world, "is wrong: ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_upload_that_is_lost_is_seen() {
    let world = live(|world| once_more(world, -1)).await;
    assert_seen(&world, "is wrong: ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_behind_is_seen() {
    for folder in ["sums", "segments"] {
        let world = live(|_| Some(Plant::Keeps(folder))).await;
        assert_seen(&world, &format!("{folder}/")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_internal_error_is_seen() {
    let world = live(|_| Some(Plant::Conflicts("announce_upload"))).await;
    assert_seen(&world, "was answered with an internal error").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_does_not_end_is_seen() {
    let world = live(|_| Some(Plant::Never("close_stage"))).await;
    assert_seen(&world, "is not over").await;
    assert!(!world.is_over().await, "its work is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_nobody_published_and_a_sum_that_nobody_paid_for_are_seen() {
    let world = live(|_| None).await;
    let told = world.check().await.expect("nothing is planted yet");
    assert_eq!(told.finished, 1);
    let spoiled = world.store.run_tx("test", |tx| {
        Box::pin(async move {
            let models = tx.models(&task_id()).await?;
            let newest = models.iter().max_by_key(|model| model.version).expect("two versions");
            let mut version = newest.version;
            version.0 += 2;
            tx.insert_model(&ModelRow { version, round: None, ..newest.clone() }).await?;
            for round in tx.rounds_of(&task_id(), 1).await? {
                for session in tx.sessions_of(round.id).await? {
                    tx.set_session_sum(session.id, None).await?;
                }
            }
            Ok::<_, Error>(())
        })
    });
    spoiled.await.expect("rows");
    let wrong = world.check().await.expect_err("two things are wrong");
    for phrase in ["the versions are [1, 2, 4]", "is not in the account"] {
        assert!(wrong.iter().any(|what| what.contains(phrase)), "{phrase}: {wrong:?}");
    }
}
