//! Uploads in an object store: one object per piece, `staging/{session}/{device}/{digest}/{offset}`, put if absent. The
//! objects are the only state, so any replica goes on where another one stood.
//!
//! A piece is kept where the run of pieces from byte 0 ends, and only there: what comes before it is cut off, what comes
//! behind a gap is not kept. Two replicas that keep a piece at the same place at the same time: the store takes one, the
//! other looks again. So pieces never overlap and none is ever replaced, and what was verified stays what it was.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use scale_proto::ids::SessionId;
use scale_secagg::config::RoundConfig;
use scale_secagg::server::Accumulator;

use super::upload::{Check, Error, Held, Upload, is_spoiled};
use crate::blobs::{BlobEntry, Blobs, Put};

/// Where staged pieces are.
const FOLDER: &str = "staging";
/// Pieces that are fetched ahead: the way to the store is long, and a piece is at most a MiB.
const AHEAD: usize = 4;
/// Pieces that any upload may have, and one more for each so many bytes. Each piece is a request to the store at every
/// later piece of the upload.
const PIECES: (usize, u64) = (64, 16 << 10);
/// How old what nobody knows has to be before it is removed.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Clone, Debug)]
pub(super) struct Objects {
    blobs: Blobs,
}

/// A piece, or the part of it that the run of pieces needs.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    name: String,
    /// Bytes at its start that the pieces before it hold already.
    skip: u64,
}

/// The run of pieces from byte 0.
#[derive(Debug, Default)]
struct Run {
    pieces: Vec<Piece>,
    held: u64,
    /// Objects, in the run or not.
    objects: usize,
}

/// The moment before which unknown pieces are removed.
pub(super) fn a_day_ago() -> SystemTime {
    SystemTime::now().checked_sub(A_DAY).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl Objects {
    pub(super) fn new(blobs: Blobs) -> Self {
        Self { blobs }
    }

    pub(super) async fn append(&self, upload: &Upload, offset: u64, data: Bytes) -> Result<Held, Error> {
        let end = upload.end_of(offset, &data)?;
        loop {
            let run = self.run(upload).await?;
            let held = run.held.min(upload.total);
            if data.is_empty() || offset > held || end <= held {
                return Ok(upload.held(held));
            }
            let most = PIECES.0 + usize::try_from(upload.total / PIECES.1).unwrap_or(usize::MAX - PIECES.0);
            if run.objects >= most {
                self.remove(upload).await?;
                return Err(Error::TooManyPieces(most));
            }
            // The cast holds: it is at most data.len().
            let rest = data.slice((held - offset) as usize..);
            match self.blobs.put_new(&format!("{}/{held:012}", folder_of(upload)), rest).await? {
                Put::Created => return Ok(upload.held(end)),
                // Another replica was faster; what is there now reaches further than what was seen.
                Put::Exists => {}
            }
        }
    }

    pub(super) async fn verify(&self, upload: &Upload, config: &RoundConfig) -> Result<(), Error> {
        let mut check = Check::new(upload, config);
        self.each_block(upload, |block| {
            check.push(block);
            Ok(())
        })
        .await?;
        let result = check.finish(upload);
        if is_spoiled(&result) {
            self.remove(upload).await?;
        }
        result
    }

    pub(super) async fn add_up(&self, config: &RoundConfig, uploads: &[Upload]) -> Result<Accumulator, Error> {
        let mut sum = Accumulator::new(config);
        for upload in uploads {
            let mut ingest = sum.ingest();
            self.each_block(upload, |block| Ok(ingest.push(block)?)).await?;
            ingest.finish()?;
        }
        Ok(sum)
    }

    pub(super) async fn remove(&self, upload: &Upload) -> Result<(), Error> {
        self.remove_folder(&folder_of(upload)).await
    }

    pub(super) async fn remove_session(&self, session: SessionId) -> Result<(), Error> {
        self.remove_folder(&format!("{FOLDER}/{session}")).await
    }

    pub(super) async fn retain(&self, keep: &HashSet<SessionId>, before: SystemTime) -> Result<(), Error> {
        for name in self.blobs.folders(FOLDER).await? {
            if name.parse().is_ok_and(|session| keep.contains(&session)) {
                continue;
            }
            let old = self.blobs.entries(&format!("{FOLDER}/{name}")).await?;
            let old = old.into_iter().filter(|entry| entry.modified < before).map(|entry| entry.name).collect();
            self.blobs.delete_all(old).await?;
        }
        Ok(())
    }

    async fn remove_folder(&self, folder: &str) -> Result<(), Error> {
        let names = self.blobs.list(folder).await?;
        Ok(self.blobs.delete_all(names).await?)
    }

    async fn run(&self, upload: &Upload) -> Result<Run, Error> {
        Ok(run_of(self.blobs.entries(&folder_of(upload)).await?))
    }

    /// Reads a whole upload, piece by piece in order.
    async fn each_block(&self, upload: &Upload, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let run = self.run(upload).await?;
        if run.held < upload.total {
            return Err(upload.missing(run.held));
        }
        let fetch = |piece: Piece| async move {
            // It was there a moment ago: somebody has removed the upload.
            let bytes = self.blobs.get(&piece.name).await?.ok_or_else(|| upload.missing(0))?;
            // The cast holds: it is less than the piece's length.
            Ok::<_, Error>(bytes.slice((piece.skip as usize).min(bytes.len())..))
        };
        let mut blocks = futures::stream::iter(run.pieces).map(fetch).buffered(AHEAD);
        while let Some(block) = blocks.try_next().await? {
            take(&block)?;
        }
        Ok(())
    }
}

fn folder_of(upload: &Upload) -> String {
    format!("{FOLDER}/{}/{}/{}", upload.session, upload.device, upload.digest)
}

/// The longest run without a gap from byte 0. `append` keeps no overlaps; should there be some, each byte counts once.
fn run_of(entries: Vec<BlobEntry>) -> Run {
    let mut run = Run { objects: entries.len(), ..Run::default() };
    let offset_of = |name: &str| name.rsplit('/').next().and_then(|offset| offset.parse::<u64>().ok());
    let mut pieces: Vec<_> =
        entries.into_iter().filter_map(|entry| offset_of(&entry.name).map(|offset| (offset, entry))).collect();
    pieces.sort_unstable_by_key(|(offset, _)| *offset);
    for (offset, entry) in pieces {
        let end = offset.saturating_add(entry.size);
        if offset > run.held {
            break;
        }
        if end > run.held {
            run.pieces.push(Piece { name: entry.name, skip: run.held - offset });
            run.held = end;
        }
    }
    run
}
