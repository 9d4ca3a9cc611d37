//! Messages on their way into rows. Those that come at the same time are kept in one transaction: a database writes to
//! its disk once for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use scale_proto::ids::{RoundId, SessionId};
use tokio::sync::oneshot;

use crate::context::{Context, guard};
use crate::error::Error;
use crate::round::SessionStage;
use crate::rows::{Gate, Inserted, MessageRow, ParticipantStatus};
use crate::store::{StoreError, Tx};

/// Most messages of one transaction.
const MOST: usize = 256;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is kept, or was.
    Yes,
    /// Another message of this device is kept.
    Other,
    /// Its stage is not open, or is being closed.
    Closed,
    /// The device has left.
    Left,
}

/// The queue of messages and its one worker.
pub(super) struct Keeper {
    context: Arc<Context>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    running: bool,
}

struct Waiting {
    round: RoundId,
    stage: SessionStage,
    message: MessageRow,
    answer: oneshot::Sender<Result<Kept, StoreError>>,
}

impl Keeper {
    pub(super) fn new(context: Arc<Context>) -> Self {
        Self { context, queue: Mutex::default() }
    }

    /// Keeps a message if its stage is open. Once it is in the queue it is kept even if the caller hangs up.
    ///
    /// # Errors
    /// [`Error::Store`]; nothing is kept then.
    pub(super) async fn keep(
        self: &Arc<Self>,
        round: RoundId,
        stage: SessionStage,
        message: MessageRow,
    ) -> Result<Kept, Error> {
        if self.context.stop.is_cancelled() {
            return Err(Error::Stopping);
        }
        let (answer, kept) = oneshot::channel();
        let start = {
            let mut queue = guard(&self.queue);
            queue.waiting.push(Waiting { round, stage, message, answer });
            !std::mem::replace(&mut queue.running, true)
        };
        if start {
            let keeper = Arc::clone(self);
            self.context.tasks.spawn(async move { keeper.work().await });
        }
        kept.await.map_err(|_| Error::Stopping)?.map_err(Error::Store)
    }

    async fn work(&self) {
        loop {
            let batch = {
                let mut queue = guard(&self.queue);
                let count = queue.waiting.len().min(MOST);
                if count == 0 {
                    queue.running = false;
                    return;
                }
                queue.waiting.drain(..count).collect::<Vec<_>>()
            };
            let (rows, answers): (Vec<_>, Vec<_>) = batch
                .into_iter()
                .map(|waiting| ((waiting.round, waiting.stage, waiting.message), waiting.answer))
                .unzip();
            let rows: Arc<[(RoundId, SessionStage, MessageRow)]> = rows.into();
            let writing = Arc::clone(&rows);
            let result = self
                .context
                .store
                .run_tx("keep_messages", move |tx| {
                    let rows = Arc::clone(&writing);
                    Box::pin(async move { keep_all(tx, &rows).await })
                })
                .await;
            // Nobody listens any more: the caller has hung up.
            match result {
                Ok(kept) => {
                    rows.iter().for_each(|(round, ..)| self.context.look_at(*round));
                    answers.into_iter().zip(kept).for_each(|(answer, kept)| drop(answer.send(Ok(kept))));
                }
                Err(error) => answers.into_iter().for_each(|answer| drop(answer.send(Err(error.clone())))),
            }
        }
    }
}

async fn keep_all(tx: &mut Tx, rows: &[(RoundId, SessionStage, MessageRow)]) -> Result<Vec<Kept>, StoreError> {
    let mut open: HashMap<SessionId, Option<SessionStage>> = HashMap::new();
    // In one order for everybody, so that no two transactions wait for each other.
    let mut sessions: Vec<SessionId> = rows.iter().map(|(_, _, message)| message.session).collect();
    sessions.sort_unstable_by_key(|session| *session.as_bytes());
    sessions.dedup();
    for session in sessions {
        let held = tx.hold_session(session).await?.filter(|row| row.gate == Gate::Open);
        open.insert(session, held.map(|row| row.stage));
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_unstable_by_key(|&at| (*rows[at].2.session.as_bytes(), *rows[at].2.device.as_bytes()));
    let mut kept = vec![Kept::Closed; rows.len()];
    for at in order {
        let (round, stage, message) = &rows[at];
        if open.get(&message.session) != Some(&Some(*stage)) {
            continue;
        }
        let participant = tx.participant(*round, message.device).await?;
        kept[at] = match participant {
            Some(row) if row.status == ParticipantStatus::Admitted => match tx.insert_message(message).await? {
                Inserted::New | Inserted::Same => Kept::Yes,
                Inserted::Different => Kept::Other,
            },
            _ => Kept::Left,
        };
    }
    Ok(kept)
}
