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
    /// Rises when a call that waits may get another answer.
    changed: watch::Sender<u64>,
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
        let news = matters(&current.round, &view.round);
        *current = Arc::new(view);
        drop(current);
        if news {
            self.wake();
        }
        true
    }

    /// Hears of every change that calls may wait for; those before this call are not told.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Makes every waiting call look again.
    pub(crate) fn wake(&self) {
        self.changed.send_modify(|count| *count += 1);
    }
}

/// Whether calls may get another answer: the phase or a stage has changed, not only a count or a time.
fn matters(before: &Round, after: &Round) -> bool {
    let stage = |progress: &SessionProgress| (progress.stage, progress.closing);
    std::mem::discriminant(&before.phase) != std::mem::discriminant(&after.phase)
        || !before.sessions.iter().map(stage).eq(after.sessions.iter().map(stage))
}

/// Whether devices may still be admitted.
pub(crate) fn is_selecting(round: &Round) -> bool {
    matches!(round.phase, Phase::Selecting { .. })
}
