//! The REST facade's place in the coordinator: opens people's rows, and brings models and the news of rounds to it.
//!
//! ```text
//! rounds ─Watch─▶ News ─▶ inbox ─▶ Hub          what devices report, and how their round ended
//! facade ─LatestModel─▶ Coordinator             what `models/latest` answers
//! facade ─MintEnrollment─▶ Authority            what `devices/enrollment` answers
//! ```
//!
//! News are a shortcut, and one that is full drops them: once a minute jobs whose round is over are looked up.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use scale_proto::answer::Progress;
use scale_proto::ids::{RoundId, TaskId};
use scale_proto::time::Timestamp;
use scale_records::store::{self, Location, Records};
use scale_rest::Config;
use scale_rest::auth::{DevIssuer, Verifier};
use scale_rest::config::EnrollmentConfig;
use scale_rest::http::{Api, EnrollmentError, EnrollmentToken, LatestModel, MintEnrollment, Model, ModelError};
use scale_rest::limit::Limiter;
use scale_rest::redis::Link;
use scale_rest::training::{Hub, Options, Outcome, Report};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::files;
use scale_clock::SharedClock;
use scale_coordinator::auth::secrets::random;
use scale_coordinator::auth::{Authority, Minted};
use scale_coordinator::round::{Phase, Round};
use scale_coordinator::{Coordinator, Error, Watch};

/// News that wait for the facade.
const INBOX: usize = 4096;
/// Between two looks for jobs whose round is over, and for enrollment tokens that no longer count.
const LOOK: Duration = Duration::from_secs(60);

/// Why the facade cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum FacadeError {
    /// People's rows.
    #[error("the REST API's database: {0}")]
    Store(#[from] store::Error),
    /// Whose tokens are believed.
    #[error("rest.auth: {0}")]
    Auth(#[from] scale_rest::auth::AuthSetupError),
    /// The development issuer's key.
    #[error("the key that signs people's tokens: {0}")]
    Issuer(#[from] scale_rest::auth::DevIssuerError),
    /// Redis.
    #[error("rest.redis_url: {0}")]
    Redis(#[from] scale_rest::redis::LinkSetupError),
}

/// Where people's rows are with these settings.
pub fn location(config: &Config, folder: &Path) -> Location {
    match &config.database_url {
        Some(url) => Location::Postgres(url.expose().to_owned(), config.database_max_connections),
        None => Location::Sqlite(folder.join(files::PEOPLE_DATABASE)),
    }
}

/// The facade, opened.
pub struct Facade {
    /// What its routes stand on.
    pub api: Api,
    /// Whether its tokens come from the development issuer.
    pub development: bool,
    records: Arc<dyn Records>,
    stop: CancellationToken,
    work: TaskTracker,
}

impl Facade {
    /// Opens rows and keys, and begins to follow `inbox`.
    ///
    /// # Errors
    /// What cannot be opened, and what to do about it.
    pub async fn open(
        config: &Config,
        folder: &Path,
        coordinator: &Coordinator,
        authority: &Arc<Authority>,
        model_url_ttl: Duration,
        clock: &SharedClock,
        inbox: Inbox,
    ) -> Result<Self, FacadeError> {
        let development = !config.auth.is_configured();
        let verifier = if development {
            Verifier::development(&DevIssuer::load_or_create(&folder.join(files::PEOPLE_ISSUER))?)
        } else {
            Verifier::new(&config.auth)?
        };
        let redis = config.redis_url.as_ref().map(|url| Link::open(url.expose())).transpose()?;
        let records = store::open(&location(config, folder)).await?;
        let options = Options {
            replicas: config.database_url.is_some() && redis.is_some(),
            stale_after: Duration::from_secs(config.job_stale_h * 3600),
        };
        let hub = Hub::new(records.clone(), redis.clone(), clock.clone(), options);
        let (stop, work) = (CancellationToken::new(), TaskTracker::new());
        let running = hub.clone();
        let stopping = stop.clone();
        work.spawn(async move { running.run(stopping).await });
        let follower = Follower {
            hub: hub.clone(),
            records: records.clone(),
            coordinator: coordinator.clone(),
            clock: clock.clone(),
        };
        let stopping = stop.clone();
        work.spawn(async move {
            tokio::select! {
                () = follower.follow(inbox) => {}
                () = stopping.cancelled() => {}
            }
        });
        let models = Models { coordinator: coordinator.clone(), url_ttl: model_url_ttl, clock: clock.clone() };
        let api = Api {
            records: records.clone(),
            verifier,
            limiter: Limiter::new(&config.limit, redis),
            hub,
            models: Arc::new(models),
            enrollment: Arc::new(Enrollments { authority: authority.clone(), clock: clock.clone() }),
            clock: clock.clone(),
            config: config.clone(),
        };
        Ok(Self { api, development, records, stop, work })
    }

    /// Keeps what is not kept yet and closes people's rows.
    pub async fn close(self) {
        self.stop.cancel();
        self.work.close();
        self.work.wait().await;
        self.records.close().await;
    }
}

impl std::fmt::Debug for Facade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Facade").field("development", &self.development).finish_non_exhaustive()
    }
}

/// The rounds' news on their way to the facade.
#[derive(Debug)]
struct News(mpsc::Sender<Message>);

/// Where the rounds' news arrive.
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Message>);

