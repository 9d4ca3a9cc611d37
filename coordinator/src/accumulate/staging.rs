//! Uploads on their way in: one file per session and device, written from the start without gaps, so that its length is
//! how far the upload has come.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use scale_proto::ids::{DeviceId, Digest, SessionId};
use scale_secagg::config::RoundConfig;
use scale_secagg::server::check_packed;

use super::Error;

/// Bytes read from a file at a time.
pub(super) const BLOCK: usize = 64 << 10;

/// The folder of staged uploads. All methods block; call them where that is allowed.
#[derive(Clone, Debug)]
pub struct Staging {
    folder: PathBuf,
}

/// One upload as its sender announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The session.
    pub session: SessionId,
    /// The sender.
    pub device: DeviceId,
    /// SHA-256 of the whole.
    pub digest: Digest,
    /// Bytes of the whole.
    pub total: u64,
}

/// How far an upload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Bytes from the start, without a gap.
    Part(u64),
    /// All of it.
    Whole,
}

impl Staging {
    /// A folder, created if it is not there.
    ///
    /// # Errors
    /// From the file system.
    pub fn new(folder: impl Into<PathBuf>) -> std::io::Result<Self> {
        let folder = folder.into();
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Takes one piece. Bytes that are held already are skipped; a piece behind a gap changes nothing. The answer says
    /// where to go on. An empty piece only asks.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`], nothing written then; [`Error::Io`].
    pub fn append(&self, upload: &Upload, offset: u64, data: &[u8]) -> Result<Held, Error> {
        let end = offset.saturating_add(data.len() as u64);
        if end > upload.total {
            return Err(Error::BeyondEnd { end, total: upload.total });
        }
        let path = self.path(upload.session, upload.device);
        let held = length(&path)?.min(upload.total);
        if data.is_empty() || offset > held || end <= held {
            return Ok(if held == upload.total { Held::Whole } else { Held::Part(held) });
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        file.seek(SeekFrom::Start(held))?;
        // The cast holds: it is at most data.len().
        file.write_all(&data[(held - offset) as usize..])?;
        // Not synced: nobody has been told that it counts, and a restart looks at its digest again. Most staged files are
        // added and gone before the system writes them to the disk.
        Ok(if end < upload.total { Held::Part(end) } else { Held::Whole })
    }

    /// Checks a whole upload: its digest, its length and the unused bits of the session's packing.
    ///
    /// # Errors
    /// [`Error::BadDigest`], [`Error::Refused`]; the file is gone then. [`Error::Io`].
    pub fn verify(&self, upload: &Upload, config: &RoundConfig) -> Result<(), Error> {
        let path = self.path(upload.session, upload.device);
        let result = verify_file(&path, upload, config);
        if matches!(result, Err(Error::BadDigest | Error::Refused(_))) {
            self.remove(upload.session, upload.device)?;
        }
        result
    }

    /// Opens a staged upload for reading.
    ///
    /// # Errors
    /// From the file system; `NotFound` when nothing is staged.
    pub fn open(&self, session: SessionId, device: DeviceId) -> std::io::Result<File> {
        File::open(self.path(session, device))
    }

    /// Forgets one upload; one that is not there is fine.
    ///
    /// # Errors
    /// From the file system.
    pub fn remove(&self, session: SessionId, device: DeviceId) -> std::io::Result<()> {
        absent_is_fine(fs::remove_file(self.path(session, device)))
    }

    /// Forgets all uploads of a session.
    ///
    /// # Errors
    /// From the file system.
    pub fn remove_session(&self, session: SessionId) -> std::io::Result<()> {
        absent_is_fine(fs::remove_dir_all(self.folder.join(session.to_string())))
    }

    /// Forgets everything but the sessions that `keep` names.
    ///
    /// # Errors
    /// From the file system.
    pub fn retain(&self, keep: impl Fn(SessionId) -> bool) -> std::io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let session = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if session.is_some_and(|session| !keep(session)) {
                absent_is_fine(fs::remove_dir_all(entry.path()))?;
            }
        }
        Ok(())
    }

    fn path(&self, session: SessionId, device: DeviceId) -> PathBuf {
        self.folder.join(session.to_string()).join(format!("{device}.part"))
    }
}

fn verify_file(path: &Path, upload: &Upload, config: &RoundConfig) -> Result<(), Error> {
    let mut file = File::open(path)?;
    let mut context = Context::new(&SHA256);
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            break;
        }
        length += read as u64;
        context.update(&block[..read]);
    }
    if length != upload.total || context.finish().as_ref() != upload.digest.0 {
        return Err(Error::BadDigest);
    }
    check_packed(config, length, |at| {
        let mut byte = [0];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut byte)?;
        Ok(byte[0])
    })
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
