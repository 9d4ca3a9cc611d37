//! The AAR: the library for Android's processors, and what Gradle makes of it and the Kotlin sources. Needs Google's NDK and SDK,
//! and Gradle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::elf::alignment;
use super::folder;
use super::library::{self, NAME, PROFILE};
use crate::command;
use crate::tools::on_path;
use crate::tools::rust::{add_targets, has_std, sysroot};
use crate::workspace::target_dir;

/// One kind of processor.
struct Processor {
    /// What Android calls it.
    abi: &'static str,
    /// What Rust calls it.
    target: &'static str,
    /// How the NDK's compiler for it begins.
    clang: &'static str,
}

/// The same as in `bindings/kotlin/android/build.gradle.kts`.
const PROCESSORS: [Processor; 3] = [
    Processor { abi: "arm64-v8a", target: "aarch64-linux-android", clang: "aarch64-linux-android" },
    Processor { abi: "armeabi-v7a", target: "armv7-linux-androideabi", clang: "armv7a-linux-androideabi" },
    Processor { abi: "x86_64", target: "x86_64-linux-android", clang: "x86_64-linux-android" },
];

/// The oldest Android, as an API level: Android 7.
const API: u32 = 24;

/// Phones with pages of this size refuse a library that is linked for smaller ones.
const PAGE: u64 = 16_384;

/// Where the assembled Kotlin package has the libraries, and where Gradle leaves the AAR.
const LIBRARIES: &str = "kotlin/android/src/main/jniLibs";
const AAR: &str = "kotlin/android/build/outputs/aar/android-release.aar";

/// What is missing on this machine, if anything.
pub(super) fn missing() -> Option<String> {
    let folder = |name: &str| std::env::var_os(name).is_some_and(|path| Path::new(&path).is_dir());
    let needed = [
        (folder("ANDROID_NDK_HOME"), "the NDK, in ANDROID_NDK_HOME"),
        (folder("ANDROID_HOME"), "the Android SDK, in ANDROID_HOME"),
        (on_path("gradle"), "gradle on the PATH"),
    ];
    let missing: Vec<&str> = needed.iter().filter(|(there, _)| !there).map(|(_, what)| *what).collect();
    (!missing.is_empty()).then(|| format!("the AAR needs {}", missing.join("; ")))
}

/// Builds the libraries into the assembled Kotlin package, and the AAR from all of it.
///
/// # Errors
/// If anything does not build, or a library is linked for small pages.
pub(super) fn build() -> Result<()> {
    let ndk = PathBuf::from(std::env::var_os("ANDROID_NDK_HOME").context("ANDROID_NDK_HOME is not set")?);
    let programs = programs(&ndk)?;
    let targets = PROCESSORS.map(|processor| processor.target);
    let sysroot = sysroot()?;
    if !targets.iter().all(|target| has_std(&sysroot, target)) {
        add_targets(&sysroot, &targets)?;
    }
    for processor in &PROCESSORS {
        command::run(&mut cargo(processor, &programs))?;
        let file = format!("lib{NAME}.so");
        let built = target_dir().join(processor.target).join(PROFILE).join(&file);
        let into = folder().join(LIBRARIES).join(processor.abi);
        fs::create_dir_all(&into).with_context(|| format!("cannot make {}", into.display()))?;
        let into = into.join(file);
        let mut strip = command::command(programs.join("llvm-strip"));
        command::run(strip.arg("--strip-unneeded").arg("-o").arg(&into).arg(&built))?;
        let bytes = fs::read(&into).with_context(|| format!("cannot read {}", into.display()))?;
        let aligned = alignment(&bytes).with_context(|| format!("{} is damaged", into.display()))?;
        println!("  {}: {:.2} MB, for pages of {} KB", processor.abi, bytes.len() as f64 / 1e6, aligned / 1024);
        ensure!(aligned >= PAGE, "{} is linked for pages of {aligned} bytes; phones need {PAGE}", into.display());
    }
    let mut gradle = command::command("gradle");
    gradle.current_dir(folder().join("kotlin")).args(["--no-daemon", "--console=plain", ":android:assembleRelease"]);
    gradle.arg(format!("-Pversion={}", env!("CARGO_PKG_VERSION")));
    command::run(&mut gradle)?;
    let aar = folder().join(format!("scale-fl-android-{}.aar", env!("CARGO_PKG_VERSION")));
    fs::copy(folder().join(AAR), &aar).with_context(|| format!("gradle left no {AAR}"))?;
    println!("  {}", aar.display());
    Ok(())
}

