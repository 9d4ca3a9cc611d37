//! The standard library's lock, for platforms that are not Unix.

use std::fs::{File, TryLockError};
use std::io;

pub(super) fn take(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

pub(super) fn wait_for(file: &File) -> io::Result<()> {
    file.lock()
}
