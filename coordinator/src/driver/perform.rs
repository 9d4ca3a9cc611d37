//! Effects that are more than rows. Each can be carried out again: it looks at the round first, and does nothing when its
//! time is over.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scale_privacy::adaptive::Split;
use scale_proto::ids::{ModelVersion, SessionId};
use scale_proto::limits;
use scale_secagg::config::{Mechanism, RoundConfig};
use scale_secagg::error::Refusal;
use scale_secagg::params::Profile;
use scale_secagg::roster::CERTIFICATE_LEN;
use scale_secagg::server::Closed;

use super::live::{Inner, Live};
use super::step::Change;
use super::upload::blocking;
use super::{Class, Error};
use crate::accumulate::sum_segments;
use crate::aggregate::{self, FollowingClip, MeanUpdate, Optimizer, Scale, Totals};
use crate::registry;
use crate::round::{Effect, Event, Failure, Phase, SessionStage, Summary};
use crate::rows::{ModelRow, Origin, TaskRow, TaskState};

/// How long the end of stage 2 waits for uploads that are whole and being added.
const DRAIN: Duration = Duration::from_secs(10);
/// First and longest pause between tries when storage fails.
const PAUSE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        match error {
            registry::Error::Blob(error) => Self::Blob(error),
            registry::Error::File(error) => Self::ModelFile(error),
            error @ registry::Error::Damaged(_) => Self::Bug(error.to_string()),
        }
    }
}

impl Inner {
    /// Carries an effect out in the background.
    pub(super) fn start_effect(self: &Arc<Self>, live: &Arc<Live>, effect: Effect) {
        match effect {
            // The rows and the answers to the devices say it all.
            Effect::Admit { .. } | Effect::Refuse { .. } | Effect::DropAbsent { .. } | Effect::StartTraining => {}
            Effect::CloseStage { .. }
            | Effect::ReleaseSum { .. }
            | Effect::CommitModel
            | Effect::EndSession { .. }
            | Effect::EndRound => {
                let (inner, live) = (Arc::clone(self), Arc::clone(live));
                self.work.spawn(async move { inner.perform(&live, effect).await });
            }
        }
    }

