//! What nobody needs any more is deleted. Deleting twice is fine.

use std::collections::HashSet;
use std::sync::Arc;

use scale_proto::ids::SessionId;

use super::Effects;
use super::sums::sum_path;
use crate::error::Error;
use crate::rounds::{ActiveRound, Lease};

impl Effects {
    /// A session is over: its segments and what was staged. Its released sum stays for the commit.
    pub(super) async fn end_session(
        self: &Arc<Self>,
        active: &Arc<ActiveRound>,
        session: SessionId,
        lease: &Lease,
    ) -> Result<(), Error> {
        let fixed = self.rounds.fixed(active).await;
        if let Ok(fixed) = &fixed
            && let Some(secure) = fixed.sessions.get(&session)
        {
            secure.forget().await;
        }
        for blob in self.context.blobs.list(&format!("segments/{session}")).await? {
            self.context.blobs.delete(&blob).await?;
        }
        self.intake.staging.remove_session(session).await?;
        self.done(lease).await
    }

    /// A round is over: its sums.
    pub(super) async fn end_round(self: &Arc<Self>, active: &Arc<ActiveRound>, lease: &Lease) -> Result<(), Error> {
        let sessions: Vec<SessionId> = active.view().round.sessions.iter().map(|session| session.id).collect();
        for session in sessions {
            self.context.blobs.delete(&sum_path(session)).await?;
        }
        self.done(lease).await?;
        self.context.alarm.notify_one();
        Ok(())
    }

    /// Deletes what is staged for sessions that are over, where other processes stage as well: only what is a day old.
    ///
    /// # Errors
    /// [`Error::Blob`].
    pub(crate) async fn sweep_staged(&self) -> Result<(), Error> {
        Ok(self.intake.staging.retain(self.open_sessions()).await?)
    }

    /// Sessions of the rounds that are not over.
    fn open_sessions(&self) -> HashSet<SessionId> {
        let mut sessions = HashSet::new();
        for active in self.rounds.known() {
            let view = active.view();
            if !view.round.phase.is_over() {
                sessions.extend(view.round.sessions.iter().map(|session| session.id));
            }
        }
        sessions
    }

    /// Deletes what no open round needs: staged files, segments that no row names, sums. Only where this process has the
    /// rows and the blobs to itself: another one may be about to name what it has just written.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Blob`], [`Error::Folder`].
    pub(crate) async fn sweep(&self) -> Result<(), Error> {
        let sessions = self.open_sessions();
        let mut keep = HashSet::new();
        for &session in &sessions {
            let rows = self
                .context
                .store
                .read("segments", move |tx| Box::pin(async move { Ok::<_, Error>(tx.segments(session).await?) }));
            keep.extend(rows.await?.into_iter().map(|row| row.blob));
            keep.insert(sum_path(session));
        }
        for folder in ["segments", "sums"] {
            for blob in self.context.blobs.list(folder).await? {
                if !keep.contains(&blob) {
                    self.context.blobs.delete(&blob).await?;
                }
            }
        }
        Ok(self.intake.staging.retain(sessions).await?)
    }
}
