//! Servers die at moments of a round that are drawn at random, and come back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use scale_proto::wire::RoundInfo;
use scale_tests::process::Admin;
use tokio::task::JoinHandle;

use crate::world::{TASK, World, is_closed};

/// Moments of a round, in order, as the operator's API names them.
const MOMENTS: [&str; 8] =
    ["selecting", "keys", "shares", "masked_input", "agreement", "unmask", "committing", BETWEEN];
const BETWEEN: &str = "between rounds";
/// How long a moment is waited for: some are over before anybody sees them.
const WAIT: Duration = Duration::from_secs(20);
/// Longest time between the moment and the death, and between death and return.
const DELAY_MS: u64 = 60;
const AWAY_MS: u64 = 1_500;

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    Replica,
    Replicas,
    Database,
}

/// One death.
struct Kill {
    victim: Victim,
    moment: String,
    outcome: String,
}

/// Kills `count` times and lets the round that it hit end each time.
pub(crate) async fn kills(world: &mut World, victims: &[Victim], count: u64, seed: u64) -> anyhow::Result<Table> {
    let mut random = ChaCha20Rng::seed_from_u64(seed);
    let mut below = |most: u64| random.next_u64() % most;
    let watch = Watch::start(world.replicas.admin()?);
    let mut table = Table::default();
    for number in 0..count {
        let wanted = MOMENTS[below(MOMENTS.len() as u64) as usize];
        let victim = victims[below(victims.len() as u64) as usize];
        let asked = Instant::now();
        while watch.now().1 != wanted && asked.elapsed() < WAIT {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        tokio::time::sleep(Duration::from_millis(below(DELAY_MS))).await;
        let (round, moment) = watch.now();
        let away = Duration::from_millis(below(AWAY_MS));
        let replicas = world.replicas.count();
        match victim {
            Victim::Replica => {
                let one = below(replicas as u64) as usize;
                world.replicas.kill(one)?;
                tokio::time::sleep(away).await;
                world.replicas.restart(one).await?;
            }
            Victim::Replicas => {
                (0..replicas).try_for_each(|one| world.replicas.kill(one))?;
                tokio::time::sleep(away).await;
                for one in 0..replicas {
                    world.replicas.restart(one).await?;
                }
            }
            Victim::Database => {
                let cluster = world.cluster.as_mut().expect("a database that may die");
                cluster.kill()?;
                tokio::time::sleep(away).await;
                cluster.restart().await?;
            }
        }
        for one in 0..replicas {
            anyhow::ensure!(world.replicas.runs(one), "kill {number} ({victim:?}): replica {one} has ended by itself");
        }
        let same = |rounds: &[RoundInfo]| rounds.iter().find(|other| other.round_id == round).cloned();
        world
            .until("the round that was hit is over", |rounds| same(rounds).is_none_or(|round| is_closed(&round)))
            .await?;
        let outcome = same(&world.rounds().await?).map_or_else(|| "none".to_owned(), |round| round.phase);
        table.0.push(Kill { victim, moment, outcome });
    }
    Ok(table)
}

/// What the operator's API says of the newest round, as often as it answers.
struct Watch {
    seen: Arc<Mutex<(bytes::Bytes, String)>>,
    looking: JoinHandle<()>,
}

impl Watch {
    fn start(mut admin: Admin) -> Self {
        let seen = Arc::new(Mutex::new((bytes::Bytes::new(), BETWEEN.to_owned())));
        let shared = seen.clone();
        let looking = tokio::spawn(async move {
            loop {
                if let Ok(round) = admin.newest_round(TASK).await {
                    *shared.lock().unwrap_or_else(PoisonError::into_inner) = (round.round_id.clone(), moment(&round));
                }
                tokio::time::sleep(Duration::from_millis(8)).await;
            }
        });
        Self { seen, looking }
    }

    fn now(&self) -> (bytes::Bytes, String) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
    }
}

/// The earliest stage of a session that is open, or the round's phase.
fn moment(round: &RoundInfo) -> String {
    let open = |stage: &&str| round.sessions.iter().any(|session| session.stage == **stage);
    match round.phase.as_str() {
        "training" | "securing" => MOMENTS
            .iter()
            .find(|stage| open(stage))
            .map_or_else(|| "committing".to_owned(), |stage| (*stage).to_owned()),
        "finished" | "abandoned" => BETWEEN.to_owned(),
        phase => phase.to_owned(),
    }
}

/// Kills by moment.
#[derive(Default)]
pub(crate) struct Table(Vec<Kill>);

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut cells: BTreeMap<(&str, Victim, &str), u32> = BTreeMap::new();
        for kill in &self.0 {
            *cells.entry((&kill.moment, kill.victim, &kill.outcome)).or_default() += 1;
        }
        writeln!(f, "{:<16} {:>8} {:>9} {:>9} {:>10}", "moment", "replica", "replicas", "database", "abandoned")?;
        for moment in MOMENTS {
            let count = |victim: Option<Victim>, outcome: Option<&str>| {
                let fits = |kill: &&Kill| {
                    kill.moment == moment
                        && victim.is_none_or(|victim| kill.victim == victim)
                        && outcome.is_none_or(|outcome| kill.outcome == outcome)
                };
                self.0.iter().filter(fits).count()
            };
            let by = [Victim::Replica, Victim::Replicas, Victim::Database].map(|victim| count(Some(victim), None));
            let abandoned = count(None, Some("abandoned"));
            writeln!(f, "{moment:<16} {:>8} {:>9} {:>9} {abandoned:>10}", by[0], by[1], by[2])?;
        }
        write!(f, "{} kills", self.0.len())
    }
}
