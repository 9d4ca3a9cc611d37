//! Training jobs: what a device's taking part in a round looks like to its person.
//!
//! A person asks for a job and gets a [`Credential`] for their device. The device shows it with its progress reports,
//! the coordinator hands those to [`Hub::report`], and the end of the round to [`Hub::round_ended`]; the person's screens
//! read [`Hub::status`] or hold a [`Subscription`]. Nothing flows back: a round reads nothing from here.
//!
//! ```text
//! device ─report─▶ Hub ─▶ memory: one watch channel a job ─▶ subscriptions of this process
//!                   │ at most once a second and job
//!                   └──▶ rows ─▶ Redis: cache, and a message to the other replicas ─▶ their memory
//! ```
//!
//! Rows are the truth. Memory is believed for a minute in a process of its own; between replicas for as long as messages
//! arrive without a gap, and for a second otherwise.

mod credential;
mod event;
mod relay;
mod subscription;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use scale_clock::{SharedClock, Timestamp};
use scale_records::domain::{JobChange, JobId, JobStatus, Metrics, NewJob, Scope, TrainingJob, UserId};
use scale_records::store::{self, Records};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::redis::Link;

pub use credential::Credential;
pub use event::Event;
pub use subscription::Subscription;

/// Between two looks at what has to be written or read again.
const TICK: Duration = Duration::from_secs(1);
/// How long memory is believed where no other process writes, or its messages arrive.
const TRUST: Duration = Duration::from_secs(60);
/// How long memory is believed while messages of other replicas may be missing.
const DISTRUST: Duration = Duration::from_secs(1);
/// Jobs held in memory that nobody subscribes to, at most.
const CACHED: usize = 50_000;
/// Rows read again in one tick, at most, and at once.
const REREAD: (usize, usize) = (500, 4);

/// How a hub behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether other processes may change the same rows.
    pub replicas: bool,
    /// A job without a report for so long has failed.
    pub stale_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { replicas: false, stale_after: Duration::from_secs(24 * 3600) }
    }
}

/// All training jobs. Clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    records: Arc<dyn Records>,
    redis: Option<Link>,
    clock: SharedClock,
    options: Options,
    jobs: Mutex<HashMap<JobId, Arc<Entry>>>,
    /// Whether messages of other replicas arrive.
    connected: AtomicBool,
    /// What was read before this moment may have missed a message.
    complete_since: AtomicU64,
    /// Names this process in messages, so that it skips its own.
    origin: Uuid,
}

/// A job in memory.
struct Entry {
    latest: watch::Sender<Arc<TrainingJob>>,
    /// When it was last known to be what the rows say, in milliseconds.
    known_at: AtomicU64,
    /// Whether there is progress that the rows do not have.
    unwritten: AtomicBool,
}

impl Entry {
    fn job(&self) -> Arc<TrainingJob> {
        self.latest.borrow().clone()
    }
}

/// What a device says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Share of its training that is done, in thousandths.
    pub done_permille: u16,
    /// Where it takes part.
    pub round_id: Option<Uuid>,
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It has made a model.
    Committed {
        /// Which.
        version: u64,
        /// What it says of it.
        metrics: Metrics,
    },
    /// It has not.
    Abandoned {
        /// Why, for a person.
        reason: String,
    },
}

/// What became of a job that was asked for.
#[derive(Debug)]
pub enum Created {
    /// It is there, and this is what its device shows. The credential is not seen again.
    New(TrainingJob, Credential),
    /// The person has an active one, this one.
    Active(TrainingJob),
}

/// Why a job could not be made, read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No job has this credential.
    #[error("no training job has this credential")]
    UnknownCredential,
    /// The job has ended; reports on it can stop.
    #[error("the training job has ended")]
    Ended,
    /// The rows cannot be read or written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The system has no randomness.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl Error {
    /// One stable word per kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownCredential => "unknown_credential",
            Self::Ended => "job_ended",
            Self::Store(error) => error.code(),
            Self::Randomness(_) => "no_randomness",
        }
    }
}

