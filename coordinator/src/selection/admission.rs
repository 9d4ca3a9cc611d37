//! Devices on their way into a round. Those that come at the same time are admitted in one step: a round's row is written
//! once for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use scale_proto::ids::RoundId;

use crate::context::guard;
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

/// A queue for each round, so that none waits for another one.
pub(super) struct Admissions {
    rounds: Arc<Rounds>,
    groups: Mutex<HashMap<RoundId, Arc<Group<Caller, Admitted>>>>,
}

impl Admissions {
    pub(super) fn new(rounds: Arc<Rounds>) -> Self {
        Self { rounds, groups: Mutex::default() }
    }

    /// Admits a device, or says why not.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::Store`], [`Error::Stopping`].
    pub(super) async fn admit(&self, round: RoundId, caller: &Caller) -> Result<Admitted, Error> {
        let group = Arc::clone(guard(&self.groups).entry(round).or_insert_with(|| self.group(round)));
        group.write(*caller).await
    }

    /// Forgets the queue of a round that admits nobody any more.
    pub(super) fn forget(&self, round: RoundId) {
        guard(&self.groups).remove(&round);
    }

    fn group(&self, round: RoundId) -> Arc<Group<Caller, Admitted>> {
        let rounds = Arc::clone(&self.rounds);
        Group::new(&self.rounds.context, move |_, callers| {
            let (rounds, callers): (_, Arc<[Caller]>) = (Arc::clone(&rounds), callers.into());
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
            Box::pin(async move { rounds.step("admit", round, step).await })
        })
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
