//! Two replicas over the same rows, with a real Redis between them.

use std::sync::Arc;
use std::time::Duration;

use scale_clock::SystemClock;
use scale_records::domain::{JobStatus, Metrics, Scope, TrainingJob, UserId};
use scale_records::store::{self, Location, Records};
use scale_rest::redis::{Link, LinkOptions};
use scale_rest::training::{Created, Hub, Options, Outcome, Report};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const IDLE: Duration = Duration::from_secs(300);
const SOON: Duration = Duration::from_secs(20);

fn link() -> Link {
    let url = std::env::var("SCALE_TEST_REDIS");
    let url = url.expect("SCALE_TEST_REDIS is not set: run `cargo xtask test`, which starts a Redis");
    // The machine that tests may be busy.
    Link::open_with(&url, LinkOptions { deadline: Duration::from_secs(2), ..LinkOptions::default() }).unwrap()
}

struct Replicas {
    records: Arc<dyn Records>,
    one: Hub,
    other: Hub,
    stop: CancellationToken,
}

impl Replicas {
    async fn new() -> Self {
        let records = store::open(&Location::Memory).await.unwrap();
        let stop = CancellationToken::new();
        let hub = || {
            let options = Options { replicas: true, ..Options::default() };
            let hub = Hub::new(records.clone(), Some(link()), Arc::new(SystemClock), options);
            let (running, stop) = (hub.clone(), stop.clone());
            tokio::spawn(async move { running.run(stop).await });
            hub
        };
        let (one, other) = (hub(), hub());
        Self { one, other, stop, records }
    }

    async fn job(&self, user: UserId) -> (TrainingJob, Vec<u8>) {
        match self.one.create(user, "categorizer").await.unwrap() {
            Created::New(job, credential) => (job, credential.to_bytes().to_vec()),
            Created::Active(job) => panic!("{job:?}"),
        }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_heard_at_the_other_replica() {
    let replicas = Replicas::new().await;
    let (user, round) = (UserId::new(), Uuid::new_v4());
    let (job, credential) = replicas.job(user).await;
    let listener = replicas.other.subscribe(Scope::User(user), job.id, None, IDLE).await.unwrap();
    let mut listener = listener.unwrap();
    assert_eq!(listener.next().await.unwrap().id, 0);
    for done_permille in [0, 250, 800] {
        replicas.one.report(&credential, Report { done_permille, round_id: Some(round) }).await.unwrap();
        let event = timeout(SOON, listener.next()).await.unwrap().unwrap();
        assert_eq!(event.id, u64::from(done_permille) + 1);
        // By now messages arrive, and memory is believed for a minute: nothing else than a message tells of what follows.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    // The round may end at either.
    let outcome = Outcome::Committed { version: 9, metrics: Metrics::new() };
    assert_eq!(replicas.other.round_ended(round, &outcome).await.unwrap(), 1);
    assert!(timeout(SOON, listener.next()).await.unwrap().unwrap().is_last());
    let ended = timeout(SOON, async {
        while replicas.one.status(Scope::User(user), job.id).await.unwrap().unwrap().status != JobStatus::Completed {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    ended.await.unwrap();
    assert!(replicas.one.report(&credential, Report { done_permille: 900, round_id: None }).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_answers_and_forgets() {
    let replicas = Replicas::new().await;
    let user = UserId::new();
    let (job, _) = replicas.job(user).await;
    let key = format!("job:{}", job.id);
    assert!(link().get(&key).await.unwrap().is_some());
    // Somebody else's job is not there for a stranger, whoever answers.
    let stranger = Scope::User(UserId::new());
    assert!(replicas.other.status(stranger, job.id).await.unwrap().is_none());
    let listener = replicas.other.subscribe(Scope::User(user), job.id, None, IDLE).await.unwrap();
    let mut listener = listener.unwrap();
    assert_eq!(listener.next().await.unwrap().id, 0);

    replicas.records.delete_person(user).await.unwrap();
    replicas.one.forget(user).await;
    assert_eq!(timeout(SOON, listener.next()).await.unwrap(), None, "a person who has gone has no streams");
    assert!(link().get(&key).await.unwrap().is_none());
    assert!(replicas.other.status(Scope::User(user), job.id).await.unwrap().is_none());
}
