//! The hub over rows in memory: what is written when, who hears what, and when jobs end by themselves.

use scale_clock::MockClock;
use scale_records::store::Location;

use super::*;

struct World {
    records: Arc<dyn Records>,
    clock: MockClock,
}

impl World {
    async fn new() -> Self {
        let records = store::open(&Location::Memory).await.unwrap();
        Self { records, clock: MockClock::at(Timestamp::from_millis(1_795_392_000_000)) }
    }

    fn hub(&self, replicas: bool) -> Hub {
        let clock = Arc::new(self.clock.clone());
        Hub::new(self.records.clone(), None, clock, Options { replicas, ..Options::default() })
    }

    fn pass(&self, by: Duration) {
        self.clock.advance(by);
    }

    async fn stored(&self, id: JobId) -> TrainingJob {
        self.records.job(Scope::Service, id).await.unwrap().unwrap()
    }
}

async fn created(hub: &Hub, user: UserId) -> (TrainingJob, Vec<u8>) {
    match hub.create(user, "categorizer").await.unwrap() {
        Created::New(job, credential) => (job, credential.to_bytes().to_vec()),
        Created::Active(job) => panic!("{job:?}"),
    }
}

fn report(done_permille: u16, round_id: Uuid) -> Report {
    Report { done_permille, round_id: Some(round_id) }
}

