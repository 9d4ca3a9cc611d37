//! The XCFramework: the library for iPhones, their simulator and Macs, as the Swift package takes it. Needs a Mac with Xcode.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::folder;
use super::library::{self, Library, NAME, PROFILE};
use crate::command;
use crate::tools::rust::{add_targets, has_std, sysroot};
use crate::workspace::target_dir;

/// One library of the framework: the processors of one platform are joined in it.
struct Slice {
    platform: &'static str,
    targets: &'static [&'static str],
}

const SLICES: [Slice; 3] = [
    Slice { platform: "ios", targets: &["aarch64-apple-ios"] },
    Slice { platform: "ios-simulator", targets: &["aarch64-apple-ios-sim", "x86_64-apple-ios"] },
    Slice { platform: "macos", targets: &["aarch64-apple-darwin", "x86_64-apple-darwin"] },
];

/// The oldest systems, as `bindings/swift/Package.swift` names them.
const OLDEST: [(&str, &str); 2] = [("IPHONEOS_DEPLOYMENT_TARGET", "16.0"), ("MACOSX_DEPLOYMENT_TARGET", "13.0")];

/// The C module, and so the framework.
const MODULE: &str = "ScaleFLFFI";

/// What is missing on this machine, if anything.
pub(super) fn missing() -> Option<String> {
    let xcode = || command::succeeds(command::command("xcodebuild").arg("-version"));
    match cfg!(target_os = "macos") && xcode() {
        true => None,
        false => Some("the XCFramework needs a Mac with Xcode".to_owned()),
    }
}

/// Builds the framework into the assembled Swift package, and the archive that a release publishes.
///
/// # Errors
/// If anything does not build.
pub(super) fn build(library: &Library) -> Result<()> {
    let targets: Vec<&str> = SLICES.iter().flat_map(|slice| slice.targets).copied().collect();
    let sysroot = sysroot()?;
    if !targets.iter().all(|target| has_std(&sysroot, target)) {
        add_targets(&sysroot, &targets)?;
    }
    let work = folder().join("apple");
    let headers = headers(&work, &library.swift)?;
    let mut create = command::command("xcodebuild");
    create.arg("-create-xcframework");
    for slice in &SLICES {
        for target in slice.targets {
            command::run(&mut cargo(target))?;
        }
        let joined = work.join(slice.platform).join(format!("lib{NAME}.a"));
        fs::create_dir_all(work.join(slice.platform)).context("cannot make a folder for the libraries")?;
        command::run(&mut lipo(slice, &joined))?;
        create.arg("-library").arg(joined).arg("-headers").arg(&headers);
    }
    let framework = folder().join("swift").join(format!("{MODULE}.xcframework"));
    if framework.exists() {
        fs::remove_dir_all(&framework).with_context(|| format!("cannot remove {}", framework.display()))?;
    }
    command::run(create.arg("-output").arg(&framework))?;
    archive(&framework)
}

fn cargo(target: &str) -> Command {
    let mut cargo = library::cargo("staticlib");
    cargo.args(["--target", target]).envs(OLDEST);
    cargo
}

/// Joins the libraries of one platform's processors.
fn lipo(slice: &Slice, into: &Path) -> Command {
    let mut lipo = command::command("lipo");
    lipo.arg("-create");
    lipo.args(slice.targets.iter().map(|target| built(target)));
    lipo.arg("-output").arg(into);
    lipo
}

fn built(target: &str) -> PathBuf {
    target_dir().join(target).join(PROFILE).join(format!("lib{NAME}.a"))
}

