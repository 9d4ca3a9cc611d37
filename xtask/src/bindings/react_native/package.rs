//! The package as npm publishes it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{CHECKERS, SOURCES, made, typescript};
use crate::bindings::folder;
use crate::bindings::library::Library;
use crate::command;
use crate::stamp::files;
use crate::workspace::root;

/// What is copied from the sources. Tests and tools stay.
const COPIED: [&str; 10] = [
    "README.md",
    "package.json",
    "app.plugin.js",
    "expo-module.config.json",
    "tsconfig.json",
    "plugin/tsconfig.json",
    "src",
    "plugin/src",
    "ios",
    "android",
];

/// What is the same in the npm package for browsers, which has the originals.
const SHARED: [&str; 3] = ["src/types.ts", "src/arguments.ts", "src/errors.ts"];

/// Where the originals lie.
const WEB_PACKAGE: &str = "wasm/package";

/// The licenses, which every package brings.
const LICENSES: [&str; 2] = ["LICENSE-MIT", "LICENSE-APACHE"];

/// The library for iOS, in the assembled Swift package; it is made on a Mac.
const FRAMEWORK: &str = "ScaleFLFFI.xcframework";

/// Modules of Expo and React Native that the type checker and the tests look for.
const MODULES: [&str; 6] = ["@expo", "@react-native", "@types", "expo-modules-core", "hermes-compiler", "react-native"];

/// Assembles `target/bindings/react-native/package`, and packs it. Returns the tarball's path.
///
/// # Errors
/// If something cannot be read or written, or the TypeScript does not pass the type checker.
pub(crate) fn assemble(library: &Library) -> Result<PathBuf> {
    let (made, package) = (made(), made().join("package"));
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| format!("cannot empty {}", made.display()))?;
    }
    for name in COPIED {
        copy(&root().join(SOURCES).join(name), &package.join(name))?;
    }
    for name in SHARED.iter().chain(&LICENSES) {
        copy(&root().join(WEB_PACKAGE).join(name), &package.join(name))?;
    }
    swift_package(library, &package.join("ios/sdk"))?;
    modules(&made.join("node_modules"))?;
    typescript("package/tsconfig.json")?;
    typescript("package/plugin/tsconfig.json")?;
    // Only this folder holds modules of JavaScript: Expo loads the config plugin with `require`.
    write(&package.join("build/package.json"), "{ \"type\": \"module\" }\n")?;
    let tarball = pack(&package, &made)?;
    println!("  assembled {}", tarball.display());
    Ok(tarball)
}

/// The Swift package's sources, which are a pod of their own in this package, and its library if there is one.
fn swift_package(library: &Library, into: &Path) -> Result<()> {
    copy(&root().join("bindings/swift/Sources/ScaleFL"), &into.join("ScaleFL"))?;
    copy(&library.swift.join("ScaleFL.swift"), &into.join("ScaleFL/ScaleFL.swift"))?;
    let framework = folder().join("swift").join(FRAMEWORK);
    if framework.is_dir() {
        return copy(&framework, &into.join(FRAMEWORK));
    }
    println!("  without {FRAMEWORK}, so for Android only; a Mac makes it: cargo xtask bindings --xcframework");
    Ok(())
}

/// What imports resolve to: Expo's own packages, and a stand-in for `expo` itself, which is all of them and Metro, too.
fn modules(into: &Path) -> Result<()> {
    copy(&root().join(SOURCES).join("tests/stand-ins/expo"), &into.join("expo"))?;
    let packages = CHECKERS.ensure()?.join("node_modules");
    for name in MODULES {
        let (from, to) = (packages.join(name), into.join(name));
        std::os::unix::fs::symlink(&from, &to).with_context(|| format!("cannot link {}", to.display()))?;
    }
    Ok(())
}

fn pack(package: &Path, into: &Path) -> Result<PathBuf> {
    let mut npm = command::command("npm");
    npm.current_dir(package).args(["pack", "--ignore-scripts", "--loglevel", "error"]);
    npm.arg("--pack-destination").arg(into);
    let said = command::output(&mut npm).context("npm could not pack bindings/react-native")?;
    Ok(into.join(said.lines().last().context("npm pack named no file")?))
}

/// Copies a file, or a folder with everything in it.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let found = if from.is_dir() { files(from, &[])? } else { vec![from.to_owned()] };
    ensure!(!found.is_empty(), "{} is empty", from.display());
    for file in found {
        let name = file.strip_prefix(from).context("a file lies in its folder")?;
        // Joining nothing would end the path of a file with a slash.
        let to = if name.as_os_str().is_empty() { to.to_owned() } else { to.join(name) };
        let folder = to.parent().context("a file lies in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::copy(&file, &to).with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
    }
    Ok(())
}

pub(super) fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod unit {
    use super::*;

    /// What is written by hand here and lies there too would be a copy that nothing holds equal.
    #[test]
    fn shared_sources_exist_once() {
        for name in SHARED {
            assert!(root().join(WEB_PACKAGE).join(name).is_file(), "{name}");
            assert!(!root().join(SOURCES).join(name).exists(), "{name} is copied when the package is assembled");
        }
    }

    #[test]
    fn files_and_folders_are_copied() {
        let folder = crate::services::Folder::new(None).unwrap();
        let at = |name: &str| folder.path.join(name);
        fs::create_dir_all(at("from/below")).unwrap();
        write(&at("from/below/file"), "text").unwrap();
        copy(&at("from"), &at("to")).unwrap();
        copy(&at("from/below/file"), &at("other/name")).unwrap();
        for copied in ["to/below/file", "other/name"] {
            assert_eq!(fs::read_to_string(at(copied)).unwrap(), "text", "{copied}");
        }
        assert!(copy(&at("nothing"), &at("to")).unwrap_err().to_string().contains("nothing"));
    }
}
