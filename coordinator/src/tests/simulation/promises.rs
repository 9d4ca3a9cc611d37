//! What holds at the end of every list.

use std::collections::BTreeMap;

use scale_proto::ids::{DeviceId, ModelVersion, SessionId};

use super::world::{Summand, World};
use crate::aggregate::{Optimizer, Scale, Totals};
use crate::context::guard;
use crate::round::{Phase, Round, SessionProgress, SessionStage};
use crate::rounds::View;
use crate::rows::{ModelRow, RoundRow, SessionRow};
use crate::tests::fleet::{ENTRIES, task, task_id};
use crate::*;

/// Rows as they are at the end.
struct Rows {
    rounds: Vec<RoundRow>,
    sessions: Vec<SessionRow>,
    models: Vec<ModelRow>,
    left: Vec<String>,
    version: ModelVersion,
}

/// How rounds ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    pub(super) finished: u32,
    /// By reason.
    pub(super) abandoned: BTreeMap<String, u32>,
    /// Devices that gave up, by what they were told.
    pub(super) gave_up: BTreeMap<String, u32>,
}

impl World {
    /// How rounds ended, or what does not hold. Called when nothing runs any more.
    pub(super) async fn check(&self) -> Result<Ends, Vec<String>> {
        let mut wrong = std::mem::take(&mut guard(&self.heard).wrong);
        let rows = self.rows().await;
        let mut ends = Ends { gave_up: guard(&self.heard).gave_up.clone(), ..Ends::default() };
        for row in &rows.rounds {
            let id = row.id;
            let round = match View::of(row.clone()) {
                Ok(view) => view.round,
                Err(error) => {
                    wrong.push(error.to_string());
                    continue;
                }
            };
            match &round.phase {
                Phase::Finished { version, .. } => {
                    ends.finished += 1;
                    self.check_finished(&rows, &round, *version, &mut wrong).await;
                }
                Phase::Abandoned { code, .. } => {
                    *ends.abandoned.entry(code.clone()).or_default() += 1;
                    if rows.models.iter().any(|model| model.round == Some(id)) {
                        wrong.push(format!("round {id} was abandoned and has published"));
                    }
                }
                phase => wrong.push(format!("round {id} is not over: {phase:?}")),
            }
            for session in &round.sessions {
                check_account(&rows, session, &mut wrong);
            }
        }
        check_versions(&rows, &ends, &mut wrong);
        wrong.extend(rows.left);
        wrong.extend(self.objects_left().await);
        if wrong.is_empty() { Ok(ends) } else { Err(wrong) }
    }

    async fn rows(&self) -> Rows {
        let read = self.store.read("test", |tx| {
            Box::pin(async move {
                let name = task_id();
                let (rounds, models) = (tx.rounds_of(&name, 1_000).await?, tx.models(&name).await?);
                let (mut sessions, mut left) = (Vec::new(), Vec::new());
                for round in &rounds {
                    sessions.extend(tx.sessions_of(round.id).await?);
                }
                for SessionRow { id, .. } in &sessions {
                    let (uploads, segments) = (tx.uploads(*id).await?.len(), tx.segments(*id).await?.len());
                    if uploads + segments > 0 {
                        left.push(format!(
                            "{uploads} uploads and {segments} segments of session {id} are left in rows"
                        ));
                    }
                    // Those of stage 0 say later which keys were used.
                    for stage in 1..5 {
                        if tx.count_messages(*id, stage).await? > 0 {
                            left.push(format!("messages of stage {stage} of session {id} are left"));
                        }
                    }
                }
                if tx.next_work().await?.is_some() {
                    left.push("work is left".to_owned());
                }
                let task = tx.task(&name).await?.expect("it was created");
                Ok::<_, Error>(Rows { rounds, sessions, models, left, version: task.current_version })
            })
        });
        read.await.expect("rows")
    }

    async fn objects_left(&self) -> Vec<String> {
        let mut left = Vec::new();
        for folder in ["segments", "sums", "staging"] {
            left.extend(self.blobs.list(folder).await.expect("no error"));
        }
        if let Ok(staged) = std::fs::read_dir(self.folder.path().join("staging")) {
            left.extend(staged.map(|file| format!("{:?}", file.expect("an entry").file_name())));
        }
        left.into_iter().map(|name| format!("{name} is left")).collect()
    }

    async fn weights(&self, model: &ModelRow) -> Vec<f32> {
        let file = self.blobs.get(&model.blob).await.expect("no error").expect("a model's file");
        scale_proto::model_file::decode(&task("manual").model, &file).expect("a model file")
    }

