//! Files that are replaced atomically, in folders that only their owner can read.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::error::HostError;

/// Extension of a file that is being written.
const UNFINISHED: &str = "new";

/// Age after which an unfinished file is taken for one of a killed process: a write takes seconds.
const LEFT_BEHIND: Duration = Duration::from_secs(10 * 60);

/// A folder in which this process performs one operation at a time, in the order of the requests.
///
/// The order includes operations whose future was dropped: a dropped participation may still be writing its last state,
/// which must not overwrite what the next participation writes.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    /// [`HostError::what`] of the errors of this folder.
    what: &'static str,
    path: Arc<PathBuf>,
    turn: Arc<Turn>,
}

type Turn = tokio::sync::Mutex<()>;

impl Folder {
    /// Creates the folder if it is missing, and removes unfinished files of killed processes.
    pub(super) fn open(what: &'static str, path: &Path) -> Result<Self, HostError> {
        make_folder(path).map_err(|error| failed(what, path, error))?;
        // One path for one folder; if the system cannot resolve it, the given path.
        let path = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
        remove_left_behind(&path);
        Ok(Self { what, turn: turn(&path), path: Arc::new(path) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// This process's turn at something in the folder, apart from the folder's own order: it waits without a thread.
    pub(super) async fn turn_at(&self, path: &Path) -> tokio::sync::OwnedMutexGuard<()> {
        turn(path).lock_owned().await
    }

    /// Runs `work` on `file`, on a thread that may block. Once started it runs to its end, even if the future is
    /// dropped.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        file: PathBuf,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, HostError> {
        let turn = self.turn.clone().lock_owned().await;
        self.run_aside(file, move |path| {
            let result = work(path);
            // Released after everything that `work` has captured is dropped.
            drop(turn);
            result
        })
        .await
    }

    /// [`Self::run`] outside of the folder's order, for work that may wait for other operations in it.
    pub(super) async fn run_aside<T: Send + 'static>(
        &self,
        file: PathBuf,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, HostError> {
        let what = self.what;
        let done = tokio::task::spawn_blocking(move || work(&file).map_err(|error| failed(what, &file, error)));
        done.await.map_err(|error| HostError::new(what, error.to_string()))?
    }
}

#[cfg(test)]
impl Folder {
    /// Whether no operation is running.
    pub(in crate::host::native) fn is_free(&self) -> bool {
        self.turn.try_lock().is_ok()
    }
}

/// The queue of a folder, shared by all users of the folder in this process.
fn turn(folder: &Path) -> Arc<Turn> {
    static TURNS: Mutex<BTreeMap<PathBuf, Weak<Turn>>> = Mutex::new(BTreeMap::new());
    // A poisoned lock is harmless: every change of the map is one call.
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    let turn = turns.get(folder).and_then(Weak::upgrade).unwrap_or_default();
    turns.insert(folder.to_owned(), Arc::downgrade(&turn));
    turn
}

fn failed(what: &'static str, path: &Path, error: io::Error) -> HostError {
    HostError::new(what, format!("{}: {error}", path.display()))
}

/// The bytes of a file; `None` if it does not exist.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file atomically, readable by its owner only. Durable when it returns.
pub(super) fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let (unfinished, file) = unfinished(path)?;
    let written = write_all(file, bytes).and_then(|()| fs::rename(&unfinished, path));
    if let Err(error) = written {
        // Frees the space again if the disk is full.
        let _best_effort = fs::remove_file(&unfinished);
        return Err(error);
    }
    sync_folder(path)
}

fn write_all(mut file: File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()
}

/// Creates a new file beside `path` that no other writer uses, in this process or another.
fn unfinished(path: &Path) -> io::Result<(PathBuf, File)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = path.with_added_extension(format!("{}-{count}.{UNFINISHED}", std::process::id()));
        match private_file().create_new(true).write(true).open(&name) {
            // A file left by an earlier process with the same process id: try the next name.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => return Ok((name, opened?)),
        }
    }
}

/// Removes a file, if it exists. Durable when it returns.
pub(super) fn remove_durably(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a folder and everything in it, if it exists.
pub(super) fn remove_folder_durably(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_folder(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes unfinished files of killed processes. Best effort: a file that cannot be removed now may be removed the next
/// time, and another process may be doing the same.
fn remove_left_behind(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            remove_left_behind(&path);
        } else if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            let untouched = found.modified().ok().and_then(|time| time.elapsed().ok());
            if untouched.is_some_and(|untouched| untouched > LEFT_BEHIND) {
                let _best_effort = fs::remove_file(&path);
            }
        }
    }
}

/// [`private_folder`], durable when it returns.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    private_folder(folder)?;
    sync_folder(folder)
}

/// Creates a folder and its missing parents; new ones are accessible to their owner only.
///
/// # Errors
/// The error of the system.
pub fn private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Options for opening a file that, if it is created, is accessible to its owner only.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes a rename or removal durable. Folders can only be opened on Unix; elsewhere this relies on the file system's
/// journal.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if cfg!(unix) => {
            // The parent of a relative file name is the empty path.
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            File::open(folder)?.sync_all()
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writers_of_one_file_do_not_meet() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("a/file");
        let writers: Vec<_> = (0..8_u8)
            .map(|number| {
                let path = path.clone();
                std::thread::spawn(move || (0..20).try_for_each(|_| write_durably(&path, &[number; 5000])))
            })
            .collect();
        for writer in writers {
            writer.join().expect("no panic").expect("writes");
        }
        let bytes = read(&path).expect("readable").expect("there");
        assert_eq!(bytes, vec![bytes[0]; 5000], "one writer's bytes, whole");
        assert_eq!(fs::read_dir(folder.path().join("a")).expect("readable").count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_killed_writers_left_is_removed_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let inner = folder.path().join("round");
        fs::create_dir(&inner).expect("writable");
        let file = |path: PathBuf, age: Duration| {
            let file = File::create(&path).expect("writable");
            file.set_modified(std::time::SystemTime::now() - age).expect("settable");
            path
        };
        let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
        let old = [file(folder.path().join("a.bin.1-0.new"), hour), file(inner.join("b.new"), hour)];
        let kept = [file(inner.join("b.bin.1-1.new"), second), file(inner.join("b.bin"), hour)];
        Folder::open("store", folder.path()).expect("opens");
        assert!(old.iter().all(|path| !path.exists()), "{old:?}");
        assert!(kept.iter().all(|path| path.exists()), "{kept:?}");
    }

    #[tokio::test]
    async fn a_write_that_nobody_waits_for_comes_before_the_next_one() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = Folder::open("store", folder.path()).expect("opens");
        let (begin, begun) = std::sync::mpsc::channel();
        let file = first.path().join("state");
        let mut slow = Box::pin(first.run(file.clone(), move |path| {
            begun.recv().expect("told to begin");
            write_durably(path, b"old")
        }));
        assert!(futures_poll_once(slow.as_mut()).await, "it is still waiting");
        drop(slow);
        drop(first);
        // Opened anew, as an app does that was closed in between.
        let second = Folder::open("store", &folder.path().join("../").join(folder.path().file_name().expect("a name")));
        let second = second.expect("opens");
        let write = second.run(file.clone(), |path| write_durably(path, b"new"));
        begin.send(()).expect("somebody waits");
        write.await.expect("writes");
        assert_eq!(read(&file).expect("readable"), Some(b"new".to_vec()));
    }

    /// Polls once; true if it is not ready.
    async fn futures_poll_once<T>(mut future: std::pin::Pin<&mut impl Future<Output = T>>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
    }
}