impl Hub {
    /// Over these rows. Nothing runs by itself until [`Hub::run`] is polled.
    pub fn new(records: Arc<dyn Records>, redis: Option<Link>, clock: SharedClock, options: Options) -> Self {
        Self(Arc::new(Inner {
            records,
            redis,
            clock,
            options,
            jobs: Mutex::default(),
            connected: AtomicBool::new(false),
            complete_since: AtomicU64::new(0),
            origin: Uuid::new_v4(),
        }))
    }

    /// Makes a job for the person's device, unless they have an active one.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Randomness`].
    pub async fn create(&self, user: UserId, model_type: &str) -> Result<Created, Error> {
        let credential = Credential::draw(JobId::new()).map_err(Error::Randomness)?;
        let new =
            NewJob { id: credential.job(), model_type: model_type.to_owned(), credential_hash: credential.hash() };
        match self.0.records.create_job(user, &new, self.now()).await? {
            store::Created::New(job) => {
                self.took(job.clone()).await;
                Ok(Created::New(job, credential))
            }
            store::Created::Exists(job) => Ok(Created::Active(job)),
        }
    }

    /// Takes a device's report. It is seen by subscribers of this process at once, and by all others within two seconds.
    ///
    /// # Errors
    /// [`Error::UnknownCredential`] and [`Error::Ended`], after which a device may stop reporting; [`Error::Store`].
    pub async fn report(&self, credential: &[u8], report: Report) -> Result<(), Error> {
        let credential = Credential::from_bytes(credential).ok_or(Error::UnknownCredential)?;
        let entry = self.find(Scope::Service, credential.job()).await?.ok_or(Error::UnknownCredential)?;
        let job = entry.job();
        if !credential.opens(&job.credential_hash) {
            return Err(Error::UnknownCredential);
        }
        if !job.status.is_active() {
            return Err(Error::Ended);
        }
        let round_id = report.round_id.or(job.round_id);
        let done_permille = report.done_permille.min(1_000);
        if job.status == JobStatus::Pending || round_id != job.round_id {
            // Rows must know which jobs a round has before it ends.
            let change = JobChange::Progress { done_permille, round_id };
            let job = self.change(job.id, &change).await?.ok_or(Error::UnknownCredential)?;
            return if job.status.is_active() { Ok(()) } else { Err(Error::Ended) };
        }
        if done_permille > job.done_permille {
            let further = TrainingJob { done_permille, updated_at: self.now(), ..(*job).clone() };
            entry.unwritten.store(true, Ordering::Release);
            offer(&entry.latest, further);
        }
        Ok(())
    }

    /// Ends the active jobs of a round; how many there were.
    ///
    /// # Errors
    /// [`Error::Store`]; calling again ends the rest.
    pub async fn round_ended(&self, round_id: Uuid, outcome: &Outcome) -> Result<usize, Error> {
        let change = match outcome {
            Outcome::Committed { version, metrics } => {
                JobChange::Completed { model_version: *version, metrics: metrics.clone() }
            }
            Outcome::Abandoned { reason } => JobChange::Failed { reason: reason.clone() },
        };
        let jobs = self.0.records.jobs_of_round(round_id).await?;
        for job in &jobs {
            self.change(job.id, &change).await?;
        }
        Ok(jobs.len())
    }

