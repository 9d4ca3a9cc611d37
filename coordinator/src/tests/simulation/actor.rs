//! A device: the machine that ships, on its way to whichever coordinator answers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use scale_client_core::device::{Cause, Rules};
use scale_client_core::testing::{Device, Silence, setting};
use scale_proto::answer::{CheckIn, CheckInAnswer, Leave, StageAnswer, StageDown, UploadAnswer};
use scale_proto::ids::{DeviceId, Digest, RoundId, SessionId};
use scale_proto::manifest::Manifest;
use scale_proto::stage::{StageUp, UploadPiece};
use scale_secagg::error::Reason;
use tokio::task::JoinHandle;

use super::world::{URL, World};
use crate::context::guard;
use crate::error::Class;
use crate::round::SessionStage;
use crate::*;

/// Between two tries while nobody answers.
const AGAIN: Duration = Duration::from_millis(15);

/// One device.
pub(super) struct Actor {
    world: Arc<World>,
    caller: Caller,
    state: Mutex<State>,
}

struct State {
    device: Device,
    manifest: Option<Manifest>,
    session: Option<SessionId>,
    /// What is under way, and what was before.
    message: Option<Message>,
    down: Option<StageDown>,
    joined: HashSet<RoundId>,
    last: Option<Message>,
    silent: bool,
    act: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Message {
    stage: SessionStage,
    payload: Bytes,
    /// Bytes of an upload that the coordinator has.
    held: usize,
}

/// What a call came to.
enum Met {
    /// On to the next message.
    Next(Option<StageDown>),
    /// The same call again.
    Again,
    /// The upload has come so far.
    Held(usize),
}

impl Actor {
    pub(super) fn new(world: &Arc<World>, number: u8) -> Arc<Self> {
        let rules = Rules { task_key: world.task_key.public(), tasks: vec![], ..setting::rules() };
        let device = Device::at(u32::from(number) + 1, rules, world.right.now(&world.clock));
        let caller = Caller { device: DeviceId::from_random([number + 1; 16]), identity_key: device.identity.public() };
        let state = State {
            device,
            manifest: None,
            session: None,
            message: None,
            down: None,
            joined: HashSet::new(),
            last: None,
            silent: false,
            act: None,
        };
        Arc::new(Self { world: Arc::clone(world), caller, state: Mutex::new(state) })
    }

    /// Does what is next, unless it is silent or still about the last thing. `joins`: also checks in to another round.
    pub(super) fn go(self: &Arc<Self>, joins: bool) {
        let mut state = guard(&self.state);
        let busy = state.act.as_ref().is_some_and(|act| !act.is_finished());
        if busy || state.silent || (state.manifest.is_none() && !joins) {
            return;
        }
        let actor = Arc::clone(self);
        state.act = Some(tokio::spawn(async move { actor.act().await }));
    }

    pub(super) fn is_busy(&self) -> bool {
        guard(&self.state).act.as_ref().is_some_and(|act| !act.is_finished())
    }

    pub(super) fn fall_silent(&self) {
        let mut state = guard(&self.state);
        state.silent = true;
        if let Some(act) = state.act.take() {
            act.abort();
        }
    }

    pub(super) fn come_back(&self) {
        guard(&self.state).silent = false;
    }

    /// Sends one piece of an upload, and does not look at what becomes of it.
    pub(super) fn piece(self: &Arc<Self>) {
        let state = guard(&self.state);
        let sends = state.message.clone().filter(|message| message.stage == SessionStage::MaskedInput);
        drop(state);
        if let Some(message) = sends {
            let actor = Arc::clone(self);
            tokio::spawn(async move { drop(actor.send(&message).await) });
        }
    }

    /// Sends once more what it sends, or has sent.
    pub(super) fn repeat(self: &Arc<Self>) {
        let state = guard(&self.state);
        let message = state.message.clone().or_else(|| state.last.clone());
        drop(state);
        let Some(message) = message else { return };
        let actor = Arc::clone(self);
        tokio::spawn(async move {
            if let Some(Err(error)) = actor.send(&message).await {
                actor.judge("a repeated message", &error);
            }
        });
    }

