//! Stage 2: pieces come in, whole uploads are added, and once they are part of a durable sum their senders are told.

use std::sync::Arc;
use std::time::Duration;

use scale_clock::Timestamp;
use scale_proto::answer::{UploadAnswer, Wait};
use scale_proto::ids::{DeviceId, SessionId};
use scale_proto::stage::UploadPiece;
use scale_secagg::error::Reason;
use scale_secagg::server::Stage;

use super::announce::Announced;
use super::answers::POLL_AGAIN;
use super::commit::Committer;
use super::segment::SegmentWriter;
use super::uploads::Tracked;
use super::{Intake, Seat};
use crate::error::Error;
use crate::parts::Caller;
use crate::round::{Round, SessionStage};
use crate::rounds::{ActiveRound, SecureSession};
use crate::rows::UploadState;
use crate::staging::{self, Held, Upload};
use crate::wait::LongPoll;

/// A call that waits for its upload looks at the row so often where another process may commit it.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl From<staging::Error> for Error {
    fn from(error: staging::Error) -> Self {
        match error {
            staging::Error::BeyondEnd { end, total } => Self::BeyondEnd { end, total },
            staging::Error::BadDigest => Self::BadDigest,
            staging::Error::Refused(refusal) => Self::Refused(refusal),
            staging::Error::Io(source) => Self::Folder { what: "stage an upload", source },
            staging::Error::Blob(error) => Self::Blob(error),
            error => Self::Bug(error.to_string()),
        }
    }
}

/// What a piece met.
enum Met {
    /// Take it: of the participant at this place in the roster.
    Open(Tracked, u32),
    /// The upload is part of the sum, or stage 2 is over or being closed: the answer says which.
    Done,
}