/// A way for news of rounds; with `enabled` false it tells nobody.
pub fn watch(enabled: bool) -> (Arc<dyn Watch>, Inbox) {
    let (sender, receiver) = mpsc::channel(INBOX);
    let watch: Arc<dyn Watch> = if enabled { Arc::new(News(sender)) } else { Arc::new(()) };
    (watch, Inbox(receiver))
}

#[derive(Debug)]
enum Message {
    Progress(Progress),
    Over(RoundId, Outcome),
}

impl Watch for News {
    fn progress(&self, progress: &Progress) {
        if progress.job.is_some() {
            // Full: the next report says more.
            let _ = self.0.try_send(Message::Progress(progress.clone()));
        }
    }

    fn round_over(&self, id: RoundId, round: &Round) {
        if let Some(outcome) = outcome(round) {
            // Full: the look once a minute finds it.
            let _ = self.0.try_send(Message::Over(id, outcome));
        }
    }
}

/// How a round ended, in the facade's words; `None`: it goes on.
fn outcome(round: &Round) -> Option<Outcome> {
    match &round.phase {
        Phase::Finished { version, .. } => {
            let known = round.summary.as_ref().filter(|summary| summary.examples > 0);
            let metrics = known.map(|summary| [("accuracy", summary.accuracy), ("loss", summary.loss)]);
            let finite = metrics.into_iter().flatten().filter(|(_, value)| value.is_finite());
            let metrics = finite.map(|(name, value)| (name.to_owned(), value)).collect();
            Some(Outcome::Committed { version: version.0, metrics })
        }
        Phase::Abandoned { sentence, .. } => Some(Outcome::Abandoned { reason: sentence.clone() }),
        Phase::Selecting { .. } | Phase::Training | Phase::Securing | Phase::Committing => None,
    }
}

/// Brings news to the hub.
struct Follower {
    hub: Hub,
    records: Arc<dyn Records>,
    coordinator: Coordinator,
    clock: SharedClock,
}

impl Follower {
    async fn follow(&self, mut inbox: Inbox) {
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = inbox.0.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                _ = looks.tick() => {
                    self.look().await;
                    forget_enrollments(&*self.records, self.clock.now()).await;
                }
            }
        }
    }

    async fn take(&self, message: Message) {
        let taken = match &message {
            Message::Progress(Progress { round, done_permille, job: Some(job) }) => {
                let report = Report {
                    // At most 1000, as the wire checks.
                    done_permille: u16::try_from(*done_permille).unwrap_or(1000),
                    round_id: Some(round.uuid()),
                };
                self.hub.report(job.as_bytes(), report).await
            }
            Message::Progress(_) => Ok(()),
            Message::Over(round, outcome) => self.hub.round_ended(round.uuid(), outcome).await.map(drop),
        };
        if let Err(error) = taken {
            tracing::debug!(code = error.code(), %error, "news of a training job are not kept");
        }
    }

    /// Ends the jobs whose round ended unheard: the process was killed in between, or the inbox was full.
    async fn look(&self) {
        let before = self.clock.now().as_millis().saturating_sub(LOOK.as_millis() as u64);
        let quiet = self.records.stale_jobs(Timestamp::from_millis(before)).await;
        let mut rounds: Vec<_> = quiet.unwrap_or_default().iter().filter_map(|job| job.round_id).collect();
        rounds.sort();
        rounds.dedup();
        for id in rounds {
            let Ok(round) = RoundId::try_from(id.as_bytes().as_slice()) else { continue };
            let ended = match self.coordinator.get_round(round).await {
                Ok(info) => outcome(&info.round),
                Err(Error::UnknownRound) => {
                    Some(Outcome::Abandoned { reason: "its round is not known any more".into() })
                }
                Err(_) => None,
            };
            if let Some(ended) = ended {
                self.take(Message::Over(round, ended)).await;
            }
        }
    }
}