/// The folder of the NDK's programs: it lies below the name of the machine that they run on.
fn programs(ndk: &Path) -> Result<PathBuf> {
    let hosts = ndk.join("toolchains/llvm/prebuilt");
    let entries = fs::read_dir(&hosts)
        .with_context(|| format!("{} is no NDK: cannot read {}", ndk.display(), hosts.display()))?;
    let found = entries.flatten().map(|host| host.path().join("bin")).find(|bin| bin.is_dir());
    found.with_context(|| format!("{} has no programs for any machine", hosts.display()))
}

fn cargo(processor: &Processor, programs: &Path) -> Command {
    let target = processor.target;
    let mut cargo = library::cargo("cdylib");
    cargo.args(["--target", target]);
    let [dependencies, own] = library::flags();
    let flags = [dependencies, own, "-Clink-arg=-Wl,-z,max-page-size=16384".to_owned()];
    // These replace `build.rustflags`.
    cargo.args(["--config", &format!("target.{target}.rustflags = {flags:?}")]);
    let clang = programs.join(format!("{}{API}-clang", processor.clang));
    let underscored = target.replace('-', "_");
    cargo.env(format!("CARGO_TARGET_{}_LINKER", underscored.to_uppercase()), &clang);
    // ring's C code.
    cargo.env(format!("CC_{underscored}"), &clang).env(format!("AR_{underscored}"), programs.join("llvm-ar"));
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradle_packs_what_is_built_here() {
        let gradle = crate::workspace::root().join("bindings/kotlin/android/build.gradle.kts");
        let gradle = fs::read_to_string(gradle).unwrap();
        let abis = PROCESSORS.map(|processor| format!("{:?}", processor.abi)).join(", ");
        assert!(gradle.contains(&format!("abiFilters += listOf({abis})")), "{abis}");
        assert!(gradle.contains(&format!("minSdk = {API}")));
    }

    #[test]
    fn every_library_is_linked_by_the_ndk_for_large_pages() {
        let cargo = cargo(&PROCESSORS[1], Path::new("/ndk/bin"));
        let shown = command::shown(&cargo);
        assert!(shown.contains("--crate-type cdylib") && shown.contains("--target armv7-linux-androideabi"), "{shown}");
        assert!(shown.contains(&format!("-Wl,-z,max-page-size={PAGE}")), "{shown}");
        let variable = |name: &str| {
            let (_, value) = cargo.get_envs().find(|(found, _)| *found == name)?;
            Some(value?.to_string_lossy().into_owned())
        };
        let clang = Some("/ndk/bin/armv7a-linux-androideabi24-clang".to_owned());
        assert_eq!(variable("CARGO_TARGET_ARMV7_LINUX_ANDROIDEABI_LINKER"), clang);
        assert_eq!(variable("CC_armv7_linux_androideabi"), clang);
        assert_eq!(variable("AR_armv7_linux_androideabi").unwrap(), "/ndk/bin/llvm-ar");
    }

    #[test]
    fn the_programs_are_found_below_any_machines_name() {
        let folder = crate::services::Folder::new(None).unwrap();
        assert!(programs(&folder.path).unwrap_err().to_string().contains("is no NDK"));
        let bin = folder.path.join("toolchains/llvm/prebuilt/linux-x86_64/bin");
        fs::create_dir_all(&bin).unwrap();
        assert_eq!(programs(&folder.path).unwrap(), bin);
    }
}
