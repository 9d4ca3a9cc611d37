//! Stages 0, 1, 3 and 4: a message up, kept once; when the stage has closed, the next one's message down.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use scale_proto::answer::{StageAnswer, StageDown, Wait};
use scale_proto::ids::{Digest, RoundId, SessionId};
use scale_proto::stage::StageUp;
use scale_secagg::error::Reason;
use scale_secagg::server::{Down, Receipt};

use super::check_in::{POLL_AGAIN, participant};
use super::live::{Inner, Live, State, answered};
use super::step::Change;
use super::{Caller, Coordinator, Error};
use crate::round::{Event, Phase, SessionStage};
use crate::rows::NewMessage;
use crate::schedule::pace;

impl Coordinator {
    /// Stage 0. The answer is the roster.
    ///
    /// # Errors
    /// [`Error::NotTraining`], [`Error::WrongIdentity`], [`Error::Refused`] (docs/protocol/session.md), and those of
    /// [`Coordinator::share_keys`].
    pub async fn advertise_keys(&self, caller: &Caller, up: StageUp<RoundId>) -> Result<StageAnswer, Error> {
        let live = self.0.live(up.handle).ok_or(Error::UnknownRound)?;
        let session = {
            let state = self.0.lock(&live).await?;
            participant(&state, caller)?.session.ok_or(Error::NotTraining)?
        };
        // The message begins with the identity that it is for; its signature is checked with the rest.
        if up.payload.get(..32).is_some_and(|identity| identity != caller.identity_key) {
            return Err(Error::WrongIdentity);
        }
        self.0.stage(caller, live, session, SessionStage::Keys, up.payload).await
    }

    /// Stage 1. The answer holds the sharers and the shares for this device.
    ///
    /// # Errors
    /// [`Error::UnknownSession`], [`Error::NotParticipant`], [`Error::HasLeft`], [`Error::Refused`], [`Error::Late`],
    /// [`Error::Abandoned`], [`Error::Store`].
    pub async fn share_keys(&self, caller: &Caller, up: StageUp<SessionId>) -> Result<StageAnswer, Error> {
        self.in_session(caller, SessionStage::Shares, up).await
    }

    /// Stage 3. The answer holds the signatures.
    ///
    /// # Errors
    /// As [`Coordinator::share_keys`].
    pub async fn confirm_survivors(&self, caller: &Caller, up: StageUp<SessionId>) -> Result<StageAnswer, Error> {
        self.in_session(caller, SessionStage::Agreement, up).await
    }

    /// Stage 4. Answered as soon as the shares are kept.
    ///
    /// # Errors
    /// As [`Coordinator::share_keys`].
    pub async fn reveal_shares(&self, caller: &Caller, up: StageUp<SessionId>) -> Result<StageAnswer, Error> {
        self.in_session(caller, SessionStage::Unmask, up).await
    }

    async fn in_session(
        &self,
        caller: &Caller,
        stage: SessionStage,
        up: StageUp<SessionId>,
    ) -> Result<StageAnswer, Error> {
        match self.0.round_of(caller, up.handle).await? {
            Some(live) => self.0.stage(caller, live, up.handle, stage, up.payload).await,
            None if stage == SessionStage::Unmask => Ok(StageAnswer::Accepted),
            None => Err(Error::Late),
        }
    }
}

impl Inner {
    /// The round in memory that a session belongs to; `None`: the session was released and its round is gone.
    pub(super) async fn round_of(&self, caller: &Caller, session: SessionId) -> Result<Option<Arc<Live>>, Error> {
        for live in self.lives() {
            if self.lock(&live).await?.round.session(session).is_some() {
                return Ok(Some(live));
            }
        }
        let device = caller.device;
        let found: Option<_> = self
            .store
            .read("session", move |tx| {
                Box::pin(async move {
                    let Some(row) = tx.session(session).await? else { return Ok::<_, Error>(None) };
                    let member = tx.participant(row.round, device).await?;
                    Ok(member.map(|_| row.stage))
                })
            })
            .await?;
        match found {
            Some(SessionStage::Released) => Ok(None),
            Some(_) => Err(abandoned("session_over".into(), "the session is over; check in again".into(), 0)),
            None => Err(Error::UnknownSession),
        }
    }

    async fn stage(
        self: &Arc<Self>,
        caller: &Caller,
        live: Arc<Live>,
        session: SessionId,
        stage: SessionStage,
        payload: Bytes,
    ) -> Result<StageAnswer, Error> {
        let mut changed = live.changed.subscribe();
        let until = self.clock.steady() + self.settings.long_poll;
        let (inner, round, who) = (Arc::clone(self), Arc::clone(&live), *caller);
        self.to_the_end(async move { inner.take(&who, &round, session, stage, payload).await }).await?;
        loop {
            {
                let state = self.lock(&live).await?;
                if let Some(answer) = answer(&state, caller, session, stage)? {
                    return Ok(answer);
                }
            }
            if self.clock.steady() >= until {
                let sentence = "the stage is still open; send the same message again";
                return Ok(StageAnswer::Wait(Wait {
                    retry: POLL_AGAIN,
                    code: "stage_open".into(),
                    sentence: sentence.into(),
                }));
            }
            self.changed(&mut changed, until).await?;
        }
    }