/// Removes the rows of enrollment tokens that no longer count: they are about people, and of no use.
async fn forget_enrollments(records: &dyn Records, now: Timestamp) {
    let day = u64::try_from(EnrollmentConfig::DAY.as_millis()).unwrap_or(u64::MAX);
    let until = Timestamp::from_millis(now.as_millis().saturating_sub(day));
    if let Err(error) = records.forget_enrollments(until).await {
        tracing::debug!(code = error.code(), %error, "rows of old enrollment tokens stay for now");
    }
}

/// Enrollment tokens for people.
struct Enrollments {
    authority: Arc<Authority>,
    clock: SharedClock,
}

impl MintEnrollment for Enrollments {
    fn mint(&self, ttl: Duration) -> Result<EnrollmentToken, EnrollmentError> {
        // Random, so that it says nothing about the person: once the token is used, it is known by this id.
        let id = random().map_err(|error| EnrollmentError(error.to_string()))?;
        let Minted { token, expires_at } = self.authority.mint_enroll_one(id, ttl, self.clock.now());
        Ok(EnrollmentToken { token, expires_at })
    }
}

/// The coordinator's models, as the facade shows them.
struct Models {
    coordinator: Coordinator,
    url_ttl: Duration,
    clock: SharedClock,
}

#[async_trait]
impl LatestModel for Models {
    async fn tasks(&self) -> Result<Vec<String>, ModelError> {
        let tasks = self.coordinator.list_tasks().await.map_err(unreadable)?;
        Ok(tasks.into_iter().map(|task| task.task.to_string()).collect())
    }

    async fn latest(&self, task: &str) -> Result<Option<Model>, ModelError> {
        let Ok(task) = task.parse::<TaskId>() else { return Ok(None) };
        let now = self.clock.now();
        match self.coordinator.get_model_info(&task, None).await {
            Ok(found) => Ok(Some(Model {
                task: found.task.to_string(),
                version: found.version.0,
                sha256: found.digest.0,
                url: found.url,
                url_expires: now.plus(self.url_ttl),
                size_bytes: found.bytes,
                created_at: found.created_at,
            })),
            Err(Error::UnknownTask(_) | Error::UnknownModel { .. }) => Ok(None),
            Err(error) => Err(unreadable(error)),
        }
    }
}

fn unreadable(error: Error) -> ModelError {
    ModelError(error.to_string())
}

#[cfg(test)]
mod tests {
    use scale_records::domain::{Scope, UserId};
    use scale_records::store::{Allowance, Granted};

    use super::*;
    use scale_clock::MockClock;
    use scale_coordinator::auth::Enrolls;

    #[tokio::test]
    async fn rows_of_enrollment_tokens_are_removed_when_they_no_longer_count() {
        let records = store::open(&Location::Memory).await.unwrap();
        let start = Timestamp::from_millis(1_700_000_000_000);
        let allowance = Allowance { most: 5, within: EnrollmentConfig::DAY };
        let (early, late) = (UserId::new(), UserId::new());
        for (user, at) in [(early, start), (late, start.plus(LOOK))] {
            assert_eq!(records.grant_enrollment(user, allowance, at).await.unwrap(), Granted::Now);
        }
        let left = async || {
            let count = async |user| records.enrollments(Scope::User(user), 9).await.unwrap().len();
            (count(early).await, count(late).await)
        };
        let end = start.plus(EnrollmentConfig::DAY);
        forget_enrollments(&*records, Timestamp::from_millis(end.as_millis() - 1)).await;
        assert_eq!(left().await, (1, 1), "a day is not over");
        forget_enrollments(&*records, end).await;
        assert_eq!(left().await, (0, 1));
    }

    #[test]
    fn a_persons_token_enrolls_one_key_and_no_two_are_alike() {
        let clock = MockClock::at(Timestamp::from_millis(1_700_000_000_000));
        let authority = Arc::new(Authority::new(&[1; 32]));
        let shared: SharedClock = Arc::new(clock.clone());
        let enrollments = Enrollments { authority: authority.clone(), clock: shared.clone() };
        let ten_minutes = Duration::from_secs(600);
        let mut ids = std::collections::HashSet::new();
        for _ in 0..3 {
            let minted = enrollments.mint(ten_minutes).unwrap();
            assert_eq!(minted.expires_at, shared.now().plus(ten_minutes));
            let Enrolls::One { id, .. } = authority.check_enroll(&minted.token, shared.now()).unwrap() else {
                panic!("it enrolls any number of keys");
            };
            ids.insert(id);
            assert!(!format!("{minted:?}").contains(&minted.token));
        }
        assert_eq!(ids.len(), 3);
    }
}
