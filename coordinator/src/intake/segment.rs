//! The queue of whole uploads and its worker: everything that waits becomes one segment (group commit).

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use scale_proto::ids::{DeviceId, SessionId};
use scale_secagg::config::RoundConfig;
use scale_secagg::server::Accumulator;
use tokio::sync::Notify;

use crate::blobs::Blobs;
use crate::context::{blocking, guard};
use crate::error::Error;
use crate::rows::SegmentRow;
use crate::staging::{self, Held, Staging, Upload};

/// How long an upload waits for others: a segment is written for all of them, and it is larger than an upload.
const GATHER: Duration = Duration::from_millis(200);
/// First and longest pause after a failure of the disk or the database; each is twice the one before.
const PAUSE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

/// A whole, verified upload that waits to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Queued {
    pub(super) upload: Upload,
    /// Its sender's place in the roster.
    pub(super) index: u32,
}

/// What became of a segment.
#[derive(Debug)]
pub(super) enum Committed {
    /// It is named, and its uploads are part of the sum; or they never can be, because the stage is over.
    Done,
    /// It was thrown away, or not made: these of its uploads wait no more. They are part of the sum already, or gone.
    Already(Vec<DeviceId>),
}

/// Why there is no segment.
#[derive(Debug)]
pub(super) enum Unmade {
    /// Not all of an upload is staged any more.
    Missing(staging::Error),
    /// The disk, the object store, or a damaged upload.
    Failed(Error),
}

impl From<Error> for Unmade {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Where segments go: one transaction that names the segment and marks its uploads.
pub(super) trait Commit: Send + Sync {
    /// Commits. `Err`: it may be tried again, with another segment.
    fn commit(&self, segment: SegmentRow, uploads: Vec<Queued>) -> BoxFuture<'_, Result<Committed, Error>>;

    /// Looks at what became of uploads of which something is missing where they are staged. `Ok`: they wait no more.
    fn missing(&self, uploads: Vec<Upload>) -> BoxFuture<'_, Result<(), Error>>;
}

#[derive(Default)]
struct State {
    queue: Vec<Queued>,
    adding: Vec<DeviceId>,
    running: bool,
    stopped: bool,
}

impl State {
    fn holds(&self, device: DeviceId) -> bool {
        self.adding.contains(&device) || self.queue.iter().any(|waiting| waiting.upload.device == device)
    }
}

/// One session's queue.
pub(super) struct SegmentWriter {
    session: SessionId,
    config: Arc<RoundConfig>,
    staging: Staging,
    blobs: Blobs,
    commit: Arc<dyn Commit>,
    state: Mutex<State>,
    idle: Notify,
    /// Cuts a pause short.
    hurry: Notify,
    /// Cuts the wait for others short.
    gathered: Notify,
}

impl SegmentWriter {
    /// An empty queue.
    pub(super) fn new(
        session: SessionId,
        config: Arc<RoundConfig>,
        staging: Staging,
        blobs: Blobs,
        commit: Arc<dyn Commit>,
    ) -> Self {
        Self {
            session,
            config,
            staging,
            blobs,
            commit,
            state: Mutex::default(),
            idle: Notify::new(),
            hurry: Notify::new(),
            gathered: Notify::new(),
        }
    }

    /// Queues a whole upload; one that waits already is not queued twice. Starts the worker when none runs.
    pub(super) fn enqueue(self: &Arc<Self>, upload: Upload, index: u32) {
        let mut state = self.state();
        if state.stopped || state.holds(upload.device) {
            return;
        }
        state.queue.push(Queued { upload, index });
        if !state.running {
            state.running = true;
            tokio::spawn(Arc::clone(self).work());
        }
    }

    /// Whether an upload of this device waits or is being added.
    pub(super) fn has(&self, device: DeviceId) -> bool {
        self.state().holds(device)
    }

    /// Waits until nothing is queued and nothing is being added. What waits for others is added at once, and what failed
    /// is tried again at once.
    pub(super) async fn drained(&self) {
        self.hurry.notify_one();
        self.gathered.notify_one();
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // Registered before the check, so that no wake-up is missed.
            idle.as_mut().enable();
            if !self.state().running {
                return;
            }
            idle.await;
        }
    }

