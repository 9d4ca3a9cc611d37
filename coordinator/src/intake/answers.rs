//! What a call of a session gets at this moment, by the stage that the round says is open.

use std::time::Duration;

use scale_proto::answer::{StageAnswer, StageDown, UploadAnswer};

use scale_proto::time::RetryWindow;
use scale_secagg::error::Reason;
use scale_secagg::server::Down;

use super::Seat;
use crate::error::Error;
use crate::round::{Phase, SessionProgress, SessionStage};
use crate::rounds::View;
use crate::rows::UploadState;
use crate::schedule::pace;
use crate::store::Store;

/// When a call that waited in vain comes again.
pub(super) const POLL_AGAIN: RetryWindow =
    RetryWindow { after: Duration::from_millis(100), before: Duration::from_millis(500) };

impl Seat {
    /// The stage of the session that is open, and whether it is being closed; `None`: there is no such session.
    pub(super) fn open_stage(&self) -> Option<(SessionStage, bool)> {
        self.active.view().round.session(self.session).map(|progress| (progress.stage, progress.closing))
    }

    /// What a call of `stage` gets; `None`: wait on.
    ///
    /// # Errors
    /// [`Error::Late`], [`Error::Refused`], [`Error::Abandoned`]; [`Error::Store`].
    pub(super) async fn stage_answer(&self, store: &Store, stage: SessionStage) -> Result<Option<StageAnswer>, Error> {
        let view = self.active.view();
        let progress = view.round.session(self.session).ok_or(Error::UnknownSession)?;
        let asked = stage.number().unwrap_or_default();
        match progress.stage {
            SessionStage::Abandoned => Err(ended(&view, progress)),
            SessionStage::Released if stage == SessionStage::Unmask => Ok(Some(StageAnswer::Accepted)),
            SessionStage::Released => Err(Error::Late),
            open => match open.number().unwrap_or_default() {
                now if now == asked && stage == SessionStage::Unmask => Ok(Some(StageAnswer::Accepted)),
                now if now == asked => Ok(None),
                now if now == asked + 1 => self.down(store, open).await.map(|down| Some(StageAnswer::Down(down))),
                now if now > asked => Err(Error::Late),
                _ => Err(Error::Refused(Reason::StageOrder.into())),
            },
        }
    }

    /// What an upload call gets; `None`: wait on. `asks`: an empty piece, which waits for the survivors. `upload`: how far
    /// this device's upload has come.
    ///
    /// # Errors
    /// As [`Seat::stage_answer`].
    pub(super) async fn upload_answer(
        &self,
        store: &Store,
        upload: Option<UploadState>,
        asks: bool,
    ) -> Result<Option<UploadAnswer>, Error> {
        let view = self.active.view();
        let progress = view.round.session(self.session).ok_or(Error::UnknownSession)?;
        match progress.stage {
            SessionStage::Abandoned => Err(ended(&view, progress)),
            SessionStage::Keys | SessionStage::Shares => Err(Error::Refused(Reason::StageOrder.into())),
            SessionStage::MaskedInput => match upload {
                Some(UploadState::Committed) if !asks => Ok(Some(UploadAnswer::Committed)),
                Some(UploadState::Committed) => Ok(None),
                // Verified just before the end: it may still make it.
                Some(UploadState::Complete) => Ok(None),
                Some(UploadState::Staging) | None if progress.closing => Err(Error::Refused(Reason::Late.into())),
                Some(UploadState::Staging) | None => Ok(None),
            },
            SessionStage::Agreement if upload == Some(UploadState::Committed) => {
                self.down(store, SessionStage::Agreement).await.map(|down| Some(UploadAnswer::Down(down)))
            }
            SessionStage::Agreement | SessionStage::Unmask | SessionStage::Released => {
                Err(Error::Refused(Reason::Late.into()))
            }
        }
    }

    /// What opens stage `open` for this device.
    ///
    /// # Errors
    /// `not_expected` when it is not in the stage's set; `late` when the session has moved on meanwhile.
    async fn down(&self, store: &Store, open: SessionStage) -> Result<StageDown, Error> {
        let replica = self.secure.at(store, open).await?;
        let protocol = replica.protocol().filter(|protocol| protocol.stage_number() == open.number());
        let (protocol, stage) = protocol.zip(open.number()).ok_or(Error::Late)?;
        let down = replica.index(self.caller.device).and_then(|index| protocol.message(index));
        let (roster, payload) = match down.ok_or(Error::Refused(Reason::NotExpected.into()))? {
            Down::Roster(form, bytes) => (Some(form), bytes),
            Down::Bytes(bytes) => (None, bytes),
        };
        Ok(StageDown { session: self.session, stage, payload: payload.into(), roster })
    }
}

/// Why a session that was abandoned was.
fn ended(view: &View, progress: &SessionProgress) -> Error {
    if let Phase::Abandoned { code, sentence, .. } = &view.round.phase {
        return abandoned(code.clone(), sentence.clone(), view.round.cohort);
    }
    let (code, sentence) = match progress.failure.clone() {
        Some(failure) => (failure.code, failure.sentence),
        None => ("session_over".into(), "the session is over".into()),
    };
    abandoned(code, sentence, view.round.cohort)
}

/// A round or session of `cohort` devices that is over without a sum. They all hear it within a moment, so they are
/// spread before they come back; a small cohort is back within ten seconds.
fn abandoned(code: String, sentence: String, cohort: u32) -> Error {
    const AFTER: Duration = Duration::from_secs(5);
    const FEW: u64 = 250;
    Error::Abandoned { code, sentence, back: pace(Some(AFTER), u64::from(cohort).max(FEW)) }
}