    /// Ends a job as failed, for a reason that a person reads. `None`: there is no such one in this scope.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn fail(&self, scope: Scope, id: JobId, reason: &str) -> Result<Option<Arc<TrainingJob>>, Error> {
        if self.status(scope, id).await?.is_none() {
            return Ok(None);
        }
        Ok(self.change(id, &JobChange::Failed { reason: reason.to_owned() }).await?.map(Arc::new))
    }

    /// A job as it is now, from memory or Redis where those can be believed. `None`: there is no such one in this scope.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn status(&self, scope: Scope, id: JobId) -> Result<Option<Arc<TrainingJob>>, Error> {
        Ok(self.find(scope, id).await?.map(|entry| entry.job()))
    }

    /// A job's events from now on. With the id of the last event seen, only what is newer; without, the present state
    /// first. `None`: there is no such job in this scope.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn subscribe(
        &self,
        scope: Scope,
        id: JobId,
        last_event_id: Option<u64>,
        idle: Duration,
    ) -> Result<Option<Subscription>, Error> {
        let entry = self.find(scope, id).await?;
        Ok(entry.map(|entry| Subscription::new(entry.latest.subscribe(), last_event_id, idle)))
    }

    /// Drops what memory holds of a person, here and in the other replicas; their streams end.
    pub async fn forget(&self, user: UserId) {
        let jobs = self.forget_here(user);
        self.tell_forget(user, &jobs).await;
    }

    /// Writes progress, reads again what may have changed elsewhere, ends stale jobs; until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let ticks = async {
            let mut ticks = tokio::time::interval(TICK);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            for count in 0_u64.. {
                ticks.tick().await;
                self.write_progress().await;
                self.read_again().await;
                if count % 60 == 0 {
                    self.evict(TRUST);
                    self.end_stale().await;
                }
            }
        };
        tokio::select! {
            () = ticks => {}
            () = self.listen() => {}
            () = stop.cancelled() => {}
        }
        self.write_progress().await;
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Entry>>> {
        // Every critical section is one operation on the map: a panic elsewhere leaves it whole.
        self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The job in memory; read from Redis or the rows when memory does not have it or cannot be believed.
    async fn find(&self, scope: Scope, id: JobId) -> Result<Option<Arc<Entry>>, Error> {
        let known = self.jobs().get(&id).cloned();
        let entry = match known {
            Some(entry) if self.is_believed(&entry) => entry,
            _ => match self.cached(id).await {
                Some(job) => self.keep(job),
                None => match self.0.records.job(scope, id).await? {
                    Some(job) => {
                        self.cache(&job).await;
                        self.keep(job)
                    }
                    None => return Ok(None),
                },
            },
        };
        let visible = match scope {
            Scope::User(user) => entry.latest.borrow().user_id == user,
            Scope::Service => true,
        };
        Ok(visible.then_some(entry))
    }

    fn is_believed(&self, entry: &Entry) -> bool {
        let known_at = entry.known_at.load(Ordering::Acquire);
        let connected = self.0.connected.load(Ordering::Acquire) && self.0.redis.as_ref().is_some_and(Link::is_up);
        let complete = !self.0.options.replicas
            || connected && known_at >= self.0.complete_since.load(Ordering::Acquire)
            || !entry.latest.borrow().status.is_active();
        let trust = if complete { TRUST } else { DISTRUST };
        Timestamp::from_millis(known_at).plus(trust) > self.now()
    }

    /// Puts a job read from the rows, or heard of, into memory; an older state than the one there changes nothing.
    fn keep(&self, job: TrainingJob) -> Arc<Entry> {
        let now = self.now().as_millis();
        let mut jobs = self.jobs();
        if let Some(entry) = jobs.get(&job.id) {
            let entry = entry.clone();
            drop(jobs);
            entry.known_at.store(now, Ordering::Release);
            offer(&entry.latest, job);
            return entry;
        }
        let full = jobs.len() >= CACHED;
        let id = job.id;
        let entry = Arc::new(Entry {
            latest: watch::Sender::new(Arc::new(job)),
            known_at: AtomicU64::new(now),
            unwritten: AtomicBool::new(false),
        });
        jobs.insert(id, entry.clone());
        drop(jobs);
        if full {
            self.evict(Duration::ZERO);
        }
        entry
    }

    /// A job has changed in the rows: memory, the cache and the other replicas hear of it.
    async fn took(&self, job: TrainingJob) {
        self.cache(&job).await;
        self.tell(&job).await;
        self.keep(job);
    }

    async fn change(&self, id: JobId, change: &JobChange) -> Result<Option<TrainingJob>, Error> {
        let changed = self.0.records.change_job(id, change, self.now()).await?;
        match &changed {
            Some(job) => self.took(job.clone()).await,
            None => drop(self.jobs().remove(&id)),
        }
        Ok(changed)
    }

    async fn write_progress(&self) {
        let unwritten = |entry: &&Arc<Entry>| entry.unwritten.load(Ordering::Acquire);
        let entries: Vec<_> = self.jobs().values().filter(unwritten).cloned().collect();
        for entry in entries {
            entry.unwritten.store(false, Ordering::Release);
            let job = entry.job();
            let change = JobChange::Progress { done_permille: job.done_permille, round_id: job.round_id };
            if let Err(error) = self.change(job.id, &change).await {
                entry.unwritten.store(true, Ordering::Release);
                tracing::warn!(code = error.code(), %error, "progress of training jobs waits for the database");
                return;
            }
        }
    }

    /// Reads what is subscribed to and may have changed unheard.
    async fn read_again(&self) {
        if !self.0.options.replicas {
            return;
        }
        let watched = |entry: &&Arc<Entry>| {
            entry.latest.receiver_count() > 0 && entry.job().status.is_active() && !self.is_believed(entry)
        };
        let mut entries: Vec<_> = self.jobs().values().filter(watched).cloned().collect();
        entries.sort_by_key(|entry| entry.known_at.load(Ordering::Acquire));
        entries.truncate(REREAD.0);
        stream::iter(entries)
            .for_each_concurrent(REREAD.1, |entry| async move {
                let id = entry.job().id;
                match self.0.records.job(Scope::Service, id).await {
                    Ok(Some(job)) => drop(self.keep(job)),
                    Ok(None) => drop(self.jobs().remove(&id)),
                    Err(error) => tracing::debug!(code = error.code(), %error, "a training job cannot be read again"),
                }
            })
            .await;
    }

    /// Jobs that nobody subscribes to and nobody has read for `age` leave memory.
    fn evict(&self, age: Duration) {
        let now = self.now();
        self.jobs().retain(|_, entry| {
            entry.latest.receiver_count() > 0
                || entry.unwritten.load(Ordering::Acquire)
                || Timestamp::from_millis(entry.known_at.load(Ordering::Acquire)).plus(age) > now
        });
    }

    async fn end_stale(&self) {
        let stale_after = self.0.options.stale_after;
        let millis = u64::try_from(stale_after.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp::from_millis(self.now().as_millis().saturating_sub(millis));
        let hours = stale_after.as_secs() / 3600;
        let change = JobChange::Failed { reason: format!("the device has not reported for {hours} hours") };
        let ended = async {
            for job in self.0.records.stale_jobs(before).await? {
                self.change(job.id, &change).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = ended.await {
            tracing::warn!(code = error.code(), %error, "stale training jobs cannot be ended at the moment");
        }
    }

    fn forget_here(&self, user: UserId) -> Vec<JobId> {
        let mut jobs = self.jobs();
        let theirs = jobs.extract_if(|_, entry| entry.latest.borrow().user_id == user);
        theirs.map(|(id, _)| id).collect()
    }
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("jobs", &self.jobs().len()).finish_non_exhaustive()
    }
}

/// Takes the state unless the present one is further; subscribers hear of it if it is an event of its own.
fn offer(latest: &watch::Sender<Arc<TrainingJob>>, job: TrainingJob) {
    latest.send_if_modified(|present| {
        let (old, new) = (event::event_id(present), event::event_id(&job));
        if new >= old {
            *present = Arc::new(job);
        }
        new > old
    });
}
