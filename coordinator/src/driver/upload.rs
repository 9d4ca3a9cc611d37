//! Stage 2: pieces come in, whole uploads are added, and once they are part of a durable sum their senders are told.

use std::sync::Arc;
use std::time::Duration;

use scale_proto::answer::{UploadAnswer, Wait};
use scale_proto::ids::SessionId;
use scale_proto::stage::UploadPiece;
use scale_proto::time::Timestamp;
use scale_secagg::error::Reason;
use scale_secagg::server::Stage;

use super::check_in::{POLL_AGAIN, participant};
use super::live::{Inner, Live, State, Tracked, answered};
use super::stages::{down, ended};
use super::step::Change;
use super::{Caller, Coordinator, Error};
use crate::accumulate::{self, Held, Queued, Sink, Upload};
use crate::round::{Event, SessionStage};
use crate::rows::{SegmentRow, UploadRow, UploadState};

impl From<accumulate::Error> for Error {
    fn from(error: accumulate::Error) -> Self {
        match error {
            accumulate::Error::BeyondEnd { end, total } => Self::BeyondEnd { end, total },
            accumulate::Error::BadDigest => Self::BadDigest,
            accumulate::Error::Refused(refusal) => Self::Refused(refusal),
            accumulate::Error::Io(source) => Self::Folder { what: "stage an upload", source },
            accumulate::Error::Blob(error) => Self::Blob(error),
            error @ accumulate::Error::Segment(_) => Self::Bug(error.to_string()),
        }
    }
}

/// What a piece met.
enum Met {
    /// Take it.
    Open(Tracked, u32),
    /// Already part of the sum.
    Committed,
    /// Stage 2 is over, or being closed.
    Closed,
}

impl Coordinator {
    /// One piece of a masked input. The last one is answered when the upload is part of a durable sum; an empty one asks
    /// how far the upload has come, and, once it is committed, for the survivors.
    ///
    /// # Errors
    /// [`Error::WrongLength`], [`Error::BeyondEnd`], [`Error::DifferentUpload`], [`Error::BadDigest`],
    /// [`Error::Refused`] (`padding_bits`, `not_expected`), [`Error::Late`], and those of [`Coordinator::share_keys`].
    pub async fn upload_piece(&self, caller: &Caller, piece: UploadPiece) -> Result<UploadAnswer, Error> {
        let inner = &self.0;
        let session = piece.session;
        let Some(live) = inner.round_of(caller, session).await? else { return Err(Error::Late) };
        let mut changed = live.changed.subscribe();
        let until = inner.clock.steady() + inner.settings.long_poll;
        let asks = piece.data.is_empty();
        let (this, round, who) = (Arc::clone(inner), Arc::clone(&live), *caller);
        let held = inner.to_the_end(async move { this.take_piece(&who, &round, piece).await }).await?;
        if let Some(Held::Part(received)) = held {
            return Ok(UploadAnswer::Received(received));
        }
        loop {
            {
                let state = inner.lock(&live).await?;
                if let Some(answer) = answer(&state, caller, session, asks)? {
                    return Ok(answer);
                }
            }
            if inner.clock.steady() >= until {
                let sentence = "the upload is complete and waits; ask again with an empty piece";
                return Ok(UploadAnswer::Wait(Wait {
                    retry: POLL_AGAIN,
                    code: "stage_open".into(),
                    sentence: sentence.into(),
                }));
            }
            inner.changed(&mut changed, until).await?;
        }
    }
}

impl Inner {
    /// Stages the piece; a whole upload is verified and queued. `None`: the stage is not open, or the upload committed.
    async fn take_piece(
        self: &Arc<Self>,
        caller: &Caller,
        live: &Arc<Live>,
        piece: UploadPiece,
    ) -> Result<Option<Held>, Error> {
        let met = {
            let mut state = self.lock(live).await?;
            self.meet(caller, &mut state, &piece).await?
        };
        let Met::Open(tracked, index) = met else { return Ok(None) };
        let upload = tracked.upload;
        let _one_at_a_time = tracked.writing.lock().await;
        let staging = self.staging.clone();
        let held = blocking(move || staging.append(&upload, piece.offset, &piece.data)).await?;
        if matches!(held, Held::Part(_)) {
            return Ok(Some(held));
        }
        let (config, known) = {
            let state = self.lock(live).await?;
            let Some(secure) = state.sessions.get(&upload.session) else { return Ok(None) };
            let known = secure.uploads.get(&caller.device).map(|tracked| tracked.state);
            (Arc::clone(&secure.config), known)
        };
        if known == Some(UploadState::Staging) {
            let staging = self.staging.clone();
            let verified = blocking(move || Ok::<_, Error>(staging.verify(&upload, &config))).await?;
            self.settle_upload(live, &upload, verified).await?;
        } else if known != Some(UploadState::Complete) {
            return Ok(None);
        }
        let state = self.lock(live).await?;
        if let Some(secure) = state.sessions.get(&upload.session) {
            let queued = Queued { device: upload.device, index, digest: upload.digest };
            secure.adder.enqueue(queued, &self.sink(live, upload.session));
        }
        Ok(Some(held))
    }

