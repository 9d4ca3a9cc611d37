//! Type checks of the library for Android and iOS, which need neither NDK nor Xcode: nothing is linked, and nothing runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::library::PACKAGE;
use crate::command;
use crate::tools::rust::{add_targets, has_std, sysroot};
use crate::wasm::{Choice, debian};
use crate::workspace::root;

const TARGETS: [&str; 2] = ["aarch64-linux-android", "aarch64-apple-ios"];

/// Apart from `target/`, whose build scripts another compiler made.
const DEBIAN_TARGET_DIR: &str = "target/phones";

/// Checks every target with the standard library of the toolchain, or with one that is built from Debian's sources.
///
/// # Errors
/// If there is no standard library and none can be had, or the crate does not compile for a phone.
pub(super) fn check(choice: Choice) -> Result<()> {
    let debian = toolchain(choice)?;
    for target in TARGETS {
        command::run(&mut cargo(target, debian.as_deref()))?;
    }
    Ok(())
}

/// Debian's compiler, if the installed toolchain cannot be completed. One that is unpacked already is taken before rustup is
/// asked: that takes a minute where its server is out of reach.
fn toolchain(choice: Choice) -> Result<Option<PathBuf>> {
    let names = TARGETS.join(" ");
    let by_hand = || format!("no standard library for phones: please run `rustup target add {names}`");
    let sysroot = sysroot()?;
    if choice != Choice::Debian {
        if TARGETS.iter().all(|target| has_std(&sysroot, target)) {
            println!("  {} are there, in {}", TARGETS.join(" and "), sysroot.display());
            return Ok(None);
        }
        if choice == Choice::Rustup || !debian::is_unpacked_with_source() {
            match add_targets(&sysroot, &TARGETS) {
                Ok(()) => return Ok(None),
                Err(error) if choice == Choice::Rustup => return Err(error).with_context(by_hand),
                Err(error) => println!("  {error:#}; trying Debian's packages (they check the library for phones)"),
            }
        }
    }
    debian::ensure_with_source().map(Some).with_context(by_hand)
}

fn cargo(target: &str, debian: Option<&Path>) -> Command {
    let mut cargo = command::cargo();
    cargo.args(["check", "--locked", "--package", PACKAGE, "--lib", "--target", target]);
    // ring's build script compiles C code, for which there is no compiler here. A check does not need what comes of it, so a
    // program that does nothing stands in for the compiler; with a place named, Xcode is not asked for one either.
    let underscored = target.replace('-', "_");
    cargo.env(format!("CC_{underscored}"), "true").env(format!("AR_{underscored}"), "true").env("SDKROOT", root());
    if let Some(rustc) = debian {
        cargo.args(["--target-dir", DEBIAN_TARGET_DIR, "-Zbuild-std=std,panic_unwind"]);
        // Building the standard library is open to nightly compilers only; this variable makes an exception.
        cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        // Nobody debugs what is only checked.
        cargo.env("CARGO_INCREMENTAL", "0").env("CARGO_PROFILE_DEV_DEBUG", "0");
    }
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(cargo: &Command, name: &str) -> Option<String> {
        let (_, value) = cargo.get_envs().find(|(found, _)| *found == name)?;
        Some(value?.to_string_lossy().into_owned())
    }

    #[test]
    fn the_installed_toolchain_checks_as_it_is() {
        let cargo = cargo(TARGETS[0], None);
        let shown = command::shown(&cargo);
        assert!(
            shown.ends_with("check --locked --package scale-bindings --lib --target aarch64-linux-android"),
            "{shown}"
        );
        assert_eq!(variable(&cargo, "CC_aarch64_linux_android").as_deref(), Some("true"));
        assert_eq!(variable(&cargo, "RUSTC_BOOTSTRAP"), None);
    }

    #[test]
    fn debians_compiler_builds_the_standard_library() {
        let cargo = cargo(TARGETS[1], Some(Path::new("/tools/rustc")));
        assert!(command::shown(&cargo).contains("-Zbuild-std"));
        assert_eq!(variable(&cargo, "RUSTC").as_deref(), Some("/tools/rustc"));
        assert_eq!(variable(&cargo, "RUSTC_BOOTSTRAP").as_deref(), Some("1"));
    }
}
