//! The native halves of the module, as far as this machine goes: both compile against stand-ins for Expo, Apple and Android,
//! and Android's part that needs none of them runs on the JVM.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::package::copy;
use super::{SOURCES, TOOL_LIMIT, made};
use crate::bindings::kotlin::{self, Compilation, JAR, java, joined};
use crate::bindings::{library::Library, swift};
use crate::command;
use crate::stamp::files;
use crate::workspace::root;

/// Expo's, Apple's and Google's classes.
const STAND_INS: &str = "tests/stand-ins";
/// Android's sources of this module.
const ANDROID: &str = "android/src/main/java";
/// What of them needs no Android: the calls, which are all that is in the other files' way to the library.
const CLIENTS: &str = "android/src/main/java/io/scalefl/reactnative/Clients.kt";
/// The Kotlin library's stubs of Android, and its reader of JSON for tests.
const KOTLIN_STUBS: &str = "bindings/kotlin/android/src/stubs";
const KOTLIN_ANDROID: &str = "bindings/kotlin/android/src/main/kotlin";
const KOTLIN_JSON: &str = "bindings/kotlin/core/src/test/kotlin/io/scalefl/sdk/support/Json.kt";

/// The line that keeps the rounds in the background to iOS, and what stands there for the check.
const ONLY_IOS: (&str, &str) = ("#if canImport(BackgroundTasks) && os(iOS)", "#if canImport(BackgroundTasks)");

/// Type-checks `ios/*.swift` against the Swift package's own sources.
///
/// # Errors
/// If it does not compile.
pub(super) fn check_swift(library: &Library) -> Result<()> {
    let swift = swift::toolchain()?;
    let folder = made().join("swift");
    let (modules, sdk) = (folder.join("modules"), folder.join("sdk"));
    fs::create_dir_all(&modules).with_context(|| format!("cannot make {}", modules.display()))?;
    copy(&root().join("bindings/swift/Sources/ScaleFL"), &sdk)?;
    copy(&library.swift.join("ScaleFL.swift"), &sdk.join("ScaleFL.swift"))?;
    copy(&library.swift.join("ScaleFLFFI.h"), &modules.join("ScaleFLFFI.h"))?;
    copy(&library.swift.join("ScaleFLFFI.modulemap"), &modules.join("module.modulemap"))?;
    let stand_ins = root().join(SOURCES).join(STAND_INS).join("swift");
    copy(&stand_ins.join("KeychainVault.swift"), &sdk.join("KeychainVault.swift"))?;
    as_for_ios(&sdk.join("Background.swift"))?;

    let module = |name: &str, sources: &[PathBuf]| {
        let mut swiftc = swift.command("swiftc", &folder);
        swiftc.args(["-swift-version", "5", "-parse-as-library", "-I", "modules"]);
        swiftc.args(["-emit-module", "-module-name", name]);
        swiftc.arg("-emit-module-path").arg(format!("modules/{name}.swiftmodule")).args(sources);
        command::run_within(TOOL_LIMIT, &mut swiftc).with_context(|| format!("the module {name} does not compile"))
    };
    for name in ["BackgroundTasks", "ExpoModulesCore"] {
        module(name, &[stand_ins.join(format!("{name}.swift"))])?;
    }
    module("ScaleFL", &with_ending(&sdk, "swift")?)?;
    let mut check = swift.command("swiftc", &folder);
    check.args(["-swift-version", "5", "-parse-as-library", "-typecheck", "-module-name", "ScaleFLReactNative"]);
    check.args(["-I", "modules"]).args(with_ending(&root().join(SOURCES).join("ios"), "swift")?);
    command::run_within(TOOL_LIMIT, &mut check).context("ios/*.swift does not pass the type checker")
}

/// Compiles the Android sources, and a program around those that need no Android. Returns how it is started: the folder for its
/// installations comes last.
///
/// # Errors
/// If something does not compile.
pub(super) fn check_kotlin(library: &Library) -> Result<Vec<OsString>> {
    let kotlin = kotlin::toolchain()?;
    let sdk = kotlin::assemble(library, true)?.join(JAR);
    let (sources, folder) = (root().join(SOURCES), made().join("kotlin"));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let classpath = [sdk.clone()];
    let compile = |what: &str, sources: &[PathBuf], into: &Path| {
        kotlin.compile(&Compilation { what, sources, classpath: &classpath, friend: None, into })
    };
    let stand_ins = sources.join(STAND_INS).join("kotlin");
    let android = [sources.join(ANDROID), stand_ins, root().join(KOTLIN_ANDROID), root().join(KOTLIN_STUBS)];
    let what = "React Native's module for Android, against stand-ins (no machine of ours has run it)";
    compile(what, &android, &folder.join("android.jar"))?;
    let bridge = folder.join("bridge.jar");
    let parts = [sources.join(CLIENTS), sources.join("tests/bridge"), root().join(KOTLIN_JSON)];
    compile("its calls as a program", &parts, &bridge)?;

    let classes: Vec<PathBuf> = [bridge, sdk].into_iter().chain(kotlin.runtime()).collect();
    let java = java("256m");
    let mut words: Vec<OsString> = vec![java.get_program().to_owned()];
    words.extend(java.get_args().map(ToOwned::to_owned));
    words.extend(["-cp".into(), joined(&classes)?, "io.scalefl.reactnative.BridgeKt".into()]);
    Ok(words)
}

/// Takes the line out that keeps a source from being compiled here.
fn as_for_ios(source: &Path) -> Result<()> {
    let text = fs::read_to_string(source).with_context(|| format!("cannot read {}", source.display()))?;
    ensure!(text.contains(ONLY_IOS.0), "{} has no line `{}`", source.display(), ONLY_IOS.0);
    super::package::write(source, &text.replace(ONLY_IOS.0, ONLY_IOS.1))
}

fn with_ending(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let found: Vec<PathBuf> =
        files(folder, &[])?.into_iter().filter(|path| path.extension().is_some_and(|there| there == ending)).collect();
    ensure!(!found.is_empty(), "{} has no .{ending} files", folder.display());
    Ok(found)
}
