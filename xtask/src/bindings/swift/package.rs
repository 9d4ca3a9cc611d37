//! Puts the Swift package together, as an app can use it by its path.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::SOURCES;
use crate::bindings::{self, library::Library};
use crate::stamp::files;
use crate::workspace::root;

/// What is copied from the sources. Tests stay.
const COPIED: [&str; 3] = ["Package.swift", "README.md", "Sources"];

/// Made by other steps, beside what this one writes.
const KEPT: [&str; 2] = [".build", "ScaleFLFFI.xcframework"];

/// The folder of the assembled package.
pub(super) fn folder(testing: bool) -> PathBuf {
    bindings::folder().join(if testing { "testing/swift" } else { "swift" })
}

/// Assembles `target/bindings/swift`, or `target/bindings/testing/swift` with a library that was built for tests: the sources
/// with what was generated, and the shared library, which the manifest finds beside itself on Linux.
///
/// # Errors
/// If something cannot be read or written.
pub(crate) fn assemble(library: &Library, testing: bool) -> Result<PathBuf> {
    let into = folder(testing);
    let mut wanted = Vec::new();
    for name in COPIED {
        let from = root().join(SOURCES).join(name);
        let found = if from.is_dir() { files(&from, &[])? } else { vec![from] };
        for file in found {
            let name = file.strip_prefix(root().join(SOURCES)).context("a source lies in its folder")?.to_owned();
            wanted.push((file, name));
        }
    }
    let generated = [
        ("ScaleFL.swift", "Sources/ScaleFL/ScaleFL.swift"),
        ("ScaleFLFFI.h", "Sources/ScaleFLFFI/ScaleFLFFI.h"),
        // Where a package's C module must have it.
        ("ScaleFLFFI.modulemap", "Sources/ScaleFLFFI/module.modulemap"),
    ];
    wanted.extend(generated.map(|(from, name)| (library.swift.join(from), PathBuf::from(name))));
    let shared = library.shared.file_name().context("a library is a file")?;
    wanted.push((library.shared.clone(), Path::new("lib").join(shared)));
    fs::create_dir_all(&into).with_context(|| format!("cannot make {}", into.display()))?;
    mirror(&wanted, &into)?;
    println!("  assembled {}", into.display());
    Ok(into)
}

/// Makes `into` hold these files, each under its name, and no others. A file that stays the same is not touched: what was
/// built from it is up to date.
fn mirror(wanted: &[(PathBuf, PathBuf)], into: &Path) -> Result<()> {
    for (from, name) in wanted {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        let to = into.join(name);
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        let folder = to.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&to, bytes).with_context(|| format!("cannot write {}", to.display()))?;
    }
    let names: BTreeSet<PathBuf> = wanted.iter().map(|(_, name)| into.join(name)).collect();
    ensure!(names.len() == wanted.len(), "two files of the Swift package have one name");
    for there in files(into, &KEPT)? {
        if !names.contains(&there) {
            fs::remove_file(&there).with_context(|| format!("cannot remove {}", there.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_folder_is_made_to_hold_these_files_and_no_others() {
        let folder = crate::services::Folder::new(None).unwrap();
        let (from, into) = (folder.path.join("from"), folder.path.join("into"));
        fs::create_dir_all(into.join(".build")).unwrap();
        for (name, text) in [("old", "old"), (".build/made", "made"), ("same", "same")] {
            fs::write(into.join(name), text).unwrap();
        }
        let time = || fs::metadata(into.join("same")).unwrap().modified().unwrap();
        let before = time();
        fs::write(&from, "same").unwrap();
        let wanted = [(from.clone(), PathBuf::from("same")), (from, PathBuf::from("below/new"))];
        mirror(&wanted, &into).unwrap();
        assert!(!into.join("old").exists());
        assert!(into.join(".build/made").exists());
        assert_eq!(fs::read_to_string(into.join("below/new")).unwrap(), "same");
        assert_eq!(time(), before);
    }
}