    /// Whether this piece may be taken, by what the rows know; a new upload gets its row.
    async fn meet(&self, caller: &Caller, state: &mut State, piece: &UploadPiece) -> Result<Met, Error> {
        let now = state.now(self);
        let member = participant(state, caller)?;
        if member.session != Some(piece.session) {
            return Err(Error::NotParticipant);
        }
        let left = member.left;
        let progress = state.round.session(piece.session).ok_or(Error::UnknownSession)?;
        if progress.stage != SessionStage::MaskedInput || progress.closing {
            return Ok(Met::Closed);
        }
        let secure = state.sessions.get_mut(&piece.session).ok_or(Error::UnknownSession)?;
        let Some(Stage::MaskedInput(inputs)) = secure.protocol.as_ref().map(|protocol| protocol.stage()) else {
            return Ok(Met::Closed);
        };
        let index = secure.index.get(&caller.device).copied().filter(|&index| inputs.expected(index));
        let index = index.ok_or(Error::Refused(Reason::NotExpected.into()))?;
        let expected = inputs.upload_len();
        if piece.total != expected {
            return Err(Error::WrongLength { expected, announced: piece.total });
        }
        let upload = Upload { session: piece.session, device: caller.device, digest: piece.digest, total: piece.total };
        if let Some(tracked) = secure.uploads.get_mut(&caller.device) {
            tracked.piece_at = now;
            return match tracked.state {
                _ if tracked.upload != upload => Err(Error::DifferentUpload),
                UploadState::Committed => Ok(Met::Committed),
                UploadState::Staging | UploadState::Complete => Ok(Met::Open(tracked.clone(), index)),
            };
        }
        if left {
            return Err(Error::HasLeft);
        }
        let row = UploadRow {
            session: piece.session,
            device: caller.device,
            participant_index: index,
            digest: piece.digest,
            total: piece.total,
            state: UploadState::Staging,
            segment: None,
            created_at: self.now(),
        };
        let new = Arc::new(row);
        let kept = self
            .store
            .run_tx("announce_upload", move |tx| {
                let new = Arc::clone(&new);
                Box::pin(async move {
                    if tx.insert_upload(&new).await? {
                        return Ok(UploadState::Staging);
                    }
                    // Only when an earlier commit was lost sight of: the row is there, memory does not know it.
                    let row = tx.upload(new.session, new.device).await?.ok_or(Error::DifferentUpload)?;
                    let same = (row.digest, row.total) == (new.digest, new.total);
                    if same { Ok(row.state) } else { Err(Error::DifferentUpload) }
                })
            })
            .await?;
        let mut tracked = Tracked::new(upload, kept);
        tracked.piece_at = now;
        secure.uploads.insert(caller.device, tracked.clone());
        Ok(Met::Open(tracked, index))
    }

    /// Keeps the outcome of a verification: a bad upload is forgotten, so that its sender may begin again.
    async fn settle_upload(
        &self,
        live: &Live,
        upload: &Upload,
        verified: Result<(), accumulate::Error>,
    ) -> Result<(), Error> {
        let bad = matches!(verified, Err(accumulate::Error::BadDigest | accumulate::Error::Refused(_)));
        if verified.is_err() && !bad {
            return Ok(verified?);
        }
        let Upload { session, device, .. } = *upload;
        let mut state = self.lock(live).await?;
        self.store
            .run_tx("verify_upload", move |tx| {
                Box::pin(async move {
                    if bad {
                        tx.delete_upload(session, device).await?;
                    } else {
                        tx.set_upload_complete(session, device).await?;
                    }
                    Ok::<_, Error>(())
                })
            })
            .await?;
        if let Some(secure) = state.sessions.get_mut(&session) {
            if bad {
                secure.uploads.remove(&device);
            } else if let Some(tracked) = secure.uploads.get_mut(&device) {
                tracked.state = UploadState::Complete;
            }
        }
        Ok(verified?)
    }

    pub(super) fn sink(self: &Arc<Self>, live: &Arc<Live>, session: SessionId) -> Arc<RoundSink> {
        Arc::new(RoundSink { inner: Arc::clone(self), live: Arc::clone(live), session })
    }

