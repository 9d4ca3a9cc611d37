//! Uploads in a folder: one file per upload, written from the start without gaps, so that its length is how far the
//! upload has come. Work on files runs on the runtime's threads for it.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use scale_proto::ids::SessionId;
use scale_secagg::config::RoundConfig;
use scale_secagg::server::Accumulator;

use super::upload::{Check, Error, Held, Upload, is_spoiled};

/// Bytes read from a file at a time.
const BLOCK: usize = 64 << 10;

#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: Arc<Path>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> std::io::Result<Self> {
        fs::create_dir_all(&path)?;
        Ok(Self { path: path.into() })
    }

    pub(super) async fn append(&self, upload: &Upload, offset: u64, data: Bytes) -> Result<Held, Error> {
        let (file, upload) = (self.file(upload), *upload);
        blocking(move || append(&file, &upload, offset, &data)).await
    }

    pub(super) async fn verify(&self, upload: &Upload, config: Arc<RoundConfig>) -> Result<(), Error> {
        let (file, upload) = (self.file(upload), *upload);
        blocking(move || {
            let result = verify(&file, &upload, &config);
            if is_spoiled(&result) {
                absent_is_fine(fs::remove_file(&file))?;
            }
            result
        })
        .await
    }

    pub(super) async fn add_up(&self, config: Arc<RoundConfig>, uploads: &[Upload]) -> Result<Accumulator, Error> {
        let files: Vec<_> = uploads.iter().map(|upload| (self.file(upload), *upload)).collect();
        blocking(move || add_up(&config, &files)).await
    }

    pub(super) async fn remove(&self, upload: &Upload) -> Result<(), Error> {
        let file = self.file(upload);
        blocking(move || Ok(absent_is_fine(fs::remove_file(file))?)).await
    }

    pub(super) async fn remove_session(&self, session: SessionId) -> Result<(), Error> {
        let folder = self.path.join(session.to_string());
        blocking(move || Ok(absent_is_fine(fs::remove_dir_all(folder))?)).await
    }

    pub(super) async fn retain(&self, keep: HashSet<SessionId>) -> Result<(), Error> {
        let path = Arc::clone(&self.path);
        blocking(move || {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                let session = entry.file_name().to_str().and_then(|name| name.parse().ok());
                if session.is_some_and(|session| !keep.contains(&session)) {
                    absent_is_fine(fs::remove_dir_all(entry.path()))?;
                }
            }
            Ok(())
        })
        .await
    }

    fn file(&self, upload: &Upload) -> PathBuf {
        self.path.join(upload.session.to_string()).join(format!("{}-{}.part", upload.device, upload.digest))
    }
}

fn append(path: &Path, upload: &Upload, offset: u64, data: &[u8]) -> Result<Held, Error> {
    let end = upload.end_of(offset, data)?;
    let held = length(path)?;
    if data.is_empty() || offset > held || end <= held {
        return Ok(upload.held(held));
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    // Two calls may carry the same piece; what one of them has completed and verified, the other must not write into.
    file.lock()?;
    let held = file.metadata()?.len();
    if offset > held || end <= held {
        return Ok(upload.held(held));
    }
    file.seek(SeekFrom::Start(held))?;
    // The cast holds: it is at most data.len().
    file.write_all(&data[(held - offset) as usize..])?;
    // Not synced: nobody has been told that it counts, and a restart looks at its digest again. Most staged files are
    // added and gone before the system writes them to the disk.
    Ok(upload.held(end))
}

fn verify(path: &Path, upload: &Upload, config: &RoundConfig) -> Result<(), Error> {
    let mut file = open(path, upload)?;
    let mut check = Check::new(upload, config);
    each_block(&mut file, &mut vec![0; BLOCK], |block| {
        check.push(block);
        Ok(())
    })?;
    check.finish(upload)
}

fn add_up(config: &RoundConfig, files: &[(PathBuf, Upload)]) -> Result<Accumulator, Error> {
    let mut sum = Accumulator::new(config);
    let mut block = vec![0; BLOCK];
    for (path, upload) in files {
        let mut file = open(path, upload)?;
        let mut ingest = sum.ingest();
        each_block(&mut file, &mut block, |block| Ok(ingest.push(block)?))?;
        ingest.finish()?;
    }
    Ok(sum)
}

/// Opens an upload that should be whole.
fn open(path: &Path, upload: &Upload) -> Result<File, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(upload.missing(0)),
        Err(error) => return Err(error.into()),
    };
    let held = file.metadata()?.len();
    if held < upload.total { Err(upload.missing(held)) } else { Ok(file) }
}

fn each_block(
    file: &mut File,
    block: &mut [u8],
    mut take: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let read = file.read(block)?;
        if read == 0 {
            return Ok(());
        }
        take(&block[..read])?;
    }
}

fn length(path: &Path) -> std::io::Result<u64> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn absent_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Runs blocking work on the runtime's threads for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(_) => Err(Error::Io(std::io::Error::from(ErrorKind::Interrupted))),
    }
}