    /// The model is the exact mean of what its survivors have sent: of all that were told so, and of others only where the
    /// answer was lost on the way.
    async fn check_finished(&self, rows: &Rows, round: &Round, version: ModelVersion, wrong: &mut Vec<String>) {
        let id = round.id;
        let model = |version| rows.models.iter().find(move |model| model.version == version);
        let Some((base, new)) = model(round.base_version).zip(model(version)) else {
            wrong.push(format!("round {id} has published version {version}, which is not there"));
            return;
        };
        if new.round != Some(id) || new.parent != Some(round.base_version) || new.cohort != round.survivors() {
            wrong.push(format!("version {version} is not what round {id} says it is"));
        }
        let released: Vec<_> =
            round.sessions.iter().filter(|session| session.stage == SessionStage::Released).collect();
        let [session] = released[..] else {
            wrong.push(format!("round {id} has {} released sessions of one", released.len()));
            return;
        };
        let (before, after) = (self.weights(base).await, self.weights(new).await);
        let (told, others) = self.uploads(session.id);
        let survivors = session.survivors as usize;
        if told.len() > survivors {
            wrong.push(format!(
                "session {}: {} devices were told that they count, {survivors} do",
                session.id,
                told.len()
            ));
        }
        let rest = survivors.saturating_sub(told.len());
        if !choices(others.len(), rest).any(|chosen| {
            let chosen = others.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, input)| input);
            mean(before.clone(), told.iter().chain(chosen)) == after
        }) {
            wrong.push(format!(
                "the sum of session {} is wrong: {survivors} survivors, {} told so, {} others",
                session.id,
                told.len(),
                others.len()
            ));
        }
    }

    /// What devices of a session sent that were told that it is in the sum, and what the others did.
    fn uploads(&self, session: SessionId) -> (Vec<Summand>, Vec<Summand>) {
        let heard = guard(&self.heard);
        let none = BTreeMap::<DeviceId, Summand>::new();
        let told = heard.acknowledged.get(&session).unwrap_or(&none);
        let sent = heard.sent.get(&session).unwrap_or(&none);
        let others = sent.iter().filter(|(device, _)| !told.contains_key(device)).map(|(_, input)| input.clone());
        (told.values().cloned().collect(), others.collect())
    }
}

/// A sum that is released is paid for, and none that could not be.
fn check_account(rows: &Rows, session: &SessionProgress, wrong: &mut Vec<String>) {
    let Some(row) = rows.sessions.iter().find(|row| row.id == session.id) else {
        wrong.push(format!("session {} has no row", session.id));
        return;
    };
    let (paid, released) = (row.sum_blob.is_some(), session.stage == SessionStage::Released);
    if row.stage != session.stage {
        wrong.push(format!(
            "session {} is {} in its row and {} in its round",
            row.id,
            row.stage.name(),
            session.stage.name()
        ));
    }
    if released && !paid {
        wrong.push(format!("the sum of session {} was released and is not in the account", row.id));
    }
    // It is paid for before the masks come off: an operator may end the round in between.
    let failed = session.failure.as_ref().is_some_and(|failure| failure.code != "round_abandoned");
    if paid && !released && (failed || session.answered[4] == 0) {
        let why = (&session.failure, session.answered, session.stage.name());
        wrong.push(format!("the account was charged for session {}, which had no sum to release: {why:?}", row.id));
    }
}

fn check_versions(rows: &Rows, ends: &Ends, wrong: &mut Vec<String>) {
    let mut versions: Vec<u64> = rows.models.iter().map(|model| model.version.0).collect();
    versions.sort_unstable();
    let expected: Vec<u64> = (1..=u64::from(ends.finished) + 1).collect();
    if versions != expected || rows.version.0 != versions.len() as u64 {
        wrong.push(format!(
            "{} rounds have published, the versions are {versions:?}, and {} is served",
            ends.finished, rows.version
        ));
    }
}

/// What the sum of these inputs makes of a model.
fn mean<'i>(mut weights: Vec<f32>, inputs: impl Iterator<Item = &'i Summand>) -> Vec<f32> {
    let config = task("manual");
    let mut totals = Totals::new(ENTRIES);
    for input in inputs {
        totals.add(input, 1).expect("the shape fits");
    }
    let grid = crate::noise::of(&config).expect("a small model").grid;
    let Ok(mean) = totals.mean(&Scale { clip: 1.0, grid, max_weight: 50, noisy: false }) else { return Vec::new() };
    Optimizer::new(config.aggregation, ENTRIES).step(&mut weights, &mean.update).expect("finite");
    weights
}

/// Every choice of `count` out of `of`, one bit each.
fn choices(of: usize, count: usize) -> impl Iterator<Item = u32> {
    (0..1_u32 << of).filter(move |chosen| chosen.count_ones() as usize == count)
}