/// The folder that goes into the framework as `Headers`. The files lie one folder deeper: two frameworks of uniffi's make in
/// one app would otherwise both bring a `Headers/module.modulemap`, and the app would not build.
fn headers(work: &Path, generated: &Path) -> Result<PathBuf> {
    let headers = work.join("Headers");
    let inner = headers.join(MODULE);
    fs::create_dir_all(&inner).with_context(|| format!("cannot make {}", inner.display()))?;
    for (from, to) in
        [(format!("{MODULE}.h"), format!("{MODULE}.h")), (format!("{MODULE}.modulemap"), "module.modulemap".into())]
    {
        let from = generated.join(from);
        fs::copy(&from, inner.join(to)).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(headers)
}

/// Packs the framework, and writes beside it the checksum that `Package.swift` of a release names.
fn archive(framework: &Path) -> Result<()> {
    let zip = folder().join(format!("{MODULE}.xcframework.zip"));
    if zip.exists() {
        fs::remove_file(&zip).with_context(|| format!("cannot remove {}", zip.display()))?;
    }
    let mut ditto = command::command("ditto");
    command::run(ditto.args(["-c", "-k", "--sequesterRsrc", "--keepParent"]).arg(framework).arg(&zip))?;
    let mut checksum = command::command("swift");
    checksum.current_dir(folder().join("swift")).args(["package", "compute-checksum"]).arg(&zip);
    let checksum = command::output(&mut checksum)?;
    let checksum = checksum.trim();
    ensure!(checksum.len() == 64, "`swift package compute-checksum` says {checksum:?}");
    let beside = zip.with_extension("zip.checksum");
    fs::write(&beside, checksum).with_context(|| format!("cannot write {}", beside.display()))?;
    println!("  {}, checksum {checksum}", zip.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_target_is_built_for_the_oldest_system_that_the_package_names() {
        let package = fs::read_to_string(crate::workspace::root().join("bindings/swift/Package.swift")).unwrap();
        assert!(package.contains(".iOS(.v16), .macOS(.v13)"), "OLDEST in this file says otherwise");
        let cargo = cargo("aarch64-apple-ios");
        assert!(command::shown(&cargo).contains("--crate-type staticlib"));
        assert!(command::shown(&cargo).ends_with("--target aarch64-apple-ios"));
        assert!(
            cargo
                .get_envs()
                .any(|(name, value)| name == "IPHONEOS_DEPLOYMENT_TARGET" && value == Some("16.0".as_ref()))
        );
    }

    #[test]
    fn processors_of_one_platform_are_joined() {
        let shown = command::shown(&lipo(&SLICES[1], Path::new("joined.a")));
        let words: Vec<&str> = shown.split(' ').collect();
        assert_eq!(words[..2], ["lipo", "-create"]);
        assert!(words[2].ends_with("aarch64-apple-ios-sim/mobile/libscale_fl_sdk.a"), "{shown}");
        assert!(words[3].ends_with("x86_64-apple-ios/mobile/libscale_fl_sdk.a"), "{shown}");
        assert_eq!(words[4..], ["-output", "joined.a"]);
    }

    #[test]
    fn headers_lie_in_a_folder_of_their_own() {
        let folder = crate::services::Folder::new(None).unwrap();
        for name in ["ScaleFLFFI.h", "ScaleFLFFI.modulemap"] {
            fs::write(folder.path.join(name), name).unwrap();
        }
        let headers = headers(&folder.path.join("work"), &folder.path).unwrap();
        let read = |name: &str| fs::read_to_string(headers.join("ScaleFLFFI").join(name)).unwrap();
        assert_eq!(read("ScaleFLFFI.h"), "ScaleFLFFI.h");
        assert_eq!(read("module.modulemap"), "ScaleFLFFI.modulemap");
    }

    #[test]
    fn the_release_workflow_finds_the_line_that_it_fills_in() {
        let read = |path: &str| fs::read_to_string(crate::workspace::root().join(path)).unwrap();
        let [start, end] = ["let released: ", "? = nil"];
        assert!(read(".github/workflows/release.yml").contains(r"s/^let released: .*\? = nil$/"));
        let package = read("bindings/swift/Package.swift");
        let lines = package.lines().filter(|line| line.starts_with(start) && line.ends_with(end));
        assert_eq!(lines.count(), 1);
    }

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn without_xcode_it_is_said_what_is_missing() {
        assert!(missing().unwrap().contains("Xcode"));
    }
}
