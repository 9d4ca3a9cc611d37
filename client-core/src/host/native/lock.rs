//! An exclusive lock on an open file. The system releases it when the file is closed, also by the end of the process.
//!
//! The standard library's lock is not used on Unix: before Rust 1.98 it is a stub on Android that fails on every call.
//! All Unix systems use `flock`, so the tests run the same code as phones.

use std::fs::File;
use std::io;

#[cfg(any(not(unix), test))]
mod elsewhere;

/// Takes the lock; false if another open file has it.
///
/// # Errors
/// Any other error of the system.
pub(super) fn take(file: &File) -> io::Result<bool> {
    platform::take(file)
}

/// Takes the lock, waiting as long as another open file has it.
///
/// # Errors
/// The error of the system.
pub(super) fn wait_for(file: &File) -> io::Result<()> {
    platform::wait_for(file)
}

#[cfg(not(unix))]
use elsewhere as platform;

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io;

    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;

    pub(super) fn take(file: &File) -> io::Result<bool> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn wait_for(file: &File) -> io::Result<()> {
        loop {
            match flock(file, FlockOperation::LockExclusive) {
                // A signal interrupted the wait: wait again.
                Err(Errno::INTR) => {}
                done => return Ok(done?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Take = fn(&File) -> io::Result<bool>;
    type WaitFor = fn(&File) -> io::Result<()>;

    #[test]
    fn one_open_file_at_a_time_has_the_lock() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("lock");
        let open = || File::options().create(true).truncate(false).write(true).open(&path).expect("opens");
        let ways: [(&str, Take, WaitFor); 2] =
            [("this platform's", take, wait_for), ("the standard library's", elsewhere::take, elsewhere::wait_for)];
        for (name, take, wait_for) in ways {
            let (first, second) = (open(), open());
            assert!(take(&first).expect("free"), "{name}");
            assert!(!take(&second).expect("no error"), "{name}: another one has it");
            drop(first);
            assert!(take(&second).expect("free"), "{name}: closing releases it");
            let waiting = open();
            let waited = std::thread::spawn(move || wait_for(&waiting));
            drop(second);
            waited.join().expect("no panic").expect("gets it");
        }
    }

    /// A file that was opened as a mere path cannot be locked: not the same as a lock that another one has.
    #[cfg(target_os = "linux")]
    #[test]
    fn any_other_error_is_not_taken_for_a_lock_in_use() {
        use std::os::unix::fs::OpenOptionsExt as _;

        let folder = tempfile::tempdir().expect("a temporary folder");
        let flags = rustix::fs::OFlags::PATH.bits().cast_signed();
        let path_only = File::options().read(true).custom_flags(flags).open(folder.path()).expect("opens");
        let error = take(&path_only).expect_err("cannot be locked");
        assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::BADF.raw_os_error()));
    }
}
