//! Several coordinators on one database behind a plain TCP balancer: rounds go on while they are replaced, killed and cut
//! off, each ends with the exact sum or with nothing, and what a device was told is true.
//!
//! | variable | |
//! | --- | --- |
//! | `SCALE_LONG=1` | 300 devices and ten rounds instead of 24 and three |
//! | `SCALE_KILLS` | how often servers die; 4, and 100 for a long run |
//! | `SCALE_SEED` | of the moments and pauses; printed |
//! | `SCALE_LEASE_S` | a lease of a replica's work, which one that stands still outlasts |
//! | `SCALE_TEST_S3` | an object store; without it the replicas share a folder |
#![allow(clippy::print_stdout)]

mod chaos;
mod world;

use std::time::{Duration, Instant};

use chaos::{Victim, kills};
use scale_tests::fleet::Plan;
use scale_tests::replicas::Replicas;
use world::{Rows, World, finished, long, setting};

/// Of the tests that kill: a stage never ends for want of time.
const WINDOW_MS: u64 = 60_000;

fn plan(devices: u32, clients: u32, pause_ms: u64, seed: u64) -> Plan {
    Plan { devices, clients, pause: Duration::from_millis(pause_ms), seed }
}

fn seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seed = setting("SCALE_SEED", u64::from(since.subsec_nanos()));
    println!("SCALE_SEED={seed}");
    seed
}

/// Whatever was done to them: a bug is logged as an error, and there is none.
fn no_bugs(replicas: &Replicas) {
    for number in 0..replicas.count() {
        let said = replicas.replica(number).output();
        let bugs: Vec<&str> = said.lines().filter(|line| line.contains(" ERROR ")).collect();
        assert!(bugs.is_empty(), "replica {number}: {bugs:#?}");
    }
}

/// All coordinators are replaced, one after the other, while rounds go on.
async fn rolled(count: usize, rows: Rows) -> anyhow::Result<()> {
    let (devices, clients, rounds) = if long() { (294, 6, 10) } else { (22, 2, 3) };
    let started = Instant::now();
    let mut world = World::start(count, rows, WINDOW_MS, &plan(devices, clients, 300, seed())).await?;
    world.until("half of the rounds have finished", |all| finished(all) >= rounds / 2).await?;
    for number in 0..count {
        world.replicas.roll(number).await?;
    }
    let rolled = world.finished().await?;
    world.until("the other half has too", |all| finished(all) > rolled.max(rounds - 1)).await?;
    let (audit, replicas) = world.end().await?;
    println!("{} rounds of {} devices in {:.1?}", audit.finished.len(), devices + clients, started.elapsed());
    assert!(audit.abandoned.is_empty(), "a round was lost: {audit:?}");
    assert!(audit.finished.len() >= rounds && audit.open == 0, "{audit:?}");
    assert!(audit.left.is_empty(), "a device was lost: {audit:?}");
    for number in 0..count {
        let counts = replicas.balancer().counts(replicas.address(number)?);
        assert!(counts.taken > 0, "replica {number} had nothing to do: {counts:?}");
    }
    no_bugs(&replicas);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_three_replicas_loses_no_round() {
    rolled(3, Rows::Shared).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_the_only_coordinator_loses_no_round() {
    rolled(1, Rows::Embedded).await.unwrap();
}

/// Servers die at random moments; afterwards every round is looked at.
async fn killed(count: usize, rows: Rows, victims: &[Victim]) -> anyhow::Result<()> {
    let (number, seed) = (setting("SCALE_KILLS", 4), seed());
    let mut world = World::start(count, rows, WINDOW_MS, &plan(14, 2, 120, seed)).await?;
    world.until("a round has finished", |all| finished(all) > 0).await?;
    let table = kills(&mut world, victims, number, seed).await?;
    let before = world.finished().await?;
    world.until("one more round has finished", |all| finished(all) > before).await?;
    let (audit, _replicas) = world.end().await?;
    println!("{table}\n{audit:?}");
    assert_eq!(audit.open, 0);
    assert!(audit.acknowledged > 0, "nobody was told anything: {audit:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_rounds_are_exact_or_nothing() {
    killed(3, Rows::Own, &[Victim::Replica, Victim::Replica, Victim::Replicas, Victim::Database]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whenever_the_only_coordinator_dies_rounds_are_exact_or_nothing() {
    killed(1, Rows::Embedded, &[Victim::Replicas]).await.unwrap();
}

/// A replica stands still for longer than its leases last; the others go on, and its return changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_comes_back_with_old_leases_changes_nothing() {
    let lease = Duration::from_secs(setting("SCALE_LEASE_S", 30));
    let run = async {
        let windows = WINDOW_MS.max(3 * lease.as_millis() as u64);
        let mut world = World::start(3, Rows::Shared, windows, &plan(22, 2, 200, seed())).await?;
        world.until("a round has finished", |all| finished(all) > 0).await?;
        let before = world.finished().await?;
        world.replicas.isolate(1)?;
        tokio::time::sleep(lease + Duration::from_secs(5)).await;
        let meanwhile = world.finished().await?;
        assert!(meanwhile > before, "the others did not go on");
        world.replicas.rejoin(1)?;
        world.until("two more rounds have finished", |all| finished(all) > meanwhile + 1).await?;
        assert!(world.replicas.runs(1), "it has ended");
        let mut its_own = world.replicas.replica(1).admin().await?;
        let seen = its_own.rounds(world::TASK).await?;
        assert!(finished(&seen) > meanwhile, "it knows what the others did");
        let (audit, replicas) = world.end().await?;
        assert!(audit.abandoned.is_empty() && audit.open == 0, "{audit:?}");
        no_bugs(&replicas);
        anyhow::Ok(())
    };
    run.await.unwrap();
}
