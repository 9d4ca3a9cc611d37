//! The coordinator: its rooms behind one handle.
//!
//! Every call of a device goes the same way: the message is checked by what does not change any more and kept in a row; a
//! look at the rows lets [`crate::round::Round::handle`] decide, in one transaction that also keeps what is left to do;
//! after the commit the waiting calls are woken. A crash before the commit leaves nothing, a crash after it loses nothing.
//!
//! | room | what |
//! |---|---|
//! | [`crate::rounds`] | rows of open rounds, and the one way to change them |
//! | [`crate::selection`] | check-ins, leaving |
//! | [`crate::intake`] | messages and uploads of sessions |
//! | [`crate::effects`] | closing, unmasking, publishing, deleting |
//! | [`crate::admin`] | operators, and models for devices |
//! | `clockwork.rs` | what happens by itself |
//! | `group.rs` | what comes at the same time is written together |

use std::sync::Arc;

use bytes::Bytes;
use scale_proto::answer::{
    CheckIn, CheckInAnswer, Leave, ModelManifest, ModelRequest, Progress, StageAnswer, UploadAnswer,
};
use scale_proto::ids::{ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::stage::{StageUp, UploadPiece};
use scale_proto::task::TaskConfig;

use crate::admin::{self, Admin, ModelInfo, ModelWatch, RoundInfo, TaskInfo};
use crate::clockwork::Clockwork;
use crate::context::Context;
use crate::effects::Effects;
use crate::error::Error;
use crate::intake::Intake;
use crate::parts::{Caller, Parts};
use crate::round::SessionStage;
use crate::rounds::Rounds;
use crate::rows::TaskState;
use crate::selection::Selection;

/// Handle to the one coordinator of a process; clones are cheap and mean the same one.
#[derive(Clone)]
pub struct Coordinator(Arc<Rooms>);

struct Rooms {
    context: Arc<Context>,
    rounds: Arc<Rounds>,
    selection: Arc<Selection>,
    intake: Arc<Intake>,
    admin: Arc<Admin>,
    clockwork: Arc<Clockwork>,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Coordinator").field(&self.0.rounds).finish()
    }
}

impl Coordinator {
    /// Goes on with what was under way, and starts to keep time. Without [`crate::Settings::replicas`] the rows and blobs
    /// must be this process's alone.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Blob`], [`Error::Folder`].
    pub async fn start(parts: Parts) -> Result<Self, Error> {
        let staging = parts.staging.clone();
        let context = Arc::new(Context::new(parts));
        let rounds = Arc::new(Rounds::new(Arc::clone(&context)));
        let selection = Arc::new(Selection::new(Arc::clone(&rounds)));
        let intake = Arc::new(Intake::new(Arc::clone(&rounds), staging));
        let effects = Arc::new(Effects::new(Arc::clone(&rounds), Arc::clone(&intake)));
        let admin = Arc::new(Admin::new(Arc::clone(&rounds)));
        let clockwork = Arc::new(Clockwork::new(
            Arc::clone(&rounds),
            Arc::clone(&selection),
            Arc::clone(&intake),
            Arc::clone(&effects),
        ));
        clockwork.resume().await?;
        let running = Arc::clone(&clockwork);
        context.tasks.spawn(async move { running.run().await });
        context.tasks.spawn(effects.run());
        Ok(Self(Arc::new(Rooms { context, rounds, selection, intake, admin, clockwork })))
    }

    /// Ends every wait with [`Error::Stopping`] and returns when nothing runs any more. What was under way goes on at the
    /// next start, or in another process.
    pub async fn shutdown(&self) {
        self.0.context.stop.cancel();
        self.0.context.tasks.close();
        self.0.context.tasks.wait().await;
        self.0.intake.stop().await;
    }

    /// Does what is due now. Runs by itself; tests with a clock of their own call it after moving the clock.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tick(&self) -> Result<(), Error> {
        self.0.clockwork.tick_now().await.map(drop)
    }
}

/// For devices.
impl Coordinator {
    /// A device asks for work. Once it is in a round this waits for the end of selection, up to the long-poll time, and
    /// then hands out the manifest; a device that is in already gets the same answer again.
    ///
    /// # Errors
    /// [`Error::UnknownTask`] when it names tasks that are all unknown; [`Error::Store`].
    pub async fn check_in(&self, caller: &Caller, request: CheckIn) -> Result<CheckInAnswer, Error> {
        self.0.selection.check_in(caller, request).await
    }

    /// A device leaves its round; nobody waits for it any more. Leaving twice is fine.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::NotParticipant`], [`Error::Store`].
    pub async fn leave(&self, caller: &Caller, request: Leave) -> Result<(), Error> {
        self.0.selection.leave(caller, request).await
    }

    /// How far a device's training has come. Kept nowhere but in the log.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::NotParticipant`].
    pub async fn report_progress(&self, caller: &Caller, progress: Progress) -> Result<(), Error> {
        self.0.selection.report_progress(caller, progress).await
    }

    /// Stage 0. The answer is the roster.
    ///
    /// # Errors
    /// [`Error::NotTraining`], [`Error::WrongIdentity`], [`Error::Refused`] (docs/protocol/session.md), and those of
    /// [`Coordinator::share_keys`].
    pub async fn advertise_keys(&self, caller: &Caller, up: StageUp<RoundId>) -> Result<StageAnswer, Error> {
        self.0.intake.advertise_keys(caller, up).await
    }