impl Intake {
    /// One piece of a masked input. The last one is answered when the upload is part of a durable sum; an empty one asks
    /// how far the upload has come, and, once it is committed, for the survivors.
    ///
    /// # Errors
    /// [`Error::WrongLength`], [`Error::BeyondEnd`], [`Error::DifferentUpload`], [`Error::BadDigest`],
    /// [`Error::Refused`] (`padding_bits`, `not_expected`), [`Error::Late`], and those of [`Intake::in_session`].
    pub(crate) async fn upload_piece(
        self: &Arc<Self>,
        caller: &Caller,
        piece: UploadPiece,
    ) -> Result<UploadAnswer, Error> {
        let session = piece.session;
        let active = self.rounds.of_session(session).await?.ok_or(Error::UnknownSession)?;
        self.catch_up(&active, Some(session), SessionStage::MaskedInput).await?;
        let seat = Arc::new(Seat::find_in(&self.rounds, active, caller, session).await?);
        let mut poll = LongPoll::begin(&self.context, seat.active.subscribe_in(session));
        let asks = piece.data.is_empty();
        let (this, here) = (Arc::clone(self), Arc::clone(&seat));
        let held = self.context.to_the_end(async move { this.take_piece(&here, piece).await }).await?;
        if let Some(Held::Part(received)) = held {
            return Ok(UploadAnswer::Received(received));
        }
        let (context, device) = (&self.context, caller.device);
        let mut looked = context.clock.steady();
        loop {
            let mut state = self.uploads.state(session, device);
            let elsewhere = context.settings.replicas && context.clock.steady() >= looked + LOOK_AGAIN;
            let open = seat.open_stage();
            let over = open.is_none_or(|(stage, _)| stage != SessionStage::MaskedInput);
            if state != Some(UploadState::Committed) && (state.is_none() || over || elsewhere) {
                looked = context.clock.steady();
                state = self.kept_state(session, device).await?.or(state);
            }
            if held.is_some() && state.is_none() && open == Some((SessionStage::MaskedInput, false)) {
                // It was whole, and was lost while this call waited: its sender begins again.
                return Ok(UploadAnswer::Received(0));
            }
            let answer = match seat.upload_answer(&context.store, state, asks).await {
                // The stage may have closed since the upload was looked at: what its row says by now is final.
                Err(Error::Late | Error::Refused(_)) => {
                    let state = self.kept_state(session, device).await?.or(state);
                    seat.upload_answer(&context.store, state, asks).await?
                }
                answer => answer?,
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
            if !poll.again().await? {
                return Ok(UploadAnswer::Wait(Wait {
                    retry: POLL_AGAIN,
                    code: "stage_open".into(),
                    sentence: "the upload is complete and waits; ask again with an empty piece".into(),
                }));
            }
        }
    }

    /// Sessions that would close on silence soon, while an upload that is not whole yet gets on here.
    pub(crate) fn still_sending(&self, round: &Round, now: Timestamp) -> Vec<SessionId> {
        let grace = Duration::from_millis(round.rules.timing.grace_ms);
        let open = round.sessions.iter().filter(|progress| {
            progress.stage == SessionStage::MaskedInput
                && !progress.closing
                && progress.deadline < progress.window.latest
                && progress.deadline <= now.plus(grace / 2)
        });
        open.map(|progress| progress.id).filter(|&id| self.uploads.gets_on(id, grace, now)).collect()
    }

    /// How far the upload has come, as its row says.
    async fn kept_state(&self, session: SessionId, device: DeviceId) -> Result<Option<UploadState>, Error> {
        let row = self
            .context
            .store
            .read("upload", move |tx| Box::pin(async move { Ok::<_, Error>(tx.upload(session, device).await?) }));
        Ok(row.await?.map(|row| row.state))
    }

    /// Stages the piece; a whole upload is verified and queued. `None`: the stage is not open, or the upload committed.
    async fn take_piece(self: &Arc<Self>, seat: &Seat, piece: UploadPiece) -> Result<Option<Held>, Error> {
        let Met::Open(tracked, index) = self.meet(seat, &piece).await? else { return Ok(None) };
        let upload = tracked.upload;
        let _one_at_a_time = tracked.staging.lock().await;
        let held = self.staging.append(&upload, piece.offset, piece.data).await?;
        if seat.open_stage().is_none_or(|(stage, _)| stage.is_over()) {
            // The session ended while the piece was on its way, and nobody else deletes it.
            self.staging.remove(&upload).await?;
            return Ok(None);
        }
        if matches!(held, Held::Part(_)) {
            return Ok(Some(held));
        }
        let state = || self.uploads.state(upload.session, upload.device);
        if state() == Some(UploadState::Staging) {
            self.settle(seat, &upload).await?;
        }
        match state() {
            Some(UploadState::Complete) => {
                self.writer(&seat.active, &seat.secure).enqueue(upload, index);
                Ok(Some(held))
            }
            Some(UploadState::Committed) => Ok(None),
            // Something of it is gone again: its sender begins again.
            Some(UploadState::Staging) | None => Ok(Some(Held::Part(0))),
        }
    }

    /// Whether this piece may be taken, by what the rows know; a new upload gets its row.
    async fn meet(&self, seat: &Seat, piece: &UploadPiece) -> Result<Met, Error> {
        let Some((SessionStage::MaskedInput, false)) = seat.open_stage() else { return Ok(Met::Done) };
        let (index, expected) = {
            let replica = seat.secure.at(&self.context.store, SessionStage::MaskedInput).await?;
            let Some(Stage::MaskedInput(inputs)) = replica.protocol().map(|protocol| protocol.stage()) else {
                return Ok(Met::Done);
            };
            let index = replica.index(seat.caller.device).filter(|&index| inputs.expected(index));
            (index.ok_or(Error::Refused(Reason::NotExpected.into()))?, inputs.upload_len())
        };
        if piece.total != expected {
            return Err(Error::WrongLength { expected, announced: piece.total });
        }
        let UploadPiece { session, digest, total, .. } = *piece;
        let upload = Upload { session, device: seat.caller.device, digest, total };
        let now = self.rounds.times.now(&*self.context.clock, seat.active.id);
        if let Some(tracked) = self.uploads.piece(session, upload.device, now) {
            return match tracked.state {
                _ if tracked.upload != upload => Err(Error::DifferentUpload),
                UploadState::Committed => Ok(Met::Done),
                UploadState::Staging | UploadState::Complete => Ok(Met::Open(tracked, index)),
            };
        }
        let announced = Announced { round: seat.active.id, upload, index };
        let Some(state) = self.announcer.write(announced).await?? else { return Ok(Met::Done) };
        let tracked = self.uploads.track(upload, state, now);
        if state == UploadState::Committed { Ok(Met::Done) } else { Ok(Met::Open(tracked, index)) }
    }

    /// Verifies a whole upload and keeps the outcome: a bad one is forgotten, so that its sender may begin again, and so is
    /// one that is gone. What it is now is tracked.
    async fn settle(self: &Arc<Self>, seat: &Seat, upload: &Upload) -> Result<(), Error> {
        let verified = self.staging.verify(upload, Arc::clone(&seat.fixed.config)).await;
        if matches!(verified, Err(staging::Error::Missing { .. })) {
            return self.committer(&seat.active).look_for(vec![*upload]).await;
        }
        let bad = matches!(verified, Err(staging::Error::BadDigest | staging::Error::Refused(_)));
        if verified.is_err() && !bad {
            return Ok(verified?);
        }
        let Upload { session, device, .. } = *upload;
        if bad {
            let forget = self.context.store.run_tx("forget_upload", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.delete_upload(session, device).await?) })
            });
            forget.await?;
            self.uploads.forget(session, device);
        } else {
            self.completer.write((session, device)).await?;
            self.uploads.set(session, [device], UploadState::Complete);
        }
        Ok(verified?)
    }

    /// The session's writer of segments.
    fn writer(self: &Arc<Self>, active: &Arc<ActiveRound>, secure: &Arc<SecureSession>) -> Arc<SegmentWriter> {
        self.uploads.writer(secure.id, || {
            let commit = Arc::new(self.committer(active));
            let blobs = self.context.blobs.clone();
            SegmentWriter::new(secure.id, Arc::clone(&secure.config), self.staging.clone(), blobs, commit)
        })
    }

    fn committer(&self, active: &Arc<ActiveRound>) -> Committer {
        Committer {
            context: Arc::clone(&self.context),
            active: Arc::clone(active),
            uploads: Arc::clone(&self.uploads),
            staging: self.staging.clone(),
        }
    }

    /// Queues whole uploads of a session whose process has gone, after looking at them again: nobody was told that they
    /// count, so they may be lost. Those that are queued here already stay as they are.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Blob`], [`Error::Folder`].
    pub(crate) async fn adopt(
        self: &Arc<Self>,
        active: &Arc<ActiveRound>,
        secure: &Arc<SecureSession>,
    ) -> Result<(), Error> {
        let session = secure.id;
        let rows = self
            .context
            .store
            .read("uploads", move |tx| Box::pin(async move { Ok::<_, Error>(tx.uploads(session).await?) }));
        let now = self.rounds.times.now(&*self.context.clock, active.id);
        for row in rows.await?.into_iter().filter(|row| row.state == UploadState::Complete) {
            let upload = Upload { session, device: row.device, digest: row.digest, total: row.total };
            let writer = self.writer(active, secure);
            if writer.has(row.device) {
                continue;
            }
            match self.staging.verify(&upload, Arc::clone(&secure.config)).await {
                Ok(()) => {
                    self.uploads.track(upload, UploadState::Complete, now);
                    writer.enqueue(upload, row.participant_index);
                }
                Err(error @ (staging::Error::Blob(_) | staging::Error::Io(_))) => return Err(error.into()),
                // Damaged, or not there.
                Err(_) => self.committer(active).look_for(vec![upload]).await?,
            }
        }
        Ok(())
    }

    /// Waits until nothing of a session waits here to be added.
    pub(crate) async fn drained(&self, session: SessionId) {
        if let Some(writer) = self.uploads.known_writer(session) {
            writer.drained().await;
        }
    }

    /// Follows a round: what could not be added before stage 2 closed never will be, and of a session that is over nothing
    /// is remembered.
    pub(crate) fn follow(&self, round: &Round) {
        for progress in &round.sessions {
            if progress.stage.is_over() {
                if self.uploads.end(progress.id) {
                    self.forget_staged(progress.id);
                }
            } else if progress.stage > SessionStage::MaskedInput {
                self.uploads.stop_adding(progress.id);
            }
        }
    }

    /// Pieces may have come here after another process had ended the session and deleted what was staged.
    fn forget_staged(&self, session: SessionId) {
        let staging = self.staging.clone();
        self.context.tasks.spawn(async move {
            if let Err(error) = staging.remove_session(session).await {
                tracing::debug!(%session, %error, "what was staged late stays");
            }
        });
    }

    /// Ends every queue; what waits in them is found again in its rows.
    pub(crate) async fn stop(&self) {
        for writer in self.uploads.writers() {
            writer.stop();
            writer.drained().await;
        }
    }
}