    /// One transaction: the segment, its uploads, the round's count.
    async fn commit_segment(
        self: &Arc<Self>,
        live: &Arc<Live>,
        session: SessionId,
        segment: SegmentRow,
        uploads: &[Queued],
    ) -> Result<(), Error> {
        let mut guard = self.lock(live).await?;
        let state = &mut *guard;
        let open = state.round.session(session).is_some_and(|progress| progress.stage == SessionStage::MaskedInput);
        let protocol = state.sessions.get_mut(&session).and_then(|secure| secure.protocol.as_mut());
        let Some(protocol) = protocol.filter(|protocol| open && protocol.stage_number() == Some(2)) else {
            // The stage has closed without them: the segment is an orphan.
            self.blobs.delete(&segment.blob).await?;
            return Ok(());
        };
        for upload in uploads {
            protocol.commit(upload.index, upload.digest.0)?;
        }
        let (answered, ready) = answered(protocol);
        let event = Event::StageAnswered { session, stage: SessionStage::MaskedInput, answered, ready };
        let devices: Vec<_> = uploads.iter().map(|upload| upload.device).collect();
        let change = Change::Uploads(segment, devices.clone());
        self.step(live, state, event, vec![change]).await?;
        if let Some(secure) = state.sessions.get_mut(&session) {
            for device in &devices {
                if let Some(tracked) = secure.uploads.get_mut(device) {
                    tracked.state = UploadState::Committed;
                }
            }
        }
        // Only the step's wake-up comes before the marks; look again now that they are there.
        live.changed.send_modify(|count| *count += 1);
        drop(guard);
        let staging = self.staging.clone();
        let removed = blocking(move || {
            devices.iter().try_for_each(|&device| staging.remove(session, device)).map_err(accumulate::Error::from)
        });
        if let Err(error) = removed.await {
            tracing::debug!(%session, %error, "staged files stay until the session ends");
        }
        Ok(())
    }
}

impl State {
    /// Sessions that would close on silence now, while an upload that is not whole yet gets on.
    pub(super) fn still_sending(&self, now: Timestamp) -> Vec<SessionId> {
        let grace = Duration::from_millis(self.round.rules.timing.grace_ms);
        let gets_on = |id: &SessionId| {
            let uploads = self.sessions.get(id).into_iter().flat_map(|secure| secure.uploads.values());
            let unfinished = |tracked: &&Tracked| tracked.state != UploadState::Committed;
            uploads.filter(unfinished).any(|tracked| tracked.piece_at.plus(grace) > now)
        };
        let open = self.round.sessions.iter().filter(|progress| {
            progress.stage == SessionStage::MaskedInput && !progress.closing && progress.deadline <= now
        });
        open.filter(|progress| now < progress.window.latest).map(|progress| progress.id).filter(gets_on).collect()
    }
}

/// Where a session's segments go.
pub(super) struct RoundSink {
    inner: Arc<Inner>,
    live: Arc<Live>,
    session: SessionId,
}

impl Sink for RoundSink {
    async fn commit(
        &self,
        segment: SegmentRow,
        uploads: Vec<Queued>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.inner.commit_segment(&self.live, self.session, segment, &uploads).await?)
    }
}

/// What an upload call gets at this moment; `None`: wait on. `asks`: an empty piece, which waits for the survivors.
fn answer(state: &State, caller: &Caller, session: SessionId, asks: bool) -> Result<Option<UploadAnswer>, Error> {
    let progress = state.round.session(session).ok_or(Error::UnknownSession)?;
    let secure = state.sessions.get(&session).ok_or(Error::UnknownSession)?;
    let tracked = secure.uploads.get(&caller.device).map(|tracked| tracked.state);
    match progress.stage {
        SessionStage::Abandoned => Err(ended(state, session)),
        SessionStage::Keys | SessionStage::Shares => Err(Error::Refused(Reason::StageOrder.into())),
        SessionStage::MaskedInput => match tracked {
            Some(UploadState::Committed) if !asks => Ok(Some(UploadAnswer::Committed)),
            Some(UploadState::Committed) => Ok(None),
            // Verified just before the end: it may still make it.
            Some(UploadState::Complete) => Ok(None),
            Some(UploadState::Staging) | None if progress.closing => Err(Error::Refused(Reason::Late.into())),
            Some(UploadState::Staging) | None => Ok(None),
        },
        SessionStage::Agreement if tracked == Some(UploadState::Committed) => {
            down(state, caller, session).map(|down| Some(UploadAnswer::Down(down)))
        }
        SessionStage::Agreement | SessionStage::Unmask | SessionStage::Released => {
            Err(Error::Refused(Reason::Late.into()))
        }
    }
}

/// Runs blocking work on the runtime's threads for it.
pub(super) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Error>
where
    T: Send + 'static,
    E: Into<Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Stopping),
    }
}