    /// Stage 1. The answer holds the sharers and the shares for this device.
    ///
    /// # Errors
    /// [`Error::UnknownSession`], [`Error::NotParticipant`], [`Error::HasLeft`], [`Error::Refused`], [`Error::Late`],
    /// [`Error::Abandoned`], [`Error::Store`].
    pub async fn share_keys(&self, caller: &Caller, up: StageUp<SessionId>) -> Result<StageAnswer, Error> {
        self.0.intake.in_session(caller, SessionStage::Shares, up).await
    }

    /// Stage 2, one piece of a masked input. The last one is answered when the upload is part of a durable sum; an empty
    /// one asks how far the upload has come, and, once it is committed, for the survivors.
    ///
    /// # Errors
    /// [`Error::WrongLength`], [`Error::BeyondEnd`], [`Error::DifferentUpload`], [`Error::BadDigest`],
    /// [`Error::Refused`] (`padding_bits`, `not_expected`), [`Error::Late`], and those of [`Coordinator::share_keys`].
    pub async fn upload_piece(&self, caller: &Caller, piece: UploadPiece) -> Result<UploadAnswer, Error> {
        self.0.intake.upload_piece(caller, piece).await
    }

    /// Stage 3. The answer holds the signatures.
    ///
    /// # Errors
    /// As [`Coordinator::share_keys`].
    pub async fn confirm_survivors(&self, caller: &Caller, up: StageUp<SessionId>) -> Result<StageAnswer, Error> {
        self.0.intake.in_session(caller, SessionStage::Agreement, up).await
    }

    /// Stage 4. Answered as soon as the shares are kept.
    ///
    /// # Errors
    /// As [`Coordinator::share_keys`].
    pub async fn reveal_shares(&self, caller: &Caller, up: StageUp<SessionId>) -> Result<StageAnswer, Error> {
        self.0.intake.in_session(caller, SessionStage::Unmask, up).await
    }

    /// Where a model is: the version asked for, or the one that is served.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::UnknownModel`], [`Error::Store`].
    pub async fn get_model(&self, request: ModelRequest) -> Result<ModelManifest, Error> {
        admin::manifest(&self.0.rounds, &request.task, request.version).await
    }

    /// Word of a task's models: the present one at once, then each that is published.
    ///
    /// # Errors
    /// [`Error::UnknownTask`].
    pub async fn watch_models(&self, task: &TaskId) -> Result<ModelWatch, Error> {
        ModelWatch::new(&self.0.rounds, task)
    }
}

/// For operators.
impl Coordinator {
    /// Creates a task with its first model: the given safetensors file, or seeded initial weights.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooWide`], [`Error::ModelFile`], [`Error::TaskExists`], [`Error::Store`],
    /// [`Error::Blob`]; nothing is created then.
    pub async fn create_task(
        &self,
        task: TaskId,
        config: TaskConfig,
        initial_model: Option<Bytes>,
    ) -> Result<TaskInfo, Error> {
        self.0.admin.create_task(task, config, initial_model).await
    }

    /// Every task, by name.
    ///
    /// # Errors
    /// None at present; reserved for storage.
    pub async fn list_tasks(&self) -> Result<Vec<TaskInfo>, Error> {
        Ok(self.0.admin.list_tasks())
    }

    /// Lets a task open rounds, or not. A round that is open goes on.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::TaskOver`], [`Error::Store`].
    pub async fn set_task_state(&self, task: &TaskId, to: TaskState) -> Result<TaskInfo, Error> {
        self.0.admin.set_task_state(task, to).await
    }

    /// Opens a round now, whatever the schedule says.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::TaskNotActive`], [`Error::RoundOpen`], [`Error::Store`].
    pub async fn open_round(&self, task: &TaskId) -> Result<RoundInfo, Error> {
        self.0.admin.open_round(task).await
    }

    /// The newest rounds of a task, newest first.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::Store`].
    pub async fn list_rounds(&self, task: &TaskId, limit: u32) -> Result<Vec<RoundInfo>, Error> {
        self.0.admin.list_rounds(task, limit).await
    }

    /// One round.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::Store`].
    pub async fn get_round(&self, round: RoundId) -> Result<RoundInfo, Error> {
        self.0.admin.get_round(round).await
    }

    /// Ends a round; nothing of it is revealed that is not already.
    ///
    /// # Errors
    /// [`Error::UnknownRound`], [`Error::RoundOver`], [`Error::Store`].
    pub async fn abandon_round(&self, round: RoundId, reason: String) -> Result<RoundInfo, Error> {
        self.0.admin.abandon_round(round, reason).await
    }

    /// Every model version of a task, newest first.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::Store`].
    pub async fn list_models(&self, task: &TaskId) -> Result<Vec<ModelInfo>, Error> {
        self.0.admin.list_models(task).await
    }

    /// One model version; `None`: the one that is served.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::UnknownModel`], [`Error::Store`].
    pub async fn get_model_info(&self, task: &TaskId, version: Option<ModelVersion>) -> Result<ModelInfo, Error> {
        self.0.admin.get_model_info(task, version).await
    }

    /// Publishes an older version again, as a new one. The round that is open, if any, is abandoned: it trains what is
    /// being taken back.
    ///
    /// # Errors
    /// [`Error::UnknownTask`], [`Error::UnknownModel`], [`Error::Store`], [`Error::Blob`].
    pub async fn rollback_model(&self, task: &TaskId, version: ModelVersion) -> Result<ModelInfo, Error> {
        self.0.admin.rollback_model(task, version).await
    }
}
