//! One process per data folder: a file that stays locked for as long as the process lives. The system drops the lock
//! when the process ends, however it ends, so a crash leaves nothing to clean up.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::StoreError;

/// Holds the data folder for this process until it is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes `folder/lock`.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it; [`StoreError::Unavailable`] when the file cannot be made.
    pub fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("lock");
        let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(unavailable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(folder.to_owned())),
            Err(TryLockError::Error(error)) => Err(unavailable(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::take(folder.path()).unwrap();
        let refused = FolderLock::take(folder.path()).unwrap_err();
        assert_eq!(refused.code(), "data_folder_in_use");
        assert!(refused.to_string().contains(&folder.path().display().to_string()), "{refused}");
        drop(first);
        FolderLock::take(folder.path()).unwrap();
    }
}
