//! Making a backup: the rows of one moment, then the blobs that they name.
//!
//! Blobs are written before rows name them and never change, so what the rows of a moment name is there, unless a round
//! ended in between and took its partial sums along. Then the rows are read again.

use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use scale_clock::Timestamp;
use scale_proto::ids::Digest;
use zeroize::Zeroizing;

use super::Error;
use super::archive::{Header, Writer};
use super::named::{self, Named};
use crate::auth::secrets;
use crate::blobs::Blobs;
use crate::store::Store;
use crate::store::tables::TABLES;

/// How often the rows are read.
const TRIES: u32 = 10;
/// Rows that are read at once.
const PAGE: u32 = 200;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// What it says of itself.
    pub header: Header,
    /// Rows.
    pub rows: u64,
    /// Blobs.
    pub blobs: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Whether the secrets are in it.
    pub secrets: bool,
}

/// Writes a backup to `file`, which must not be there, for this user alone. `folder`: whose `secrets.json` goes into it;
/// `None`: no secrets. `now` is the time where the database has no clock. `progress` hears of each blob: how many are
/// written, of how many. It blocks the thread while the file is written: it is for a process that does nothing else.
///
/// # Errors
/// [`Error`]; there is no file then.
pub async fn save(
    store: &Store,
    blobs: &Blobs,
    folder: Option<&Path>,
    file: &Path,
    now: Timestamp,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Saved, Error> {
    let secrets = folder.map(read_secrets).transpose()?;
    if file.exists() {
        return Err(Error::Exists(file.to_owned()));
    }
    let unfinished = Unfinished::beside(file)?;
    for _ in 0..TRIES {
        if let Some(mut saved) = attempt(store, blobs, secrets.as_ref(), &unfinished.file, now, progress).await? {
            saved.bytes = unfinished.finish(file)?;
            return Ok(saved);
        }
        tracing::info!("a round ended while its partial sums were copied; the rows are read again");
    }
    Err(Error::Busy(TRIES))
}

/// `None`: a round ended meanwhile.
async fn attempt(
    store: &Store,
    blobs: &Blobs,
    secrets: Option<&Zeroizing<String>>,
    mut file: &File,
    now: Timestamp,
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Option<Saved>, Error> {
    file.set_len(0)?;
    file.rewind()?;
    let file = file.try_clone()?;
    let (engine, schema) = (store.database().engine().as_str(), store.schema());
    let (mut writer, named, header, rows) = store
        .read("backup", |tx| {
            Box::pin(async move {
                let made_at = tx.server_millis().await?.unwrap_or(now.as_millis());
                let header = Header::new(made_at, engine, schema);
                let mut writer = Writer::new(BufWriter::new(file), &header)?;
                let mut named = named::Blobs::default();
                let mut rows = 0;
                for table in TABLES {
                    writer.table(table)?;
                    let mut last = None;
                    loop {
                        let page = tx.page(table, last.as_deref(), PAGE).await?;
                        for row in &page {
                            named.see(&Named { table, row });
                            writer.row(row)?;
                            rows += 1;
                        }
                        match page.into_iter().next_back() {
                            Some(row) => last = Some(row),
                            None => break,
                        }
                    }
                }
                Ok::<_, Error>((writer, named, header, rows))
            })
        })
        .await?;
    let (mut done, all) = (0, named.all().len() as u64);
    progress(done, all);
    for name in &named.of_rounds {
        let Some(content) = blobs.get(name).await? else { return Ok(None) };
        writer.blob(name, &content)?;
        done += 1;
        progress(done, all);
    }
    for (name, digest) in &named.kept {
        let content = blobs.get(name).await?.ok_or_else(|| Error::Missing(name.clone()))?;
        if digest.is_some_and(|digest| Digest::of(&content).0 != digest) {
            return Err(Error::Altered(name.clone()));
        }
        writer.blob(name, &content)?;
        done += 1;
        progress(done, all);
    }
    if let Some(secrets) = secrets {
        writer.secrets(secrets)?;
    }
    writer.end()?.flush()?;
    Ok(Some(Saved { header, rows, blobs: all, bytes: 0, secrets: secrets.is_some() }))
}

fn read_secrets(folder: &Path) -> Result<Zeroizing<String>, Error> {
    // Read as a coordinator would: half a file is no backup of it.
    secrets::Secrets::load(folder)?.ok_or_else(|| Error::NoSecrets(folder.to_owned()))?;
    Ok(Zeroizing::new(fs::read_to_string(folder.join(secrets::FILE))?))
}

/// The file while it is written, under another name; gone if it is not finished.
struct Unfinished {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl Unfinished {
    fn beside(path: &Path) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".unfinished");
        let path = path.with_file_name(name);
        // One that a crash left behind may have other rights.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        Ok(Self { path, file, finished: false })
    }

    /// Gives it its name, durably; its length.
    fn finish(mut self, path: &Path) -> io::Result<u64> {
        self.file.sync_all()?;
        let bytes = self.file.metadata()?.len();
        fs::rename(&self.path, path)?;
        self.finished = true;
        #[cfg(unix)]
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()?;
        }
        Ok(bytes)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.path);
        }
    }
}