    /// Tries until it is done, until trying again cannot help, or until the coordinator stops.
    async fn perform(self: &Arc<Self>, live: &Arc<Live>, effect: Effect) {
        let mut pause = PAUSE[0];
        loop {
            let error = match self.try_perform(live, &effect).await {
                Ok(()) => return,
                Err(error) => error,
            };
            let round = live.id;
            match error.class() {
                Class::Unavailable | Class::Exhausted => {
                    tracing::warn!(%round, ?effect, %error, "storage fails; trying again");
                }
                _ => {
                    tracing::error!(%round, ?effect, %error, "failed; the round is abandoned");
                    let reason = "the coordinator could not continue; its log says why".to_owned();
                    if let Ok(mut state) = self.lock(live).await
                        && self.step(live, &mut state, Event::AbandonRequested { reason }, vec![]).await.is_ok()
                    {
                        return;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE[1]),
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn try_perform(self: &Arc<Self>, live: &Arc<Live>, effect: &Effect) -> Result<(), Error> {
        match *effect {
            Effect::CloseStage { session, stage } => self.close_stage(live, session, stage).await,
            Effect::ReleaseSum { session } => self.release_sum(live, session).await,
            Effect::CommitModel => self.commit_model(live).await,
            Effect::EndSession { session } => self.end_session(session).await,
            Effect::EndRound => self.end_round(live).await,
            Effect::Admit { .. } | Effect::Refuse { .. } | Effect::DropAbsent { .. } | Effect::StartTraining => Ok(()),
        }
    }

    async fn close_stage(
        self: &Arc<Self>,
        live: &Arc<Live>,
        session: SessionId,
        stage: SessionStage,
    ) -> Result<(), Error> {
        if stage == SessionStage::MaskedInput {
            let adder = self.lock(live).await?.sessions.get(&session).map(|secure| Arc::clone(&secure.adder));
            if let Some(adder) = adder {
                // What is not in by then is lost to the sum, as if it had come late.
                let _ = tokio::time::timeout(DRAIN, adder.drained()).await;
            }
        }
        let mut guard = self.lock(live).await?;
        let state = &mut *guard;
        let due = state.round.session(session).is_some_and(|progress| progress.stage == stage && progress.closing);
        let Some(secure) = state.sessions.get_mut(&session).filter(|_| due) else { return Ok(()) };
        let Some(protocol) = &mut secure.protocol else { return Ok(()) };
        let outcome = match protocol.close(1) {
            Ok(Closed::Roster { n, .. }) => Ok(n),
            Ok(Closed::Sharers(set) | Closed::Survivors(set) | Closed::Signers(set)) => Ok(set.len()),
            Ok(Closed::Released(_)) => return Err(Error::Bug("stage 4 closed out of turn".into())),
            Err(refusal) => Err(failure(&refusal)),
        };
        if stage == SessionStage::Keys && outcome.is_ok() {
            secure.number(session, &state.members);
        }
        let event = Event::StageClosed { session, stage, outcome };
        self.step(live, state, event, vec![]).await
    }

    async fn release_sum(self: &Arc<Self>, live: &Arc<Live>, session: SessionId) -> Result<(), Error> {
        let (protocol, config) = {
            let mut state = self.lock(live).await?;
            let due = state
                .round
                .session(session)
                .is_some_and(|progress| progress.stage == SessionStage::Unmask && progress.closing);
            let Some(secure) = state.sessions.get_mut(&session).filter(|_| due) else { return Ok(()) };
            // Paid before it is seen: whoever ends the round from here on finds the sum in the account.
            self.store
                .run_tx("unmask", move |tx| {
                    Box::pin(
                        async move { Ok::<_, Error>(tx.set_session_sum(session, Some(&sum_path(session))).await?) },
                    )
                })
                .await?;
            (secure.protocol.take(), Arc::clone(&secure.config))
        };
        let result = match protocol {
            Some(protocol) => self.unmask(live, session, protocol, &config).await,
            None => Err(Error::Blob(crate::blobs::BlobError::Unavailable("the session is being read again".into()))),
        };
        if result.is_err() {
            // The next try replays the session from its messages.
            self.lock(live).await?.stale = true;
        }
        result
    }

    async fn unmask(
        self: &Arc<Self>,
        live: &Arc<Live>,
        session: SessionId,
        mut protocol: scale_secagg::server::Session,
        config: &RoundConfig,
    ) -> Result<(), Error> {
        let segments = self
            .store
            .read("segments", move |tx| Box::pin(async move { Ok::<_, Error>(tx.segments(session).await?) }))
            .await?;
        let sum = sum_segments(&self.blobs, config, &segments).await?;
        let threads = self.settings.threads;
        let closed = blocking(move || {
            protocol.add_sum(sum)?;
            Ok::<_, Error>(protocol.close(threads))
        })
        .await?;
        let (outcome, changes) = match closed {
            Ok(Closed::Released(sum)) => {
                self.blobs.put_new(&sum_path(session), sum_to_bytes(&sum.vectors)).await?;
                (Ok(()), vec![])
            }
            Ok(_) => return Err(Error::Bug("another stage than 4 closed".into())),
            Err(refusal) => (Err(failure(&refusal)), vec![Change::NoSum(session)]),
        };
        let mut state = self.lock(live).await?;
        if state.round.phase.is_over() {
            // Ended in the meantime, and its sums are gone: this one came after.
            self.blobs.delete(&sum_path(session)).await?;
        }
        self.step(live, &mut state, Event::SumReleased { session, outcome }, changes).await
    }

    async fn commit_model(self: &Arc<Self>, live: &Arc<Live>) -> Result<(), Error> {
        // One writer of task rows at a time: the version that is published next is read here and written below.
        let _writing = self.tasks_lock.lock().await;
        let (round, task, base, config, members) = {
            let state = self.lock(live).await?;
            if state.round.phase != Phase::Committing {
                return Ok(());
            }
            let config = RoundConfig::decode(&state.row.config)?;
            (state.round.clone(), state.task.clone(), state.base.clone(), config, state.round.sessions.clone())
        };
        let lens: Vec<usize> = config.vectors.iter().map(|vector| vector.len as usize).collect();
        let mut totals = Totals::new(lens[0]);
        for progress in members.iter().filter(|progress| progress.stage == SessionStage::Released) {
            let damaged = || Error::Bug(format!("the released sum of session {} is missing", progress.id));
            let bytes = self.blobs.get(&sum_path(progress.id)).await?.ok_or_else(damaged)?;
            let vectors = sum_from_bytes(&bytes, &lens).ok_or_else(damaged)?;
            if let Err(error) = totals.add(&vectors, progress.survivors) {
                return self.fail_commit(live, &error).await;
            }
        }
        let weights = registry::weights(&self.blobs, &task.model, &base).await?;
        let state = registry::optimizer_state(&self.blobs, &base).await?;
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
            Err(error) => return self.fail_commit(live, &error).await,
        };
        let mut row = self.task(&round.task)?;
        let spent = self.spent(&row).await?;
        let version = ModelVersion(row.current_version.0 + 1);
        let now = self.now();
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
        let model: ModelRow = registry::write(&self.blobs, draft).await?;
        count_round(&mut row, version);
        let summary = Summary {
            loss: mean.statistics.mean_loss(),
            accuracy: mean.statistics.accuracy(),
            examples: u64::try_from(mean.statistics.examples).unwrap_or_default(),
            bytes_up_per_device: bytes_up(&config, &round),
            signal_to_noise: mean.signal_to_noise(&scale, config.mechanism.local_variance()),
        };
        let mut state = self.lock(live).await?;
        if state.round.phase != Phase::Committing {
            // An operator was faster; blobs that no row names harm nobody.
            return Ok(());
        }
        let event = Event::ModelCommitted { outcome: Ok((version, summary)) };
        self.step(live, &mut state, event, vec![Change::Model(Box::new((model, row)))]).await
    }

    async fn fail_commit(self: &Arc<Self>, live: &Arc<Live>, error: &aggregate::Error) -> Result<(), Error> {
        let outcome = Err(Failure::new(error.code(), error.to_string()));
        let mut state = self.lock(live).await?;
        self.step(live, &mut state, Event::ModelCommitted { outcome }, vec![]).await
    }

    async fn end_session(&self, session: SessionId) -> Result<(), Error> {
        for blob in self.blobs.list(&format!("segments/{session}")).await? {
            self.blobs.delete(&blob).await?;
        }
        let staging = self.staging.clone();
        blocking(move || staging.remove_session(session).map_err(crate::accumulate::Error::from)).await
    }

    async fn end_round(self: &Arc<Self>, live: &Arc<Live>) -> Result<(), Error> {
        let sessions: Vec<SessionId> = {
            let state = self.lock(live).await?;
            state.round.sessions.iter().map(|session| session.id).collect()
        };
        for session in sessions {
            self.blobs.delete(&sum_path(session)).await?;
        }
        self.forget_before(live);
        self.alarm.notify_one();
        Ok(())
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

fn failure(refusal: &Refusal) -> Failure {
    Failure::new(refusal.code(), refusal.to_string())
}

/// Where a released sum waits for the commit.
pub(super) fn sum_path(session: SessionId) -> String {
    format!("sums/{session}.bin")
}

/// Entries of a sum are below 2^31 in size: four bytes each, little-endian.
fn sum_to_bytes(vectors: &[Vec<i64>]) -> Bytes {
    let words = vectors.iter().flatten().map(|&entry| i32::try_from(entry).unwrap_or(i32::MAX));
    words.flat_map(i32::to_le_bytes).collect::<Vec<u8>>().into()
}

fn sum_from_bytes(bytes: &[u8], lens: &[usize]) -> Option<Vec<Vec<i64>>> {
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() || words.len() != lens.iter().sum::<usize>() {
        return None;
    }
    let mut words = words.iter().map(|word| i64::from(i32::from_le_bytes(*word)));
    Some(lens.iter().map(|&len| words.by_ref().take(len).collect()).collect())
}