    pub(super) async fn leave(self: &Arc<Self>) {
        let round = guard(&self.state).manifest.as_ref().map(|manifest| manifest.round);
        let Some((round, (runtime, coordinator))) = round.zip(self.world.someone()) else { return };
        let caller = self.caller;
        let leaving =
            runtime.spawn(async move { coordinator.leave(&caller, Leave { round, reason: "cancelled".into() }).await });
        match leaving.await {
            Ok(Ok(())) => self.forget(&mut guard(&self.state)),
            Ok(Err(error)) => self.judge("leaving", &error),
            Err(_) => {}
        }
    }

    /// One message, until it is answered.
    async fn act(self: Arc<Self>) {
        if guard(&self.state).manifest.is_none() && !self.check_in().await {
            return;
        }
        let Some(mut message) = self.message().await else { return };
        loop {
            let answer = match self.send(&message).await {
                None => Ok(Met::Again),
                Some(Err(error)) if matches!(error.class(), Class::Unavailable | Class::Exhausted) => Ok(Met::Again),
                Some(answer) => answer,
            };
            match answer {
                Ok(Met::Again) => tokio::time::sleep(AGAIN).await,
                Ok(Met::Held(held)) => {
                    message.held = held;
                    let mut state = guard(&self.state);
                    if let Some(message) = &mut state.message {
                        message.held = held;
                    }
                }
                Ok(Met::Next(down)) => {
                    let mut state = guard(&self.state);
                    state.last = state.message.take();
                    match down {
                        Some(down) => {
                            state.session = Some(down.session);
                            state.down = Some(down);
                        }
                        None => {
                            if let Err(silence) = state.device.accepted() {
                                self.world.wrong(format!("a device does not end its round: {silence:?}"));
                            }
                            self.forget(&mut state);
                        }
                    }
                    return;
                }
                Err(error) => {
                    self.judge(message.stage.name(), &error);
                    *guard(&self.world.heard).gave_up.entry(error.code().to_owned()).or_default() += 1;
                    self.forget(&mut guard(&self.state));
                    return;
                }
            }
        }
    }

