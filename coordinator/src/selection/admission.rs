//! Devices on their way into a round. Those that come at the same time are admitted in one step: a round's row is written
//! once for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use scale_proto::ids::RoundId;
use tokio::sync::oneshot;

use crate::context::guard;
use crate::error::Error;
use crate::parts::Caller;
use crate::round::{Event, Refused};
use crate::rounds::{Rounds, Step, decision};
use crate::rows::{ParticipantRow, ParticipantStatus};

/// Most devices of one step.
const MOST: usize = 256;

/// What became of a device that wants to take part.
#[derive(Clone, Copy, Debug)]
pub(super) enum Admitted {
    /// It is in, or was.
    In,
    /// It was in and has left.
    HasLeft,
    /// Its id or its key is another device's.
    WrongIdentity,
    /// Not this time.
    Refused(Refused),
}

/// The queues, by round.
pub(super) struct Admissions {
    rounds: Arc<Rounds>,
    queues: Mutex<HashMap<RoundId, Vec<Waiting>>>,
}

struct Waiting {
    caller: Caller,
    answer: oneshot::Sender<Result<Admitted, Error>>,
}

impl Admissions {
    pub(super) fn new(rounds: Arc<Rounds>) -> Self {
        Self { rounds, queues: Mutex::default() }
    }

    /// Admits a device, or says why not.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::Store`].
    pub(super) async fn admit(self: &Arc<Self>, round: RoundId, caller: &Caller) -> Result<Admitted, Error> {
        if self.rounds.context.stop.is_cancelled() {
            return Err(Error::Stopping);
        }
        let (answer, admitted) = oneshot::channel();
        let start = {
            let mut queues = guard(&self.queues);
            let waiting = Waiting { caller: *caller, answer };
            match queues.get_mut(&round) {
                Some(queue) => {
                    queue.push(waiting);
                    false
                }
                None => queues.insert(round, vec![waiting]).is_none(),
            }
        };
        if start {
            let admissions = Arc::clone(self);
            self.rounds.context.tasks.spawn(async move { admissions.work(round).await });
        }
        admitted.await.map_err(|_| Error::Stopping)?
    }

    async fn work(&self, round: RoundId) {
        loop {
            let batch = {
                let mut queues = guard(&self.queues);
                let Some(queue) = queues.get_mut(&round) else { return };
                let count = queue.len().min(MOST);
                if count == 0 {
                    queues.remove(&round);
                    return;
                }
                queue.drain(..count).collect::<Vec<_>>()
            };
            let callers: Arc<[Caller]> = batch.iter().map(|waiting| waiting.caller).collect();
            let admit = decision::<Vec<Admitted>, _>(move |step| {
                let callers = Arc::clone(&callers);
                Box::pin(async move {
                    let mut admitted = Vec::with_capacity(callers.len());
                    for caller in callers.iter() {
                        admitted.push(admit_one(step, caller).await?);
                    }
                    Ok(admitted)
                })
            });
            match self.rounds.step("admit", round, admit).await {
                Ok(admitted) => {
                    batch.into_iter().zip(admitted).for_each(|(waiting, one)| drop(waiting.answer.send(Ok(one))));
                }
                Err(error) => {
                    // Errors are told one by one; what a device does about it does not depend on the details.
                    let mut batch = batch.into_iter();
                    let first = batch.next().map(|waiting| waiting.answer);
                    for waiting in batch {
                        let _ = waiting.answer.send(Err(error.again()));
                    }
                    if let Some(first) = first {
                        let _ = first.send(Err(error));
                    }
                }
            }
        }
    }
}

async fn admit_one(step: &mut Step<'_>, caller: &Caller) -> Result<Admitted, Error> {
    let round = step.row().id;
    if let Some(known) = step.tx.participant(round, caller.device).await? {
        return Ok(match known.status {
            _ if known.identity_key != caller.identity_key => Admitted::WrongIdentity,
            ParticipantStatus::Left => Admitted::HasLeft,
            ParticipantStatus::Admitted => Admitted::In,
        });
    }
    if step.tx.participant_of_key(round, &caller.identity_key).await?.is_some() {
        return Ok(Admitted::WrongIdentity);
    }
    if let Some(why) = step.round.refusal() {
        return Ok(Admitted::Refused(why));
    }
    // Before the event, because this admission may start training, and the device is dealt to a session with the others.
    let row = ParticipantRow {
        round,
        device: caller.device,
        identity_key: caller.identity_key,
        session: None,
        joined_at: step.now,
        seen_at: step.now,
        status: ParticipantStatus::Admitted,
    };
    if !step.tx.insert_participant(&row).await? {
        return Ok(Admitted::WrongIdentity);
    }
    step.feed(Event::DeviceCheckedIn { device: caller.device }).await?;
    Ok(Admitted::In)
}
