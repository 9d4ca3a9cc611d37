//! The data folder belongs to one user: people's rows, tokens and models in it are nobody else's to read.
//!
//! New files are private by the process's mask. What an earlier build, a container or `mkdir` left open is closed when the
//! folder is opened, as far as it is the coordinator's; a folder that holds other people's files too keeps its own mode.
//! On systems without Unix modes all of this does nothing.

use std::path::Path;

use super::Failure;

/// Makes every file that this process creates from here on readable by its user alone.
#[cfg(unix)]
pub(super) fn keep_new_files_private() {
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

#[cfg(not(unix))]
pub(super) fn keep_new_files_private() {}

/// Makes the data folder, for this user alone; takes the rights of others from one that is there. What was mended, for
/// the log.
///
/// # Errors
/// The folder cannot be made, or it stays open to others.
pub(super) fn open_private(folder: &Path) -> Result<Option<String>, Failure> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
        .create(folder)
        .map_err(|error| Failure::new("file", format!("cannot make the data folder {}: {error}", folder.display())))?;
    close(folder)
}

#[cfg(unix)]
use modes::close;

#[cfg(not(unix))]
fn close(_: &Path) -> Result<Option<String>, Failure> {
    Ok(None)
}

#[cfg(unix)]
mod modes {
    use std::ffi::OsStr;
    use std::fs::{self, Permissions};
    use std::io;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};

    use crate::cli::Failure;
    use crate::files;
    use scale_coordinator::auth::secrets;

    /// Every right of group and others.
    const OTHERS: u32 = 0o077;

    /// Takes them off everything in `folder` that is the coordinator's, and off the folder if it holds nothing else.
    pub(super) fn close(folder: &Path) -> Result<Option<String>, Failure> {
        let mut open = Vec::new();
        let shared = find_open(folder, &mut open).map_err(|error| {
            Failure::new("file", format!("cannot see who may read the data folder {}: {error}", folder.display()))
        })?;
        for path in &open {
            take_rights(path).map_err(|problem| {
                Failure::new("file", format!(
                    "others may read {}, and that cannot be changed ({problem}): give the data folder to the user that \
                     runs the coordinator (chown -R), or name another one with --data",
                    path.display()
                ))
            })?;
        }
        let count = open.len();
        let mended = (count > 0).then(|| {
            let (first, data) = (open[0].display(), folder.display());
            let more = if count > 1 { format!(" and {} more of {data}", count - 1) } else { String::new() };
            format!("others could read {first}{more}; now only this user can")
        });
        let left = shared.then(|| {
            format!("others can enter {} and it holds other files too, so it was left as it is", folder.display())
        });
        Ok(match (mended, left) {
            (Some(mended), Some(left)) => Some(format!("{mended}; {left}")),
            (mended, left) => mended.or(left),
        })
    }

    /// What of the coordinator's others can read; whether the folder itself is open and has to stay so.
    fn find_open(folder: &Path, open: &mut Vec<PathBuf>) -> io::Result<bool> {
        let mut only_ours = true;
        let mut inside = Vec::new();
        for entry in folder.read_dir()? {
            let entry = entry?;
            if is_ours(&entry.file_name()) {
                // A folder may be a link to another disk.
                find_open_below(&entry.path(), fs::metadata(entry.path())?, &mut inside)?;
            } else {
                only_ours &= entry.file_name() == "lost+found";
            }
        }
        let folder_is_open = fs::metadata(folder)?.permissions().mode() & OTHERS != 0;
        if folder_is_open && only_ours {
            open.push(folder.to_owned());
        }
        open.append(&mut inside);
        Ok(folder_is_open && !only_ours)
    }

    fn find_open_below(path: &Path, found: fs::Metadata, open: &mut Vec<PathBuf>) -> io::Result<()> {
        if found.permissions().mode() & OTHERS != 0 {
            open.push(path.to_owned());
        }
        if found.is_dir() {
            for entry in path.read_dir()? {
                let entry = entry?;
                let found = entry.metadata()?;
                // The mode of a link says nothing, and where it leads is somebody's decision.
                if !found.is_symlink() {
                    find_open_below(&entry.path(), found, open)?;
                }
            }
        }
        Ok(())
    }

    fn take_rights(path: &Path) -> Result<(), String> {
        let mode = || fs::metadata(path).map(|found| found.permissions().mode()).map_err(|error| error.to_string());
        fs::set_permissions(path, Permissions::from_mode(mode()? & 0o7777 & !OTHERS))
            .map_err(|error| error.to_string())?;
        // Some file systems take the call and change nothing.
        if mode()? & OTHERS == 0 { Ok(()) } else { Err("its file system keeps no modes".into()) }
    }

    /// Names that the coordinator gives.
    fn is_ours(name: &OsStr) -> bool {
        let Some(name) = name.to_str() else { return false };
        let name = name.strip_suffix(".new").unwrap_or(name);
        let databases = [files::DATABASE, files::PEOPLE_DATABASE];
        let whole = [secrets::FILE, files::STATUS, files::OPERATOR, files::PEOPLE_ISSUER, "lock", "blobs", "staging"];
        whole.contains(&name)
            // A file that takes another's place has `new` instead of its ending.
            || ["secrets", "coordinator", "operator", "people-issuer"].contains(&name)
            // With `-wal`, `-shm` and `-journal`.
            || databases.iter().any(|database| name.strip_prefix(database).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        fn mode(path: &Path) -> u32 {
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        }

        fn make(path: &Path, mode: u32) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }

        #[test]
        fn what_others_can_read_is_closed_and_told() {
            let folder = tempfile::tempdir().unwrap();
            let data = folder.path().join("data");
            let files = ["people.sqlite3", "people.sqlite3-wal", "blobs/models/m/1.safetensors", "staging/x", "lock"];
            for file in files {
                make(&data.join(file), 0o644);
            }
            let told = close(&data).unwrap().unwrap();
            assert!(told.contains("others could read"), "{told}");
            for file in files {
                assert_eq!(mode(&data.join(file)), 0o600, "{file}");
            }
            for file in ["", "blobs", "blobs/models", "blobs/models/m", "staging"] {
                assert_eq!(mode(&data.join(file)) & OTHERS, 0, "{file}");
            }
            assert_eq!(close(&data).unwrap(), None);
        }

        #[test]
        fn files_of_others_keep_their_modes() {
            let folder = tempfile::tempdir().unwrap();
            fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
            make(&folder.path().join("thesis.txt"), 0o644);
            make(&folder.path().join("people.sqlite3"), 0o644);
            let told = close(folder.path()).unwrap().unwrap();
            assert!(told.contains("left as it is"), "{told}");
            assert_eq!(mode(&folder.path().join("thesis.txt")), 0o644);
            assert_eq!(mode(folder.path()), 0o755);
            assert_eq!(mode(&folder.path().join("people.sqlite3")), 0o600);
        }
    }
}
