//! The masks come off a session's sum.

use std::sync::Arc;

use scale_proto::ids::SessionId;
use scale_secagg::server::Closed;

use super::Effects;
use super::sums::{sum_path, sum_to_bytes};
use crate::context::blocking;
use crate::error::Error;
use crate::intake::sum_segments;
use crate::round::{Event, SessionStage};
use crate::rounds::{ActiveRound, Lease, decision, failure};

impl Effects {
    pub(super) async fn release_sum(
        self: &Arc<Self>,
        active: &Arc<ActiveRound>,
        session: SessionId,
        lease: &Lease,
    ) -> Result<(), Error> {
        self.rounds.read(active.id).await?;
        let due = active
            .view()
            .round
            .session(session)
            .is_some_and(|progress| progress.stage == SessionStage::Unmask && progress.closing);
        if !due {
            return self.done(lease).await;
        }
        let fixed = self.rounds.fixed(active).await?;
        let secure = fixed.sessions.get(&session).ok_or(Error::UnknownSession)?;
        // Paid before it is seen: whoever ends the round from here on finds the sum in the account.
        let held = lease.clone();
        let begun = self
            .context
            .store
            .run_tx("unmask", move |tx| {
                let held = held.clone();
                Box::pin(async move {
                    // Whoever has lost the work finds the rows of another time.
                    if !tx.holds_work(&held.id, held.token).await? {
                        return Err(Error::LeaseLost);
                    }
                    // Whoever had this work before may have ended the session meanwhile, and taken back what was paid.
                    let row = tx.hold_session(session).await?.ok_or(Error::UnknownSession)?;
                    let Some(stage) = row.stage.number().filter(|_| row.stage == SessionStage::Unmask) else {
                        return Ok::<_, Error>(None);
                    };
                    // Where nobody has revealed anything there is nothing to see. The stage takes no message any more.
                    let paid = tx.count_messages(session, stage).await? > 0;
                    if paid {
                        tx.set_session_sum(session, Some(&sum_path(session))).await?;
                    }
                    Ok(Some((paid, tx.segments(session).await?)))
                })
            })
            .await?;
        let Some((paid, segments)) = begun else { return self.done(lease).await };
        let sum = sum_segments(&self.context.blobs, &fixed.config, &segments).await?;
        let mut protocol = secure.take(&self.context.store).await?;
        let threads = self.context.settings.threads;
        let closed = blocking(move || {
            protocol.add_sum(sum)?;
            Ok::<_, Error>(protocol.close(threads))
        })
        .await?;
        let outcome = match closed {
            Ok(Closed::Released(_)) if !paid => return Err(Error::Bug("a sum came off that was not paid for".into())),
            Ok(Closed::Released(sum)) => {
                self.context.blobs.put_new(&sum_path(session), sum_to_bytes(&sum.vectors)).await?;
                Ok(())
            }
            Ok(_) => return Err(Error::Bug("another stage than 4 closed".into())),
            Err(refusal) => Err(failure(&refusal)),
        };
        let held = lease.clone();
        let report = decision::<bool, _>(move |step| {
            let (lease, outcome) = (held.clone(), outcome.clone());
            Box::pin(async move {
                step.done_with(&lease).await?;
                if outcome.is_err() {
                    // Nobody has seen it.
                    step.tx.set_session_sum(session, None).await?;
                }
                let late = step.round.phase.is_over();
                step.feed(Event::SumReleased { session, outcome }).await?;
                Ok(late)
            })
        });
        let late = match self.rounds.step("release_sum", active.id, report).await {
            // Whoever has the work now writes the same sum; once the round is over, nobody deletes this one.
            Err(Error::LeaseLost) => {
                self.rounds.read(active.id).await?;
                active.view().round.phase.is_over()
            }
            late => late?,
        };
        if late {
            // The round ended in the meantime, and its sums are gone: this one came after.
            self.context.blobs.delete(&sum_path(session)).await?;
        }
        Ok(())
    }
}
