//! The queue of whole uploads and its worker: everything that waits becomes one segment (group commit).

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_secagg::config::RoundConfig;
use scale_secagg::server::Accumulator;
use tokio::sync::Notify;

use super::staging::BLOCK;
use super::{Error, Staging};
use crate::blobs::Blobs;
use crate::rows::SegmentRow;

/// How long an upload waits for others: a segment is written for all of them, and it is larger than an upload.
const GATHER: Duration = Duration::from_millis(200);
/// First and longest pause after a failure of the disk or the database; each is twice the one before.
const PAUSE: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(30)];

/// A whole, verified upload that waits to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queued {
    /// The sender.
    pub device: DeviceId,
    /// Its index in the roster.
    pub index: u32,
    /// SHA-256 of the upload.
    pub digest: Digest,
}

/// Where segments go: one transaction that names the segment and marks its uploads.
pub trait Sink: Send + Sync + 'static {
    /// Commits. `Ok` once it is durable, or when it never can be, because the stage is over: then the uploads are dropped.
    /// `Err`: it may be tried again, with another segment.
    fn commit(
        &self,
        segment: SegmentRow,
        uploads: Vec<Queued>,
    ) -> impl Future<Output = Result<(), Box<dyn std::error::Error + Send + Sync>>> + Send;
}

#[derive(Default)]
struct State {
    queue: Vec<Queued>,
    running: bool,
    stopped: bool,
}

/// One session's queue.
pub struct Adder {
    session: SessionId,
    config: Arc<RoundConfig>,
    staging: Staging,
    blobs: Blobs,
    state: Mutex<State>,
    idle: Notify,
    /// Cuts a pause short.
    hurry: Notify,
    /// Cuts the wait for others short.
    gathered: Notify,
}

impl Adder {
    /// An empty queue.
    pub fn new(session: SessionId, config: Arc<RoundConfig>, staging: Staging, blobs: Blobs) -> Self {
        Self {
            session,
            config,
            staging,
            blobs,
            state: Mutex::default(),
            idle: Notify::new(),
            hurry: Notify::new(),
            gathered: Notify::new(),
        }
    }

    /// Queues a whole upload; one that waits already is not queued twice. Starts the worker when none runs.
    pub fn enqueue(self: &Arc<Self>, upload: Queued, sink: &Arc<impl Sink>) {
        let mut state = self.state();
        if state.stopped || state.queue.iter().any(|waiting| waiting.device == upload.device) {
            return;
        }
        state.queue.push(upload);
        if !state.running {
            state.running = true;
            tokio::spawn(Arc::clone(self).work(Arc::clone(sink)));
        }
    }

    /// Waits until nothing is queued and nothing is being added. What waits for others is added at once, and what failed
    /// is tried again at once.
    pub async fn drained(&self) {
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
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.queue.clear();
        self.hurry.notify_one();
        self.gathered.notify_one();
    }

    /// After a failure fewer uploads are tried at once, behind those that came meanwhile: one that cannot be read holds
    /// up nobody else for long.
    async fn work(self: Arc<Self>, sink: Arc<impl Sink>) {
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
                state.queue.drain(..count).collect::<Vec<_>>()
            };
            let session = self.session;
            let added = match self.segment(&batch).await {
                Ok(segment) => sink.commit(segment, batch.clone()).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let Err(error) = added else {
                (most, pause) = (most.saturating_mul(2), PAUSE[0]);
                continue;
            };
            tracing::warn!(%session, uploads = batch.len(), %error, "a partial sum failed and is made again");
            most = (batch.len() / 2).max(1);
            self.put_back(batch);
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE[1]),
                () = self.hurry.notified() => {}
            }
        }
    }

    /// Adds up the staged files and writes the segment durably. Nothing in the rows says so yet.
    ///
    /// # Errors
    /// [`Error`]; the partial sum is gone then, the staged files stay.
    pub async fn segment(&self, batch: &[Queued]) -> Result<SegmentRow, Error> {
        let (staging, config, session) = (self.staging.clone(), Arc::clone(&self.config), self.session);
        let devices: Vec<DeviceId> = batch.iter().map(|upload| upload.device).collect();
        let uploads = u32::try_from(devices.len()).unwrap_or(u32::MAX);
        let bytes = blocking(move || add_up(&staging, session, &config, &devices).map(|sum| sum.to_bytes())).await?;
        // A name of its own for each try: a segment that no row names is never mistaken for another one.
        let id = uuid::Uuid::now_v7().to_string();
        let blob = segment_path(session, &id);
        self.blobs.put_new(&blob, Bytes::from(bytes)).await?;
        Ok(SegmentRow { id, session, blob, uploads })
    }

    /// Whether nothing is left to add.
    fn is_over(&self) -> bool {
        let state = self.state();
        state.queue.is_empty() || state.stopped
    }

    fn put_back(&self, batch: Vec<Queued>) {
        let mut state = self.state();
        if state.stopped {
            return;
        }
        for upload in batch {
            // Not beside a copy that was queued meanwhile.
            if !state.queue.iter().any(|waiting| waiting.device == upload.device) {
                state.queue.push(upload);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and every state in it is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a segment is kept.
pub fn segment_path(session: SessionId, id: &str) -> String {
    format!("segments/{session}/{id}.bin")
}

/// The sum of staged uploads. Holds one vector and one block, however many uploads there are.
///
/// # Errors
/// [`Error::Io`], [`Error::Refused`].
pub fn add_up(
    staging: &Staging,
    session: SessionId,
    config: &RoundConfig,
    devices: &[DeviceId],
) -> Result<Accumulator, Error> {
    let mut sum = Accumulator::new(config);
    let mut block = vec![0; BLOCK];
    for &device in devices {
        let mut file = staging.open(session, device)?;
        let mut ingest = sum.ingest();
        loop {
            let read = file.read(&mut block)?;
            if read == 0 {
                break;
            }
            ingest.push(&block[..read])?;
        }
        ingest.finish()?;
    }
    Ok(sum)
}

/// The sum of a session's segments, one at a time.
///
/// # Errors
/// [`Error::Blob`]; [`Error::Segment`] when one is missing or damaged.
pub async fn sum_segments(blobs: &Blobs, config: &RoundConfig, segments: &[SegmentRow]) -> Result<Accumulator, Error> {
    let mut total = Accumulator::new(config);
    for segment in segments {
        let damaged = || Error::Segment(segment.blob.clone());
        let bytes = blobs.get(&segment.blob).await?.ok_or_else(damaged)?;
        let part = Accumulator::from_bytes(config, &bytes).map_err(|_| damaged())?;
        total.merge(&part).map_err(|_| damaged())?;
    }
    Ok(total)
}

/// Runs blocking work on the runtime's threads for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(_) => Err(Error::Io(std::io::Error::from(std::io::ErrorKind::Interrupted))),
    }
}
