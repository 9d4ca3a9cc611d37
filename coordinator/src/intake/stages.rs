//! Stages 0, 1, 3 and 4: a message up, kept once; when the stage has closed, the next one's message down.

use bytes::Bytes;
use scale_proto::answer::{StageAnswer, Wait};
use scale_proto::ids::{Digest, RoundId, SessionId};
use scale_proto::stage::StageUp;
use scale_secagg::error::Reason;

use super::answers::POLL_AGAIN;
use super::keeper::{Kept, Up};
use super::{Intake, Seat};
use crate::error::Error;
use crate::parts::Caller;
use crate::round::SessionStage;
use crate::rows::MessageRow;
use crate::wait::LongPoll;

impl Intake {
    /// Stage 0. The answer is the roster.
    ///
    /// # Errors
    /// [`Error::NotTraining`], [`Error::WrongIdentity`], [`Error::Refused`] (docs/protocol/session.md), and those of
    /// [`Intake::in_session`].
    pub(crate) async fn advertise_keys(&self, caller: &Caller, up: StageUp<RoundId>) -> Result<StageAnswer, Error> {
        let active = self.rounds.get(up.handle).await?.ok_or(Error::UnknownRound)?;
        self.catch_up(&active, None, SessionStage::Keys).await?;
        let seat = Seat::find(&self.rounds, active, caller).await?;
        // The message begins with the identity that it is for; its signature is checked with the rest.
        if up.payload.get(..32).is_some_and(|identity| identity != caller.identity_key) {
            return Err(Error::WrongIdentity);
        }
        self.stage(seat, SessionStage::Keys, up.payload).await
    }

    /// Stages 1, 3 and 4.
    ///
    /// # Errors
    /// [`Error::UnknownSession`], [`Error::NotParticipant`], [`Error::HasLeft`], [`Error::Refused`], [`Error::Late`],
    /// [`Error::Abandoned`], [`Error::Store`].
    pub(crate) async fn in_session(
        &self,
        caller: &Caller,
        stage: SessionStage,
        up: StageUp<SessionId>,
    ) -> Result<StageAnswer, Error> {
        let active = self.rounds.of_session(up.handle).await?.ok_or(Error::UnknownSession)?;
        self.catch_up(&active, Some(up.handle), stage).await?;
        let seat = Seat::find_in(&self.rounds, active, caller, up.handle).await?;
        self.stage(seat, stage, up.payload).await
    }

    async fn stage(&self, seat: Seat, stage: SessionStage, payload: Bytes) -> Result<StageAnswer, Error> {
        let mut poll = LongPoll::begin(&self.context, seat.active.subscribe_in(seat.session));
        match self.take(&seat, stage, payload).await {
            // The session has ended meanwhile: the round as it is now says how.
            Err(Error::Abandoned { .. }) => drop(self.rounds.read(seat.active.id).await?),
            taken => taken?,
        }
        loop {
            let answer = match seat.stage_answer(&self.context.store, stage).await {
                Err(Error::Abandoned { .. }) => {
                    self.rounds.read(seat.active.id).await?;
                    seat.stage_answer(&self.context.store, stage).await?
                }
                answer => answer?,
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
            if !poll.again().await? {
                return Ok(StageAnswer::Wait(Wait {
                    retry: POLL_AGAIN,
                    code: "stage_open".into(),
                    sentence: "the stage is still open; send the same message again".into(),
                }));
            }
        }
    }

    /// Keeps the message if its stage is open; what is late or early shows in the answer.
    async fn take(&self, seat: &Seat, stage: SessionStage, payload: Bytes) -> Result<(), Error> {
        let open = seat.open_stage();
        if open != Some((stage, false)) {
            return self.not_open(seat, stage, &payload).await;
        }
        let Some(number) = stage.number() else { return Ok(()) };
        let store = &self.context.store;
        let checked = {
            let replica = seat.secure.at(store, stage).await?;
            let Some(protocol) = replica.protocol() else { return Ok(()) };
            if protocol.stage_number() != Some(number) {
                // This process is about to move the session on.
                drop(replica);
                return self.not_open(seat, stage, &payload).await;
            }
            protocol.check(number, replica.index(seat.caller.device), &payload)?
        };
        // The same bytes were taken, and are kept.
        let Some(checked) = checked else { return Ok(()) };
        let digest = Digest::of(&payload);
        let device = seat.caller.device;
        let message = MessageRow { session: seat.session, stage: number, device, payload: payload.clone() };
        match self.keeper.write(Up { round: seat.active.id, stage, message }).await? {
            Kept::Yes => {
                let mut replica = seat.secure.at(store, stage).await?;
                let taken = replica.protocol_mut().map(|protocol| protocol.take(checked));
                // Closed in between: the message was read from its row.
                if matches!(taken, Some(Ok(_))) {
                    replica.note(device, number, digest);
                }
                Ok(())
            }
            Kept::Other => Err(Error::Refused(Reason::Duplicate.into())),
            Kept::Left => Err(Error::HasLeft),
            Kept::Closed => {
                // Another process has moved on; what memory has is old.
                self.rounds.read(seat.active.id).await?;
                self.not_open(seat, stage, &payload).await
            }
        }
    }

    /// A message whose stage is not open is welcome only as a retry of the one that was taken.
    ///
    /// # Errors
    /// `duplicate` for other bytes, `late` when nothing was taken and the stage has passed.
    async fn not_open(&self, seat: &Seat, stage: SessionStage, payload: &[u8]) -> Result<(), Error> {
        let open = seat.open_stage().and_then(|(open, _)| open.number());
        // A session that is over keeps no messages, and its end is the answer.
        let (Some(open), Some(asked)) = (open, stage.number()) else { return Ok(()) };
        if asked > open {
            return Ok(());
        }
        let (session, device) = (seat.session, seat.caller.device);
        let taken = match seat.secure.known(device, asked) {
            Some(taken) => Some(taken),
            // The rows have every message until the session ends, and are fast to ask: memory may have to replay it first.
            None => {
                let kept = self.context.store.read("message", move |tx| {
                    Box::pin(async move { Ok::<_, Error>(tx.message(session, asked, device).await?) })
                });
                kept.await?.map(|row| Digest::of(&row.payload))
            }
        };
        match taken {
            Some(taken) if taken != Digest::of(payload) => Err(Error::Refused(Reason::Duplicate.into())),
            None if asked < open => {
                // Another process may have ended the session, and its messages are gone: then that is the answer.
                self.rounds.read(seat.active.id).await?;
                let over = seat.open_stage().is_none_or(|(stage, _)| stage.is_over());
                if over { Ok(()) } else { Err(Error::Refused(Reason::Late.into())) }
            }
            _ => Ok(()),
        }
    }
}
