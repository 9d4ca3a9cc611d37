//! The transaction that names a partial sum and marks its uploads as part of it: these rows are the survivor set.

use std::sync::Arc;

use futures::future::BoxFuture;
use scale_proto::ids::{DeviceId, SessionId};

use super::segment::{Commit, Committed, Queued};
use super::uploads::Uploads;
use crate::context::Context;
use crate::error::Error;
use crate::round::SessionStage;
use crate::rounds::ActiveRound;
use crate::rows::{Gate, SegmentRow, UploadState};
use crate::staging::{Staging, Upload};
use crate::store::{StoreError, Tx};

/// Commits the segments of a round's sessions.
pub(super) struct Committer {
    pub(super) context: Arc<Context>,
    pub(super) active: Arc<ActiveRound>,
    pub(super) uploads: Arc<Uploads>,
    pub(super) staging: Staging,
}

/// Why nothing was marked.
enum Unmarked {
    /// The stage is over: the segment names nobody.
    Closed,
    /// These uploads are in another segment, or gone.
    Already(Vec<DeviceId>),
    /// The database.
    Store(StoreError),
}

impl From<StoreError> for Unmarked {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Commit for Committer {
    fn commit(&self, segment: SegmentRow, uploads: Vec<Queued>) -> BoxFuture<'_, Result<Committed, Error>> {
        Box::pin(self.commit_segment(segment, uploads))
    }

    fn missing(&self, uploads: Vec<Upload>) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(self.look_for(uploads))
    }
}

impl Committer {
    async fn commit_segment(&self, segment: SegmentRow, uploads: Vec<Queued>) -> Result<Committed, Error> {
        let (session, blob) = (segment.session, segment.blob.clone());
        let devices: Arc<[DeviceId]> = uploads.iter().map(|queued| queued.upload.device).collect();
        let (segment, marking) = (Arc::new(segment), Arc::clone(&devices));
        let marked = self
            .context
            .store
            .run_tx("commit_segment", move |tx| {
                let (segment, devices) = (Arc::clone(&segment), Arc::clone(&marking));
                Box::pin(async move { mark(tx, &segment, &devices).await })
            })
            .await;
        match marked {
            Ok(()) => {}
            Err(Unmarked::Closed) => {
                self.context.blobs.delete(&blob).await?;
                return Ok(Committed::Done);
            }
            Err(Unmarked::Already(devices)) => {
                self.context.blobs.delete(&blob).await?;
                self.note(session, &devices).await?;
                return Ok(Committed::Already(devices));
            }
            Err(Unmarked::Store(error)) => return Err(error.into()),
        }
        self.uploads.set(session, devices.iter().copied(), UploadState::Committed);
        self.context.look_at(self.active.id);
        self.active.wake(session);
        for queued in &uploads {
            if let Err(error) = self.staging.remove(&queued.upload).await {
                tracing::debug!(%session, %error, "what was staged stays until the session ends");
            }
        }
        Ok(Committed::Done)
    }

    /// What became of uploads of which something is missing where they are staged, all of one session. Another process
    /// has added them and removed what was staged; or they are lost, and nobody was told that they count: their senders
    /// begin again.
    pub(super) async fn look_for(&self, uploads: Vec<Upload>) -> Result<(), Error> {
        let Some(session) = uploads.first().map(|upload| upload.session) else { return Ok(()) };
        let mut devices: Vec<DeviceId> = uploads.iter().map(|upload| upload.device).collect();
        devices.sort_unstable();
        let devices: Arc<[DeviceId]> = devices.into();
        let looked = self.context.store.run_tx("look_for_uploads", move |tx| {
            let devices = Arc::clone(&devices);
            Box::pin(async move {
                let mut found = Vec::new();
                for &device in devices.iter() {
                    let state = tx.upload(session, device).await?.map(|row| row.state);
                    if state == Some(UploadState::Complete) {
                        tx.delete_upload(session, device).await?;
                    }
                    found.push((device, state));
                }
                Ok::<_, Error>(found)
            })
        });
        for (device, state) in looked.await? {
            match state {
                Some(UploadState::Committed) => self.uploads.set(session, [device], UploadState::Committed),
                state => {
                    if state == Some(UploadState::Complete) {
                        tracing::warn!(%session, %device, "a staged upload is lost; its device sends it again");
                    }
                    self.uploads.forget(session, device);
                }
            }
        }
        self.active.wake(session);
        Ok(())
    }

    /// What another process has added, or has forgotten, is known here too from now on, and calls that wait for it are
    /// answered.
    async fn note(&self, session: SessionId, devices: &[DeviceId]) -> Result<(), Error> {
        let read = self
            .context
            .store
            .read("uploads", move |tx| Box::pin(async move { Ok::<_, Error>(tx.uploads(session).await?) }));
        let rows = read.await?;
        let committed = rows.iter().filter(|row| row.state == UploadState::Committed);
        self.uploads.set(session, committed.map(|row| row.device), UploadState::Committed);
        for &device in devices.iter().filter(|device| !rows.iter().any(|row| row.device == **device)) {
            self.uploads.forget(session, device);
        }
        self.active.wake(session);
        Ok(())
    }
}

/// Marks all of the uploads, or none: another process may have added one of them, and nobody may be counted twice.
async fn mark(tx: &mut Tx, segment: &SegmentRow, devices: &[DeviceId]) -> Result<(), Unmarked> {
    let session = tx.hold_session(segment.session).await?;
    if !session.is_some_and(|row| row.stage == SessionStage::MaskedInput && row.gate != Gate::Frozen) {
        return Err(Unmarked::Closed);
    }
    if tx.commit_uploads(segment.session, segment, devices).await? as usize == devices.len() {
        return Ok(());
    }
    let rows = tx.uploads(segment.session).await?;
    let ours =
        |device: &DeviceId| rows.iter().any(|row| row.device == *device && row.segment.as_ref() == Some(&segment.id));
    Err(Unmarked::Already(devices.iter().filter(|device| !ours(device)).copied().collect()))
}