    /// Keeps the message if its stage is open; what is late or early shows in the answer.
    async fn take(
        self: &Arc<Self>,
        caller: &Caller,
        live: &Arc<Live>,
        session: SessionId,
        stage: SessionStage,
        payload: Bytes,
    ) -> Result<(), Error> {
        let mut guard = self.lock(live).await?;
        let state = &mut *guard;
        let member = participant(state, caller)?;
        if member.session != Some(session) {
            return Err(Error::NotParticipant);
        }
        let now = state.round.session(session).map(|progress| (progress.stage, progress.closing));
        if now != Some((stage, false)) {
            return not_open(state, caller, session, stage, &payload);
        }
        if member.left {
            return Err(Error::HasLeft);
        }
        let Some(number) = stage.number() else { return Ok(()) };
        let Some(secure) = state.sessions.get_mut(&session) else { return Err(Error::UnknownSession) };
        let Some(protocol) = &mut secure.protocol else { return Ok(()) };
        let index = secure.index.get(&caller.device).copied();
        if protocol.receive(number, index, &payload)? == Receipt::Same {
            return Ok(());
        }
        let (answered, ready) = answered(protocol);
        secure.taken.insert((caller.device, number), Digest::of(&payload));
        let message = NewMessage { session, stage: number, device: caller.device, payload };
        let event = Event::StageAnswered { session, stage, answered, ready };
        self.step(live, state, event, vec![Change::Message(message)]).await
    }
}

/// A message whose stage is not open is welcome only as a retry of the one that was taken.
///
/// # Errors
/// `duplicate` for other bytes, `late` when nothing was taken and the stage has passed.
fn not_open(
    state: &State,
    caller: &Caller,
    session: SessionId,
    stage: SessionStage,
    payload: &[u8],
) -> Result<(), Error> {
    let present = state.round.session(session).and_then(|progress| progress.stage.number());
    // A session that is over keeps no messages, and its end is the answer.
    let (Some(present), Some(asked)) = (present, stage.number()) else { return Ok(()) };
    match state.sessions.get(&session).and_then(|secure| secure.taken.get(&(caller.device, asked))) {
        Some(taken) if *taken != Digest::of(payload) => Err(Error::Refused(Reason::Duplicate.into())),
        None if asked < present => Err(Error::Refused(Reason::Late.into())),
        _ => Ok(()),
    }
}

/// What a call of `stage` gets at this moment; `None`: wait on.
fn answer(
    state: &State,
    caller: &Caller,
    session: SessionId,
    stage: SessionStage,
) -> Result<Option<StageAnswer>, Error> {
    let progress = state.round.session(session).ok_or(Error::UnknownSession)?;
    let asked = stage.number().unwrap_or_default();
    match progress.stage {
        SessionStage::Abandoned => Err(ended(state, session)),
        SessionStage::Released if stage == SessionStage::Unmask => Ok(Some(StageAnswer::Accepted)),
        SessionStage::Released => Err(Error::Late),
        open => match open.number().unwrap_or_default() {
            now if now == asked && stage == SessionStage::Unmask => Ok(Some(StageAnswer::Accepted)),
            now if now == asked => Ok(None),
            now if now == asked + 1 => down(state, caller, session).map(|down| Some(StageAnswer::Down(down))),
            now if now > asked => Err(Error::Late),
            _ => Err(Error::Refused(Reason::StageOrder.into())),
        },
    }
}

/// What opens the present stage for this device.
///
/// # Errors
/// `not_expected` when it is not in the stage's set.
pub(super) fn down(state: &State, caller: &Caller, session: SessionId) -> Result<StageDown, Error> {
    let secure = state.sessions.get(&session).ok_or(Error::UnknownSession)?;
    // Masks are being removed: the stage takes nothing more.
    let protocol = secure.protocol.as_ref().ok_or(Error::Late)?;
    let stage = protocol.stage_number().ok_or(Error::Late)?;
    let index = secure.index.get(&caller.device).copied();
    let down = index.and_then(|index| protocol.message(index)).ok_or(Error::Refused(Reason::NotExpected.into()))?;
    let (roster, payload) = match down {
        Down::Roster(form, bytes) => (Some(form), bytes),
        Down::Bytes(bytes) => (None, bytes),
    };
    Ok(StageDown { session, stage, payload: payload.into(), roster })
}

/// Why a session that was abandoned was.
pub(super) fn ended(state: &State, session: SessionId) -> Error {
    if let Phase::Abandoned { code, sentence, .. } = &state.round.phase {
        return abandoned(code.clone(), sentence.clone(), state.round.cohort);
    }
    let failure = state.round.session(session).and_then(|progress| progress.failure.clone());
    let (code, sentence) = match failure {
        Some(failure) => (failure.code, failure.sentence),
        None => ("session_over".into(), "the session is over".into()),
    };
    abandoned(code, sentence, state.round.cohort)
}

/// A round or session of `cohort` devices that is over without a sum. They all hear it within a moment, so they are
/// spread before they come back; a small cohort is back within ten seconds.
fn abandoned(code: String, sentence: String, cohort: u32) -> Error {
    const AFTER: Duration = Duration::from_secs(5);
    const FEW: u64 = 250;
    Error::Abandoned { code, sentence, back: pace(Some(AFTER), u64::from(cohort).max(FEW)) }
}
