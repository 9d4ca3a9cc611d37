//! What memory keeps of one round: a copy of its row, what the start of training fixed, and who waits for a change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use scale_proto::ids::{DeviceId, RoundId, SessionId, TaskId};
use scale_proto::task::TaskConfig;
use scale_secagg::config::RoundConfig;
use tokio::sync::{OnceCell, watch};

use super::session::SecureSession;
use crate::context::guard;
use crate::error::Error;
use crate::round::{Phase, Round, SessionProgress};
use crate::rows::{ModelRow, RoundRow};

/// One round in memory.
pub(crate) struct ActiveRound {
    pub(crate) id: RoundId,
    pub(crate) task: TaskId,
    view: Mutex<Arc<View>>,
    /// Rises when the phase has changed.
    changed: watch::Sender<u64>,
    /// Rises when a call that waits in this session may get another answer: of ten thousand that wait in a round, only those
    /// whom it concerns look again.
    in_session: Mutex<HashMap<SessionId, watch::Sender<u64>>>,
    pub(super) fixed: OnceCell<Arc<Fixed>>,
}

/// A round as its row has it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) row: RoundRow,
    /// The row's `state`.
    pub(crate) round: Round,
}

/// What does not change any more once training has started.
pub(crate) struct Fixed {
    pub(crate) config: Arc<RoundConfig>,
    pub(crate) task: TaskConfig,
    pub(crate) base: ModelRow,
    pub(crate) members: HashMap<DeviceId, Member>,
    pub(crate) sessions: HashMap<SessionId, Arc<SecureSession>>,
}

/// A participant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) identity_key: [u8; 32],
    /// `None`: it had left before training started.
    pub(crate) session: Option<SessionId>,
}

impl View {
    /// Reads a row.
    ///
    /// # Errors
    /// [`Error::Bug`] for a state that does not decode.
    pub(crate) fn of(row: RoundRow) -> Result<Self, Error> {
        let round = serde_json::from_str(&row.state)
            .map_err(|error| Error::Bug(format!("state of round {} does not decode: {error}", row.id)))?;
        Ok(Self { row, round })
    }
}

impl ActiveRound {
    pub(super) fn new(view: View) -> Self {
        Self {
            id: view.row.id,
            task: view.row.task.clone(),
            view: Mutex::new(Arc::new(view)),
            changed: watch::Sender::new(0),
            in_session: Mutex::default(),
            fixed: OnceCell::new(),
        }
    }

    /// The newest copy of the row.
    pub(crate) fn view(&self) -> Arc<View> {
        Arc::clone(&guard(&self.view))
    }

    /// Takes a newer copy; an older one changes nothing. Whether it is newer.
    pub(super) fn accept(&self, view: View) -> bool {
        let mut current = guard(&self.view);
        if view.row.revision <= current.row.revision {
            return false;
        }
        let before = std::mem::replace(&mut *current, Arc::new(view));
        let after = Arc::clone(&current);
        drop(current);
        if std::mem::discriminant(&before.round.phase) != std::mem::discriminant(&after.round.phase) {
            self.changed.send_modify(|count| *count += 1);
            guard(&self.in_session).values().for_each(|session| session.send_modify(|count| *count += 1));
            return true;
        }
        let stage = |progress: &SessionProgress| (progress.stage, progress.closing);
        for progress in &after.round.sessions {
            // Only a stage, not a count or a time.
            if before.round.session(progress.id).map(stage) != Some(stage(progress)) {
                self.wake(progress.id);
            }
        }
        true
    }

    /// Hears of every change of the phase after this call.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Hears of every change after this call that calls in a session may wait for.
    pub(crate) fn subscribe_in(&self, session: SessionId) -> watch::Receiver<u64> {
        guard(&self.in_session).entry(session).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Makes every call that waits in a session look again.
    pub(crate) fn wake(&self, session: SessionId) {
        if let Some(session) = guard(&self.in_session).get(&session) {
            session.send_modify(|count| *count += 1);
        }
    }
}

/// Whether devices may still be admitted.
pub(crate) fn is_selecting(round: &Round) -> bool {
    matches!(round.phase, Phase::Selecting { .. })
}