    async fn check_in(&self) -> bool {
        loop {
            let Some((runtime, coordinator)) = self.world.someone() else { return false };
            let caller = self.caller;
            let call = runtime.spawn(async move { coordinator.check_in(&caller, CheckIn::default()).await });
            match Cut(call).answer().await {
                Some(Ok(CheckInAnswer::Manifest(manifest))) => {
                    guard(&self.state).manifest = Some(manifest);
                    return true;
                }
                Some(Ok(CheckInAnswer::Wait(wait))) if wait.code == "selecting" => {}
                Some(Ok(CheckInAnswer::Wait(_))) => return false,
                Some(Err(error)) => {
                    self.judge("checking in", &error);
                    return false;
                }
                None => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// What the device sends now; `None`: it has left.
    async fn message(&self) -> Option<Message> {
        let url = {
            let state = guard(&self.state);
            if let Some(message) = &state.message {
                return Some(message.clone());
            }
            state.manifest.as_ref()?.model_url.clone()
        };
        let file = self.world.blobs.get(url.strip_prefix(URL).expect("the site's own URL")).await.expect("no error");
        let mut state = guard(&self.state);
        state.device.now = self.world.right.now(&self.world.clock);
        let (stage, answer) = match state.down.take() {
            None => {
                let manifest = state.manifest.clone()?;
                if !state.joined.insert(manifest.round) {
                    // It gave up in this round before.
                    self.forget(&mut state);
                    return None;
                }
                (SessionStage::Keys, state.device.take(manifest, &file.expect("a model that is offered is there")))
            }
            Some(down) => (SessionStage::OPEN[usize::from(down.stage)], state.device.answer(down)),
        };
        match answer {
            Ok(payload) => {
                let message = Message { stage, payload, held: 0 };
                state.message = Some(message.clone());
                if let Some(session) = state.session.filter(|_| stage == SessionStage::MaskedInput) {
                    let summand = state.device.summand().to_vec();
                    let mut heard = guard(&self.world.heard);
                    heard.sent.entry(session).or_default().insert(self.caller.device, summand);
                }
                Some(message)
            }
            Err(silence) => {
                let fine = match &silence {
                    // Its clock goes on while the server's is set; or too few others have confirmed the survivors.
                    Silence::Left(Cause::Protocol(refusal)) => {
                        matches!(refusal.reason, Reason::Deadline | Reason::Agreement)
                    }
                    _ => false,
                };
                if !fine {
                    self.world.wrong(format!("a device refuses what it is sent in {}: {silence:?}", stage.name()));
                }
                *guard(&self.world.heard).gave_up.entry(format!("{silence:?}")).or_default() += 1;
                self.forget(&mut state);
                None
            }
        }
    }

    /// One call. `None`: nobody has answered.
    async fn send(&self, message: &Message) -> Option<Result<Met, Error>> {
        let (round, session) = {
            let state = guard(&self.state);
            (state.manifest.as_ref()?.round, state.session)
        };
        let (runtime, coordinator) = self.world.someone()?;
        let (caller, payload) = (self.caller, message.payload.clone());
        if message.stage == SessionStage::MaskedInput {
            let (session, len) = (session?, payload.len());
            let (from, to) = (message.held, (message.held + len / 3 + 1).min(len));
            let piece = UploadPiece {
                session,
                offset: from as u64,
                total: len as u64,
                digest: Digest::of(&payload),
                data: payload.slice(from..to),
            };
            let call = runtime.spawn(async move { coordinator.upload_piece(&caller, piece).await });
            let answer = Cut(call).answer().await?;
            return Some(answer.map(|answer| match answer {
                UploadAnswer::Received(held) => Met::Held(usize::try_from(held).expect("small")),
                UploadAnswer::Committed => {
                    self.acknowledged(session);
                    Met::Held(len)
                }
                UploadAnswer::Down(down) => {
                    self.acknowledged(session);
                    Met::Next(Some(down))
                }
                UploadAnswer::Wait(_) => Met::Again,
            }));
        }
        let stage = message.stage;
        let handle = if stage == SessionStage::Keys { None } else { Some(session?) };
        let call = runtime.spawn(async move {
            match (stage, handle) {
                (SessionStage::Shares, Some(handle)) => {
                    coordinator.share_keys(&caller, StageUp { handle, payload }).await
                }
                (SessionStage::Agreement, Some(handle)) => {
                    coordinator.confirm_survivors(&caller, StageUp { handle, payload }).await
                }
                (_, Some(handle)) => coordinator.reveal_shares(&caller, StageUp { handle, payload }).await,
                (_, None) => coordinator.advertise_keys(&caller, StageUp { handle: round, payload }).await,
            }
        });
        let answer = Cut(call).answer().await?;
        Some(answer.map(|answer| match answer {
            StageAnswer::Down(down) => Met::Next(Some(down)),
            StageAnswer::Accepted => Met::Next(None),
            StageAnswer::Wait(_) => Met::Again,
        }))
    }

    /// This device was told that its upload is part of the sum.
    fn acknowledged(&self, session: SessionId) {
        let mut heard = guard(&self.world.heard);
        let summand = heard.sent.get(&session).and_then(|sent| sent.get(&self.caller.device)).cloned();
        if let Some(summand) = summand {
            heard.acknowledged.entry(session).or_default().insert(self.caller.device, summand);
        }
    }

    /// A device that says the same twice is never told that it said something else.
    fn judge(&self, call: &str, error: &Error) {
        self.world.judge(call, error);
        if matches!(
            error.code(),
            "duplicate"
                | "different_upload"
                | "stage_order"
                | "not_training"
                | "bad_digest"
                | "wrong_identity"
                | "duplicate_key"
        ) {
            self.world.wrong(format!("{call}: an honest device was refused: {error}"));
        }
    }

    /// The round is over for this device.
    fn forget(&self, state: &mut State) {
        (state.manifest, state.session, state.message) = (None, None, None);
        (state.down, state.last) = (None, None);
    }
}

/// A call that ends with whoever waits for it, and with the process that answers it.
struct Cut<T>(JoinHandle<T>);

impl<T> Cut<T> {
    async fn answer(mut self) -> Option<T> {
        match (&mut self.0).await {
            Ok(answer) => Some(answer),
            Err(lost) if lost.is_panic() => std::panic::resume_unwind(lost.into_panic()),
            Err(_) => None,
        }
    }
}

impl<T> Drop for Cut<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
