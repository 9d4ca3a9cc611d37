//! Uploads that are under way in this process. What counts is in the rows; this only saves reading them for every piece.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use scale_clock::Timestamp;
use scale_proto::ids::{DeviceId, SessionId};

use super::segment::SegmentWriter;
use crate::context::guard;
use crate::rows::UploadState;
use crate::staging::Upload;

/// By session.
#[derive(Default)]
pub(super) struct Uploads(Mutex<HashMap<SessionId, Underway>>);

#[derive(Default)]
struct Underway {
    tracked: HashMap<DeviceId, Tracked>,
    writer: Option<Arc<SegmentWriter>>,
}

/// An upload that was announced.
#[derive(Clone)]
pub(super) struct Tracked {
    pub(super) upload: Upload,
    pub(super) state: UploadState,
    /// Pieces of one upload are staged one after the other.
    pub(super) staging: Arc<tokio::sync::Mutex<()>>,
    /// When a piece came last, as the round counts.
    piece_at: Timestamp,
}

impl Uploads {
    /// This device's upload. A piece of it has come `now`.
    pub(super) fn piece(&self, session: SessionId, device: DeviceId, now: Timestamp) -> Option<Tracked> {
        let mut uploads = guard(&self.0);
        let tracked = uploads.get_mut(&session)?.tracked.get_mut(&device)?;
        tracked.piece_at = now;
        Some(tracked.clone())
    }

    /// How far this device's upload has come, as far as it is known here.
    pub(super) fn state(&self, session: SessionId, device: DeviceId) -> Option<UploadState> {
        guard(&self.0).get(&session)?.tracked.get(&device).map(|tracked| tracked.state)
    }

    /// Tracks an upload that its row says is in this state; one that is tracked already keeps its lock.
    pub(super) fn track(&self, upload: Upload, state: UploadState, now: Timestamp) -> Tracked {
        let mut uploads = guard(&self.0);
        let tracked = &mut uploads.entry(upload.session).or_default().tracked;
        let entry = tracked.entry(upload.device).or_insert_with(|| Tracked {
            upload,
            state,
            staging: Arc::default(),
            piece_at: now,
        });
        (entry.upload, entry.state) = (upload, state);
        entry.clone()
    }

    /// Notes how far uploads have come.
    pub(super) fn set(&self, session: SessionId, devices: impl IntoIterator<Item = DeviceId>, state: UploadState) {
        let mut uploads = guard(&self.0);
        let Some(underway) = uploads.get_mut(&session) else { return };
        for device in devices {
            if let Some(tracked) = underway.tracked.get_mut(&device) {
                tracked.state = state;
            }
        }
    }

    /// Forgets one upload, which its device may begin again.
    pub(super) fn forget(&self, session: SessionId, device: DeviceId) {
        if let Some(underway) = guard(&self.0).get_mut(&session) {
            underway.tracked.remove(&device);
        }
    }

    /// The session's writer of segments; `make` makes one that is missing.
    pub(super) fn writer(&self, session: SessionId, make: impl FnOnce() -> SegmentWriter) -> Arc<SegmentWriter> {
        let mut uploads = guard(&self.0);
        let writer = &mut uploads.entry(session).or_default().writer;
        Arc::clone(writer.get_or_insert_with(|| Arc::new(make())))
    }

    /// The session's writer of segments, if it has one.
    pub(super) fn known_writer(&self, session: SessionId) -> Option<Arc<SegmentWriter>> {
        guard(&self.0).get(&session)?.writer.clone()
    }

    /// Every writer.
    pub(super) fn writers(&self) -> Vec<Arc<SegmentWriter>> {
        guard(&self.0).values().filter_map(|underway| underway.writer.clone()).collect()
    }

    /// What waits to be added never will be.
    pub(super) fn stop_adding(&self, session: SessionId) {
        if let Some(writer) = self.known_writer(session) {
            writer.stop();
        }
    }

    /// Forgets a session that is over. Whether uploads of it were under way here.
    pub(super) fn end(&self, session: SessionId) -> bool {
        self.stop_adding(session);
        guard(&self.0).remove(&session).is_some()
    }

    /// Whether an upload that is not in the sum yet has had a piece within `grace`.
    pub(super) fn gets_on(&self, session: SessionId, grace: Duration, now: Timestamp) -> bool {
        let uploads = guard(&self.0);
        let tracked = uploads.get(&session).into_iter().flat_map(|underway| underway.tracked.values());
        tracked
            .filter(|tracked| tracked.state != UploadState::Committed)
            .any(|tracked| tracked.piece_at.plus(grace) > now)
    }
}
