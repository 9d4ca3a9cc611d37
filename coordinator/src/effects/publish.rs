//! The sums of a round become the next model.

use std::sync::Arc;

use scale_privacy::adaptive::Split;
use scale_proto::ids::ModelVersion;
use scale_proto::limits;
use scale_secagg::config::{Mechanism, RoundConfig};
use scale_secagg::params::Profile;
use scale_secagg::roster::CERTIFICATE_LEN;

use super::Effects;
use super::sums::{sum_from_bytes, sum_path};
use crate::aggregate::{self, FollowingClip, MeanUpdate, Optimizer, Scale, Totals};
use crate::blobs::BlobError;
use crate::context::blocking;
use crate::error::Error;
use crate::registry;
use crate::registry::account;
use crate::round::{Event, Failure, Phase, SessionStage, Summary};
use crate::rounds::{ActiveRound, Fixed, Lease, decision};
use crate::rows::{ModelRow, Origin, TaskRow, TaskState};

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        match error {
            registry::Error::Blob(error) => Self::Blob(error),
            registry::Error::File(error) => Self::ModelFile(error),
            error @ registry::Error::Damaged(_) => Self::Bug(error.to_string()),
        }
    }
}

impl Effects {
    pub(super) async fn commit_model(self: &Arc<Self>, active: &Arc<ActiveRound>, lease: &Lease) -> Result<(), Error> {
        self.rounds.read(active.id).await?;
        let round = active.view().round.clone();
        if round.phase != Phase::Committing {
            return self.done(lease).await;
        }
        let fixed = self.rounds.fixed(active).await?;
        let Fixed { task, base, config, .. } = &*fixed;
        let lens: Vec<usize> = config.vectors.iter().map(|vector| vector.len as usize).collect();
        let mut totals = Totals::new(lens[0]);
        for progress in round.sessions.iter().filter(|progress| progress.stage == SessionStage::Released) {
            let damaged = || Error::Bug(format!("the released sum of session {} is missing", progress.id));
            let bytes = self.context.blobs.get(&sum_path(progress.id)).await?.ok_or_else(damaged)?;
            let vectors = sum_from_bytes(&bytes, &lens).ok_or_else(damaged)?;
            if let Err(error) = totals.add(&vectors, progress.survivors) {
                return self.fail_commit(active, &error, lease).await;
            }
        }
        let weights = registry::weights(&self.context.blobs, &task.model, base).await?;
        let state = registry::optimizer_state(&self.context.blobs, base).await?;
        let following = task.privacy.clip_range().map(|range| FollowingClip { range, split: Split::of(config.grid) });
        let next_clip = following.map(|following| following.next(config.clip, &totals));
        let scale = Scale {
            clip: config.clip,
            grid: following.map_or(config.grid, |following| following.split.update()),
            max_weight: task.training.max_weight,
            noisy: config.mechanism != Mechanism::None,
        };
        let rule = task.aggregation;
        let made = blocking(move || Ok::<_, Error>(next_weights(&totals, &scale, rule, weights, &state))).await?;
        let (mean, weights, optimizer) = match made {
            Ok(made) => made,
            Err(error) => return self.fail_commit(active, &error, lease).await,
        };
        let (task_id, store) = (round.task.clone(), &self.context.store);
        let (mut row, spent) = store
            .read("spent", move |tx| {
                Box::pin(async move {
                    let unknown = || Error::UnknownTask(task_id.to_string());
                    let row = tx.task(&task_id).await?.ok_or_else(unknown)?;
                    let spent = account(tx, &row).await?;
                    Ok::<_, Error>((row, spent))
                })
            })
            .await?;
        let before = row.clone();
        let version = ModelVersion(row.current_version.0 + 1);
        let now = self.context.now();
        let draft = registry::Draft {
            task: &round.task,
            spec: &task.model,
            version,
            parent: Some(round.base_version),
            round: Some(round.id),
            cohort: mean.devices,
            origin: Origin::Round,
            clip: next_clip,
            spent,
            weights: &weights,
            optimizer,
            created_at: now,
        };
        let model: ModelRow = registry::write(&self.context.blobs, draft).await?;
        count_round(&mut row, version);
        let summary = Summary {
            loss: mean.statistics.mean_loss(),
            accuracy: mean.statistics.accuracy(),
            examples: u64::try_from(mean.statistics.examples).unwrap_or_default(),
            bytes_up_per_device: bytes_up(config, &round),
            signal_to_noise: mean.signal_to_noise(&scale, config.mechanism.local_variance()),
        };
        let (held, rows) = (lease.clone(), Arc::new((model, row, before)));
        let publish = decision::<(), _>(move |step| {
            let (lease, rows) = (held.clone(), Arc::clone(&rows));
            Box::pin(async move {
                let (model, row, before) = &*rows;
                // The version and the account were read before: if the task was changed since, all of it is made again.
                if step.tx.lock_task(&row.id).await?.as_ref() != Some(before) {
                    return Err(Error::Blob(BlobError::Unavailable("the task was changed meanwhile".into())));
                }
                step.done_with(&lease).await?;
                if step.round.phase != Phase::Committing {
                    // An operator was faster; blobs that no row names harm nobody.
                    return Ok(());
                }
                step.publish(model, row.clone()).await?;
                step.feed(Event::ModelCommitted { outcome: Ok((version, summary)) }).await
            })
        });
        self.rounds.step("publish", active.id, publish).await
    }

    async fn fail_commit(&self, active: &ActiveRound, error: &aggregate::Error, lease: &Lease) -> Result<(), Error> {
        let outcome = Err(Failure::new(error.code(), error.to_string()));
        self.report(active, "publish", lease, Event::ModelCommitted { outcome }).await
    }
}

/// The new weights and the optimizer's state after them.
fn next_weights(
    totals: &Totals,
    scale: &Scale,
    rule: scale_proto::task::Aggregation,
    mut weights: Vec<f32>,
    state: &[u8],
) -> Result<(MeanUpdate, Vec<f32>, Vec<u8>), aggregate::Error> {
    let mean = totals.mean(scale)?;
    let mut optimizer = Optimizer::from_bytes(rule, weights.len(), state)?;
    optimizer.step(&mut weights, &mean.update)?;
    Ok((mean, weights, optimizer.to_bytes()))
}

/// A round has published: the task serves its model, and is finished when that was the last one.
fn count_round(row: &mut TaskRow, version: ModelVersion) {
    row.current_version = version;
    row.finished_rounds += 1;
    if row.config.max_rounds.is_some_and(|most| row.finished_rounds >= most) {
        row.state = TaskState::Finished;
    }
}

/// Payload bytes that a survivor of the first released session sent, all stages together.
fn bytes_up(config: &RoundConfig, round: &crate::round::Round) -> u64 {
    let released = round.sessions.iter().find(|session| session.stage == SessionStage::Released);
    let n = released.map_or(0, |session| session.answered[0]);
    let complete = n <= limits::SESSION_MAX_COMPLETE;
    let parameters = scale_secagg::params::parameters(n, config.profile, config.class).ok();
    let k = parameters.map_or_else(|| if complete { n.saturating_sub(1) } else { 0 }, |parameters| parameters.k);
    let sharers = released.map_or(0, |session| session.answered[1]).saturating_sub(1).min(k);
    let certificate = if config.profile == Profile::Malicious { CERTIFICATE_LEN as u64 } else { 0 };
    192 + certificate + 80 * u64::from(k) + 32 + config.masked_input_len() + 64 + 32 * u64::from(sharers)
}
