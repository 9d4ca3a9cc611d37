//! Replicas, what they share, a fleet that takes part in their rounds, and an operator who looks.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use scale_proto::wire::RoundInfo;
use scale_tests::audit::{Audit, audit};
use scale_tests::database::{Cluster, on_shared_server};
use scale_tests::fleet::{Fleet, Plan};
use scale_tests::process::Admin;
use scale_tests::replicas::{Objects, Replicas, Shared};
use scale_tests::round::small_task;

pub(crate) const TASK: &str = "shared";
const BINARY: &str = env!("CARGO_BIN_EXE_coordinator-under-test");
/// Longest time that an operator waits for something to become true.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where the rows are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// In the data folder of the only coordinator.
    Embedded,
    /// On the server of all tests.
    Shared,
    /// On a server that the test may kill.
    Own,
}

pub(crate) struct World {
    pub(crate) replicas: Replicas,
    pub(crate) cluster: Option<Cluster>,
    pub(crate) fleet: Fleet,
    admin: Admin,
}

impl World {
    /// `window_ms`: how long every stage may wait; it closes when everybody has answered.
    pub(crate) async fn start(count: usize, rows: Rows, window_ms: u64, plan: &Plan) -> anyhow::Result<Self> {
        let mut shared = Shared { long_poll: Some(Duration::from_secs(3)), ..Shared::default() };
        let mut cluster = None;
        match rows {
            Rows::Embedded => {}
            Rows::Shared => shared.database = Some(on_shared_server(&format!("replicas_{}", unique()))?),
            Rows::Own => shared.database = Some(cluster.insert(Cluster::start().await?).url()),
        }
        if rows != Rows::Embedded {
            shared.blobs = objects()?;
        }
        let replicas = Replicas::start(BINARY, count, &shared).await?;
        let mut admin = replicas.admin()?;
        let mut task = small_task(plan.devices + plan.clients, window_ms);
        if let Some(timing) = &mut task.timing {
            (timing.training_ms, timing.grace_ms) = (window_ms, 5_000);
            // A whole client that was cut off comes back when it pleases: the others do not wait for it for long.
            timing.selecting_ms = if long() { 20_000 } else { 6_000 };
        }
        admin.create_task(TASK, task).await?;
        let token = admin.enroll_token().await?;
        let fleet = Fleet::start(&replicas.url(), &token, &TASK.parse()?, plan).await?;
        Ok(Self { replicas, cluster, fleet, admin })
    }

    /// The rounds so far, oldest first, as soon as somebody answers.
    pub(crate) async fn rounds(&mut self) -> anyhow::Result<Vec<RoundInfo>> {
        let asked = Instant::now();
        loop {
            match self.admin.rounds(TASK).await {
                Ok(rounds) => return Ok(rounds),
                Err(error) if asked.elapsed() > PATIENCE => return Err(error).context("no coordinator answers"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Waits until the rounds are as wanted.
    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&[RoundInfo]) -> bool) -> anyhow::Result<()> {
        let asked = Instant::now();
        loop {
            let rounds = self.rounds().await?;
            if wanted(&rounds) {
                return Ok(());
            }
            if asked.elapsed() > PATIENCE {
                let phases: Vec<String> =
                    rounds.iter().map(|round| format!("{} {:?}", round.phase, round.sessions)).collect();
                bail!("waited in vain until {what}: {phases:#?}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many rounds have finished.
    pub(crate) async fn finished(&mut self) -> anyhow::Result<usize> {
        Ok(finished(&self.rounds().await?))
    }

    /// Opens no more rounds, waits for the last, and looks at all of them.
    pub(crate) async fn end(mut self) -> anyhow::Result<(Audit, Replicas)> {
        self.admin.set_state(TASK, "paused").await?;
        self.until("no round is open", |rounds| rounds.iter().all(is_closed)).await?;
        let refusals = self.fleet.refusals();
        let parts = self.fleet.stop().await;
        let audit = audit(&mut self.admin, TASK, &parts).await?;
        println!("{audit:?}; refused and sent again: {:?}", refusals.counted());
        Ok((audit, self.replicas))
    }
}

pub(crate) fn is_closed(round: &RoundInfo) -> bool {
    matches!(round.phase.as_str(), "finished" | "abandoned")
}

pub(crate) fn finished(rounds: &[RoundInfo]) -> usize {
    rounds.iter().filter(|round| round.phase == "finished").count()
}

/// A number from the environment.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")),
        Err(_) => otherwise,
    }
}

/// Whether the long version was asked for.
pub(crate) fn long() -> bool {
    setting("SCALE_LONG", 0) != 0
}

/// SCALE_TEST_S3 names a server (`http://KEY:SECRET@HOST:PORT/BUCKET`); without it the replicas share a folder.
fn objects() -> anyhow::Result<Objects> {
    let Ok(text) = std::env::var("SCALE_TEST_S3") else { return Ok(Objects::folder()?) };
    let parts = || {
        let (who, place) = text.strip_prefix("http://")?.split_once('@')?;
        let ((id, secret), (host, bucket)) = (who.split_once(':')?, place.split_once('/')?);
        Some(Objects::S3 {
            endpoint: format!("http://{host}"),
            url: format!("s3://{bucket}/replicas-{}", unique()),
            keys: (id.to_owned(), secret.to_owned()),
        })
    };
    parts().context("SCALE_TEST_S3 is http://KEY:SECRET@HOST:PORT/BUCKET")
}

fn unique() -> String {
    static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let made = MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    format!("{}_{made}", std::process::id())
}