    /// Takes nothing more and forgets what waits.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.queue.clear();
        self.hurry.notify_one();
        self.gathered.notify_one();
    }

    /// After a failure fewer uploads are tried at once, behind those that came meanwhile: one that cannot be read holds
    /// up nobody else for long.
    async fn work(self: Arc<Self>) {
        let (mut most, mut pause) = (usize::MAX, PAUSE[0]);
        loop {
            if !self.is_over() {
                tokio::select! {
                    () = tokio::time::sleep(GATHER) => {}
                    () = self.gathered.notified() => {}
                }
            }
            let batch = {
                let mut state = self.state();
                if state.queue.is_empty() || state.stopped {
                    state.running = false;
                    self.idle.notify_waiters();
                    return;
                }
                let count = state.queue.len().min(most);
                let batch = state.queue.drain(..count).collect::<Vec<_>>();
                state.adding = batch.iter().map(|queued| queued.upload.device).collect();
                batch
            };
            let session = self.session;
            match self.add(&batch).await {
                Ok(Committed::Done) => {
                    self.state().adding.clear();
                    (most, pause) = (most.saturating_mul(2), PAUSE[0]);
                }
                Ok(Committed::Already(devices)) => {
                    let mut rest = batch;
                    rest.retain(|queued| !devices.contains(&queued.upload.device));
                    self.put_back(rest);
                }
                Err(error) => {
                    tracing::warn!(%session, uploads = batch.len(), %error, "a partial sum failed and is made again");
                    most = (batch.len() / 2).max(1);
                    self.put_back(batch);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE[1]),
                        () = self.hurry.notified() => {}
                    }
                }
            }
        }
    }

    /// Makes a segment of the uploads and commits it.
    async fn add(&self, batch: &[Queued]) -> Result<Committed, Error> {
        match self.segment(batch).await {
            Ok(segment) => self.commit.commit(segment, batch.to_vec()).await,
            Err(Unmade::Missing(error)) => {
                let missing = self.not_staged(batch).await?;
                if missing.is_empty() {
                    return Err(error.into());
                }
                let devices = missing.iter().map(|upload| upload.device).collect();
                self.commit.missing(missing).await?;
                Ok(Committed::Already(devices))
            }
            Err(Unmade::Failed(error)) => Err(error),
        }
    }

    /// Those of the uploads of which something is missing where they are staged.
    async fn not_staged(&self, batch: &[Queued]) -> Result<Vec<Upload>, Error> {
        let mut missing = Vec::new();
        for Queued { upload, .. } in batch {
            // An empty piece only asks.
            if self.staging.append(upload, 0, Bytes::new()).await? != Held::Whole {
                missing.push(*upload);
            }
        }
        Ok(missing)
    }

    /// Adds up the staged uploads and writes the segment durably. Nothing in the rows says so yet.
    ///
    /// # Errors
    /// [`Unmade`]; the partial sum is gone then, the staged uploads stay.
    pub(super) async fn segment(&self, batch: &[Queued]) -> Result<SegmentRow, Unmade> {
        let uploads: Vec<Upload> = batch.iter().map(|queued| queued.upload).collect();
        let sum = self.staging.add_up(Arc::clone(&self.config), &uploads).await.map_err(|error| match error {
            staging::Error::Missing { .. } => Unmade::Missing(error),
            error => Unmade::Failed(error.into()),
        })?;
        let bytes = blocking(move || Ok::<_, Error>(sum.to_bytes())).await?;
        // A name of its own for each try: a segment that no row names is never mistaken for another one.
        let id = uuid::Uuid::now_v7().to_string();
        let blob = segment_path(self.session, &id);
        self.blobs.put_new(&blob, Bytes::from(bytes)).await.map_err(Error::from)?;
        let uploads = u32::try_from(uploads.len()).unwrap_or(u32::MAX);
        Ok(SegmentRow { id, session: self.session, blob, uploads })
    }

    /// Whether nothing is left to add.
    fn is_over(&self) -> bool {
        let state = self.state();
        state.queue.is_empty() || state.stopped
    }

    fn put_back(&self, batch: Vec<Queued>) {
        let mut state = self.state();
        state.adding.clear();
        if state.stopped {
            return;
        }
        for queued in batch {
            // Not beside a copy that was queued meanwhile.
            if !state.holds(queued.upload.device) {
                state.queue.push(queued);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        guard(&self.state)
    }
}

/// Where a segment is kept.
pub(crate) fn segment_path(session: SessionId, id: &str) -> String {
    format!("segments/{session}/{id}.bin")
}

/// The sum of a session's segments, one at a time.
///
/// # Errors
/// [`Error::Blob`]; [`Error::Bug`] when one is missing or damaged.
pub(crate) async fn sum_segments(
    blobs: &Blobs,
    config: &RoundConfig,
    segments: &[SegmentRow],
) -> Result<Accumulator, Error> {
    let mut total = Accumulator::new(config);
    for segment in segments {
        let damaged = || Error::Bug(format!("partial sum {} is missing or damaged", segment.blob));
        let bytes = blobs.get(&segment.blob).await?.ok_or_else(damaged)?;
        let part = Accumulator::from_bytes(config, &bytes).map_err(|_| damaged())?;
        total.merge(&part).map_err(|_| damaged())?;
    }
    Ok(total)
}
