//! The installed Rust toolchain, and standard libraries for other targets in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};

use super::on_path;
use crate::command;

/// The folder that holds the toolchain's `lib/rustlib`.
///
/// # Errors
/// If there is no rustc.
pub(crate) fn sysroot() -> Result<PathBuf> {
    let path = command::output(command::command("rustc").args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(path.trim()))
}

/// True if `sysroot` has the target's standard library.
pub(crate) fn has_std(sysroot: &Path, target: &str) -> bool {
    let folder = sysroot.join("lib/rustlib").join(target).join("lib");
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// Adds the targets' standard libraries to the toolchain in `sysroot`.
///
/// # Errors
/// If rustup is not here, does not reach its server, or added them to another toolchain.
pub(crate) fn add_targets(sysroot: &Path, targets: &[&str]) -> Result<()> {
    if !on_path("rustup") {
        bail!("rustup is not here");
    }
    let names = targets.join(" and ");
    println!("  adding {names} to the toolchain");
    // rustup retries for many minutes where its server is out of reach.
    command::run_within(Duration::from_secs(60), command::command("rustup").args(["target", "add"]).args(targets))?;
    if !targets.iter().all(|target| has_std(sysroot, target)) {
        bail!("rustup added {names} to a toolchain other than {}", sysroot.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysroot_without_the_target_is_told_apart() {
        let target = "wasm32-unknown-unknown";
        assert!(!has_std(Path::new("/no/such/sysroot"), target));
        assert!(!has_std(crate::workspace::root(), target));
        let host = sysroot().unwrap();
        let targets = std::fs::read_dir(host.join("lib/rustlib")).unwrap().flatten();
        let mut targets = targets.map(|entry| entry.file_name().to_string_lossy().into_owned());
        assert!(targets.any(|target| has_std(&host, &target)), "it compiled this test");
    }
}
