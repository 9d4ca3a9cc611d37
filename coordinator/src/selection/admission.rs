//! Devices on their way into a round. Those that come at the same time are admitted in one step: a round's row is written
//! once for all of them.

use std::collections::HashMap;
use std::sync::Arc;

use scale_proto::ids::RoundId;

use crate::error::Error;
use crate::group::Group;
use crate::parts::Caller;
use crate::round::{Event, Refused};
use crate::rounds::{Rounds, Step, decision};
use crate::rows::{ParticipantRow, ParticipantStatus};

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

/// Admits devices to rounds; of each, what became of it there.
pub(super) fn admissions(rounds: &Arc<Rounds>) -> Arc<Group<(RoundId, Caller), Result<Admitted, Error>>> {
    let here = Arc::clone(rounds);
    Group::new(Arc::clone(&rounds.context), move |waiting| {
        let rounds = Arc::clone(&here);
        Box::pin(async move { Ok(admit(&rounds, waiting).await) })
    })
}

/// One step for each round, one beside the other.
async fn admit(rounds: &Arc<Rounds>, waiting: Vec<(RoundId, Caller)>) -> Vec<Result<Admitted, Error>> {
    let mut by_round: HashMap<RoundId, Vec<usize>> = HashMap::new();
    for (at, (round, _)) in waiting.iter().enumerate() {
        by_round.entry(*round).or_default().push(at);
    }
    let steps = by_round.into_iter().map(|(round, places)| {
        let callers: Arc<[Caller]> = places.iter().map(|&at| waiting[at].1).collect();
        let step = decision::<Vec<Admitted>, _>(move |step| {
            let callers = Arc::clone(&callers);
            Box::pin(async move {
                let mut admitted = Vec::with_capacity(callers.len());
                for caller in callers.iter() {
                    admitted.push(admit_one(step, caller).await?);
                }
                Ok(admitted)
            })
        });
        async move { (rounds.step("admit", round, step).await, places) }
    });
    let mut answers: Vec<_> = waiting.iter().map(|_| Err(Error::Stopping)).collect();
    for (admitted, places) in futures::future::join_all(steps).await {
        for (nth, at) in places.into_iter().enumerate() {
            answers[at] = match &admitted {
                Ok(admitted) => Ok(admitted[nth]),
                Err(error) => Err(error.again()),
            };
        }
    }
    answers
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