#[tokio::test]
async fn only_the_right_credential_reports() {
    let world = World::new().await;
    let hub = world.hub(false);
    let (job, credential) = created(&hub, UserId::new()).await;
    let (_, others) = created(&hub, UserId::new()).await;
    let mut mixed = credential.clone();
    mixed[16..].copy_from_slice(&others[16..]);
    let mut unknown = credential.clone();
    unknown[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    for wrong in [mixed, unknown, credential[..47].to_vec(), Vec::new()] {
        let refused = hub.report(&wrong, report(500, Uuid::new_v4())).await.unwrap_err();
        assert_eq!(refused.code(), "unknown_credential");
    }
    assert_eq!(world.stored(job.id).await.status, JobStatus::Pending);
    hub.report(&credential, report(500, Uuid::new_v4())).await.unwrap();
    assert_eq!(world.stored(job.id).await.status, JobStatus::Processing);
}

#[tokio::test]
async fn progress_reaches_the_rows_once_a_tick_and_its_end_at_once() {
    let world = World::new().await;
    let hub = world.hub(false);
    let round = Uuid::new_v4();
    let (job, credential) = created(&hub, UserId::new()).await;
    // The first report says which round it is, which the rows must know before it ends.
    hub.report(&credential, report(10, round)).await.unwrap();
    assert_eq!((world.stored(job.id).await.done_permille, world.stored(job.id).await.round_id), (10, Some(round)));
    for done in 11..=700 {
        hub.report(&credential, report(done, round)).await.unwrap();
    }
    assert_eq!(hub.status(Scope::Service, job.id).await.unwrap().unwrap().done_permille, 700);
    assert_eq!(world.stored(job.id).await.done_permille, 10, "not yet written");
    hub.write_progress().await;
    assert_eq!(world.stored(job.id).await.done_permille, 700);

    hub.report(&credential, report(800, round)).await.unwrap();
    let outcome = Outcome::Committed { version: 7, metrics: Metrics::new() };
    assert_eq!(hub.round_ended(round, &outcome).await.unwrap(), 1);
    assert_eq!(world.stored(job.id).await.status, JobStatus::Completed);
    hub.write_progress().await;
    let ended = world.stored(job.id).await;
    assert_eq!((ended.status, ended.model_version), (JobStatus::Completed, Some(7)), "late progress changes nothing");
    assert_eq!(hub.round_ended(round, &outcome).await.unwrap(), 0);
    assert_eq!(hub.report(&credential, report(900, round)).await.unwrap_err().code(), "job_ended");
}

#[tokio::test]
async fn a_round_ends_its_own_jobs_only() {
    let world = World::new().await;
    let hub = world.hub(false);
    let (ours, theirs) = (Uuid::new_v4(), Uuid::new_v4());
    let (first, one) = created(&hub, UserId::new()).await;
    let (second, two) = created(&hub, UserId::new()).await;
    hub.report(&one, report(1, ours)).await.unwrap();
    hub.report(&two, report(1, ours)).await.unwrap();
    // The second device has moved on to another round.
    hub.report(&two, report(1, theirs)).await.unwrap();
    let abandoned = Outcome::Abandoned { reason: "too few devices".to_owned() };
    assert_eq!(hub.round_ended(ours, &abandoned).await.unwrap(), 1);
    let failed = hub.status(Scope::Service, first.id).await.unwrap().unwrap();
    assert_eq!((failed.status, failed.failure.as_deref()), (JobStatus::Failed, Some("too few devices")));
    assert!(hub.status(Scope::Service, second.id).await.unwrap().unwrap().status.is_active());
}

#[tokio::test]
async fn jobs_of_devices_that_have_gone_fail() {
    let world = World::new().await;
    let hub = world.hub(false);
    let (silent, _) = created(&hub, UserId::new()).await;
    world.pass(Duration::from_secs(23 * 3600));
    let (fresh, _) = created(&hub, UserId::new()).await;
    hub.end_stale().await;
    assert!(world.stored(silent.id).await.status.is_active());
    world.pass(Duration::from_secs(2 * 3600));
    hub.end_stale().await;
    let ended = world.stored(silent.id).await;
    assert_eq!(ended.status, JobStatus::Failed);
    assert!(ended.failure.unwrap().contains("24 hours"));
    assert!(world.stored(fresh.id).await.status.is_active());
}

#[tokio::test]
async fn replicas_without_a_link_read_the_rows_again() {
    let world = World::new().await;
    let (one, other) = (world.hub(true), world.hub(true));
    let (user, round) = (UserId::new(), Uuid::new_v4());
    let (job, credential) = created(&one, user).await;
    let idle = Duration::from_secs(300);
    let mut events = other.subscribe(Scope::User(user), job.id, None, idle).await.unwrap().unwrap();
    assert_eq!(events.next().await.unwrap().id, 0);
    one.report(&credential, report(420, round)).await.unwrap();
    // Believed for a moment, and then read again, both when asked and for those who listen.
    assert_eq!(other.status(Scope::User(user), job.id).await.unwrap().unwrap().done_permille, 0);
    world.pass(DISTRUST);
    other.read_again().await;
    assert_eq!(events.next().await.unwrap().id, 421);
    one.round_ended(round, &Outcome::Committed { version: 3, metrics: Metrics::new() }).await.unwrap();
    world.pass(DISTRUST);
    assert_eq!(other.status(Scope::User(user), job.id).await.unwrap().unwrap().status, JobStatus::Completed);
    let last = events.next().await.unwrap();
    assert!(last.is_last() && last.name() == "complete");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn memory_is_left_by_what_nobody_reads() {
    let world = World::new().await;
    let hub = world.hub(false);
    let user = UserId::new();
    let (job, credential) = created(&hub, user).await;
    created(&hub, UserId::new()).await;
    let idle = Duration::from_secs(300);
    let events = hub.subscribe(Scope::User(user), job.id, None, idle).await.unwrap().unwrap();
    world.pass(TRUST);
    hub.evict(TRUST);
    assert_eq!(hub.jobs().len(), 1, "what is listened to stays");
    drop(events);
    hub.report(&credential, report(1, Uuid::nil())).await.unwrap();
    hub.report(&credential, report(2, Uuid::nil())).await.unwrap();
    world.pass(TRUST);
    hub.evict(TRUST);
    assert_eq!(hub.jobs().len(), 1, "what is not written stays");
    hub.write_progress().await;
    world.pass(TRUST);
    hub.evict(TRUST);
    assert_eq!(hub.jobs().len(), 0);
}

#[tokio::test]
async fn what_runs_stops_and_has_written() {
    let world = World::new().await;
    let hub = world.hub(false);
    let round = Uuid::new_v4();
    let (job, credential) = created(&hub, UserId::new()).await;
    hub.report(&credential, report(1, round)).await.unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (hub, stop) = (hub.clone(), stop.clone());
        async move { hub.run(stop).await }
    });
    tokio::task::yield_now().await;
    hub.report(&credential, report(300, round)).await.unwrap();
    stop.cancel();
    running.await.unwrap();
    assert_eq!(world.stored(job.id).await.done_permille, 300);
}
