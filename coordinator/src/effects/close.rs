//! The end of a stage: what it has taken becomes final, and the session moves on.

use std::sync::Arc;
use std::time::Duration;

use scale_proto::ids::SessionId;

use super::Effects;
use crate::error::Error;
use crate::round::{Event, SessionStage};
use crate::rounds::{ActiveRound, Lease, SecureSession};
use crate::rows::UploadState;

/// How long the end of stage 2 waits for uploads that are whole and being added.
const DRAIN: Duration = Duration::from_secs(10);
/// How long it waits for other processes to add theirs, before it adds them itself.
const ADOPT: Duration = Duration::from_secs(2);
/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(50);

impl Effects {
    pub(super) async fn close_stage(
        self: &Arc<Self>,
        active: &Arc<ActiveRound>,
        session: SessionId,
        stage: Option<u8>,
        lease: &Lease,
    ) -> Result<(), Error> {
        let stage = stage.and_then(|number| SessionStage::OPEN.get(usize::from(number)).copied());
        let stage = stage.ok_or_else(|| Error::Bug(format!("work {} names no stage", lease.id)))?;
        // As fresh as the work: another process may have made the step.
        self.rounds.read(active.id).await?;
        let due = |active: &ActiveRound| {
            active.view().round.session(session).is_some_and(|progress| progress.stage == stage && progress.closing)
        };
        if !due(active) {
            return self.done(lease).await;
        }
        let fixed = self.rounds.fixed(active).await?;
        let secure = fixed.sessions.get(&session).ok_or(Error::UnknownSession)?;
        if stage == SessionStage::MaskedInput {
            self.drain(active, secure).await?;
            self.freeze(session, stage).await?;
        }
        let outcome = secure.close(&self.context.store, stage).await?;
        self.report(active, "close_stage", lease, Event::StageClosed { session, stage, outcome }).await
    }

    /// Waits for uploads that were whole in time. What is not in by then is lost to the sum, as if it had come late.
    async fn drain(&self, active: &Arc<ActiveRound>, secure: &Arc<SecureSession>) -> Result<(), Error> {
        let session = secure.id;
        let began = tokio::time::Instant::now();
        let mut adopted = false;
        while began.elapsed() < DRAIN {
            let _ = tokio::time::timeout(DRAIN.saturating_sub(began.elapsed()), self.intake.drained(session)).await;
            let left = self.context.store.read("left", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.count_uploads(session, UploadState::Complete).await?) })
            });
            if left.await? == 0 {
                return Ok(());
            }
            let alone = !self.context.settings.replicas;
            if !adopted && (alone || began.elapsed() >= ADOPT) {
                adopted = true;
                self.intake.adopt(active, secure).await?;
                continue;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Nothing is added any more: what is committed now is what the session is closed with.
    async fn freeze(&self, session: SessionId, stage: SessionStage) -> Result<(), Error> {
        self.context
            .store
            .run_tx("freeze", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.freeze_session(session, stage).await?) })
            })
            .await
    }
}
