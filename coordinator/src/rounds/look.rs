//! The regular look at an open round: how many have answered, which deadlines have passed. Devices' calls only keep their
//! own rows; what follows from all of them together is decided here, by whichever process looks first.

use std::sync::Arc;
use std::time::Duration;

use scale_proto::ids::SessionId;

use super::active::ActiveRound;
use super::known::Rounds;
use super::step::decision;
use crate::error::Error;
use crate::round::{Event, SessionProgress, SessionStage};
use crate::rows::UploadState;

/// An open stage is looked at at least this often, whoever keeps its answers.
const OFTEN: Duration = Duration::from_millis(250);

impl Rounds {
    /// Looks at a round and makes the step that is due, if one is. `sending`: sessions of which an upload gets on here, that
    /// would close on silence. `count`: there may be answers that the round does not know of. How long nothing is due if
    /// nothing comes; `None`: only calls can change anything.
    ///
    /// # Errors
    /// [`Error::Store`]; [`Error::Bug`] when the round's rows are damaged.
    pub(crate) async fn look(
        self: &Arc<Self>,
        active: &ActiveRound,
        sending: &[SessionId],
        count: bool,
    ) -> Result<Option<Duration>, Error> {
        let view = active.view();
        if view.round.phase.is_over() {
            return Ok(None);
        }
        let now = self.times.now(&*self.context.clock, active.id);
        let passed = view.round.next_deadline().is_some_and(|deadline| deadline <= now);
        let mut events = Vec::new();
        // What closes now closes with those that have answered by now, whoever kept their answers.
        let count = count || passed;
        for progress in view.round.sessions.iter().filter(|progress| count && !progress.stage.is_over()) {
            events.extend(self.answers(active, progress).await?);
        }
        events.extend(sending.iter().map(|&session| Event::StillSending { session }));
        if !events.is_empty() || passed || self.times.is_off(&self.context, &view.row, &view.round) {
            let events: Arc<[Event]> = events.into();
            let look = decision::<(), _>(move |step| {
                let events = Arc::clone(&events);
                Box::pin(async move {
                    for event in events.iter() {
                        step.feed(event.clone()).await?;
                    }
                    step.feed(Event::Tick).await
                })
            });
            self.step("look", active.id, look).await?;
        }
        let view = active.view();
        let open = view.round.sessions.iter().any(|progress| !progress.stage.is_over());
        let now = self.times.now(&*self.context.clock, active.id);
        let deadline = view.round.next_deadline().map(|deadline| now.until(deadline));
        Ok(match (open, deadline) {
            (true, deadline) => Some(deadline.unwrap_or(OFTEN).min(OFTEN)),
            (false, deadline) => deadline.map(|deadline| deadline.min(super::time::LOOKED)),
        })
    }

    /// What the rows know of a session's open stage and the round does not.
    async fn answers(&self, active: &ActiveRound, progress: &SessionProgress) -> Result<Option<Event>, Error> {
        let (session, stage) = (progress.id, progress.stage);
        let Some(number) = stage.number() else { return Ok(None) };
        // A stage that is being closed takes no messages; whole uploads may still be committed.
        if progress.closing && stage != SessionStage::MaskedInput {
            return Ok(None);
        }
        let answered: u32 = self
            .context
            .store
            .read("answered", move |tx| {
                Box::pin(async move {
                    let count = match stage {
                        SessionStage::MaskedInput => tx.count_uploads(session, UploadState::Committed).await?,
                        _ => tx.count_messages(session, number).await?,
                    };
                    Ok::<_, Error>(count)
                })
            })
            .await?;
        if answered <= progress.answered_now() {
            return Ok(None);
        }
        let mut ready = false;
        if stage == SessionStage::Unmask {
            let fixed = self.fixed(active).await?;
            let secure = fixed.sessions.get(&session).ok_or(Error::UnknownSession)?;
            ready = match secure.whole(&self.context.store, stage).await {
                Ok(replica) => replica.ready(),
                // Another process has ended the session meanwhile.
                Err(Error::Abandoned { .. }) => {
                    self.read(active.id).await?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
        }
        Ok(Some(Event::StageAnswered { session, stage, answered, ready }))
    }
}
