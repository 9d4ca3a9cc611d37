//! Puts the Kotlin library together, as an app can use it by its path.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::SOURCES;
use super::toolchain::{Compilation, toolchain};
use crate::bindings::folder;
use crate::bindings::library::Library;
use crate::command;
use crate::tools::{apt_install, on_path};
use crate::workspace::root;

/// What is copied from the sources. Tests and tools stay.
const COPIED: [&str; 9] = [
    "README.md",
    "settings.gradle.kts",
    "build.gradle.kts",
    "gradle.properties",
    "core/build.gradle.kts",
    "core/src/main",
    "android/build.gradle.kts",
    "android/consumer-rules.pro",
    "android/src/main",
];

/// The jar with the library for the JVM, in the assembled folder.
pub(crate) const JAR: &str = "scale-fl.jar";

/// The classes alone, of the published library or of the one for tests: what others are compiled against.
pub(super) fn classes(testing: bool) -> PathBuf {
    folder().join("kotlin-classes").join(if testing { "testing.jar" } else { "published.jar" })
}

/// The assembled folder.
pub(super) fn assembled(testing: bool) -> PathBuf {
    if testing { folder().join("testing/kotlin") } else { folder().join("kotlin") }
}

/// Assembles `target/bindings/kotlin`, or `target/bindings/testing/kotlin` with a library that was built for tests:
///
/// - `scale-fl.jar`: classes and native library. An app on the JVM needs it, JNA and Kotlin's coroutines.
/// - `core`, `android`, …: the sources with what was generated, which Gradle makes the jar and the AAR from.
///
/// # Errors
/// If something cannot be written, or does not compile.
pub(crate) fn assemble(library: &Library, testing: bool) -> Result<PathBuf> {
    let into = assembled(testing);
    if into.exists() {
        fs::remove_dir_all(&into).with_context(|| format!("cannot remove {}", into.display()))?;
    }
    for name in COPIED {
        copy(&root().join(SOURCES).join(name), &into.join(name))?;
    }
    copy(&library.kotlin, &into.join("generated/jvm"))?;
    copy(&library.kotlin_android, &into.join("generated/android"))?;
    let native = into.join("natives").join(resource_name()?);
    copy(&library.shared, &native)?;
    strip(&native)?;

    let classes = classes(testing);
    fs::create_dir_all(folder().join("kotlin-classes")).context("cannot make a folder for the classes")?;
    toolchain()?.compile(&Compilation {
        what: "the Kotlin library",
        sources: &[root().join(SOURCES).join("core/src/main/kotlin"), library.kotlin.clone()],
        classpath: &[],
        friend: None,
        into: &classes,
    })?;
    let jar = into.join(JAR);
    copy(&classes, &jar)?;
    let mut add = command::command("jar");
    command::run(add.arg("--update").arg("--file").arg(&jar).arg("-C").arg(into.join("natives")).arg("."))?;
    println!("  assembled {}", into.display());
    Ok(into)
}

/// Takes away what only debuggers and the generator read: two thirds of the file.
fn strip(native: &Path) -> Result<()> {
    if !on_path("strip") {
        apt_install(&["binutils"], "there is no `strip`, which makes the native library small")?;
    }
    command::run(command::command("strip").arg("--strip-unneeded").arg(native))
}

/// The native library's name among a jar's resources, where JNA looks for it.
///
/// # Errors
/// If JNA's name of this machine is not known here.
fn resource_name() -> Result<PathBuf> {
    let system = match std::env::consts::OS {
        "linux" => "linux",
        "macos" => "darwin",
        other => anyhow::bail!("how JNA names {other} is not written down here: bindings/kotlin is tested on Linux"),
    };
    let processor = match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "aarch64",
        other => anyhow::bail!("how JNA names {other} is not written down here: bindings/kotlin is tested on x86-64"),
    };
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    Ok(Path::new(&format!("{system}-{processor}")).join(format!("{prefix}scale_fl_sdk{suffix}")))
}

/// Copies a file, or a folder with everything in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    ensure!(from.is_file(), "{} is not there", from.display());
    let folder = to.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
