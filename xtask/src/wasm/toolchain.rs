//! Finds or installs a compiler with the standard library for wasm32.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use super::{TARGET, debian};
use crate::{command, tools};

/// Where the compiler may come from.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The installed toolchain; if rustup cannot complete it, Debian's
    #[default]
    Auto,
    /// The installed toolchain, completed by `rustup target add`
    Rustup,
    /// Debian's packages of a newer suite, unpacked into the tools folder
    Debian,
}

/// How to call the compiler.
pub(crate) struct Toolchain {
    /// Replaces `rustc` if it is not the installed toolchain.
    pub(super) rustc: Option<PathBuf>,
    /// Replaces the linker, likewise.
    pub(super) linker: Option<PathBuf>,
}

impl Toolchain {
    const INSTALLED: Self = Self { rustc: None, linker: None };

    pub(super) fn configure(&self, cargo: &mut Command) {
        if let Some(rustc) = &self.rustc {
            cargo.env("RUSTC", rustc);
        }
        if let Some(linker) = &self.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
}

/// Installs what is missing; does nothing when everything is there.
///
/// # Errors
/// If no way works here. The message says what to install by hand.
pub(super) fn ensure(choice: Choice) -> Result<Toolchain> {
    if choice == Choice::Debian {
        return from_debian();
    }
    let sysroot = sysroot()?;
    if has_std(&sysroot) {
        println!("  {TARGET} is there, in {}", sysroot.display());
        return Ok(Toolchain::INSTALLED);
    }
    let Err(error) = add_with_rustup(&sysroot) else { return Ok(Toolchain::INSTALLED) };
    if choice == Choice::Rustup {
        return Err(error).context(BY_HAND);
    }
    println!("  {error:#}; trying Debian's packages");
    from_debian()
}

const BY_HAND: &str = "no standard library for wasm32: please run `rustup target add wasm32-unknown-unknown`";

fn add_with_rustup(sysroot: &Path) -> Result<()> {
    if !tools::on_path("rustup") {
        bail!("rustup is not here");
    }
    println!("  adding {TARGET} to the toolchain");
    // rustup retries for many minutes where its server is out of reach.
    command::run_within(Duration::from_secs(60), command::command("rustup").args(["target", "add", TARGET]))?;
    if !has_std(sysroot) {
        bail!("rustup added {TARGET} to a toolchain other than {}", sysroot.display());
    }
    Ok(())
}

fn from_debian() -> Result<Toolchain> {
    let rustc = debian::ensure().context(BY_HAND)?;
    let linker = linker(&sysroot()?).context("Debian's compiler needs the installed toolchain's rust-lld")?;
    println!("  compiler {}, linker {}", rustc.display(), linker.display());
    Ok(Toolchain { rustc: Some(rustc), linker: Some(linker) })
}

fn sysroot() -> Result<PathBuf> {
    let path = command::output(command::command("rustc").args(["--print", "sysroot"]))?;
    Ok(PathBuf::from(path.trim()))
}

/// True if `sysroot` (the folder that holds `lib/rustlib`) has the target's standard library.
pub(super) fn has_std(sysroot: &Path) -> bool {
    let folder = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

/// rust-lld lies under the host's name, which differs by machine.
fn linker(sysroot: &Path) -> Result<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib"))?;
    let mut candidates = hosts.flatten().map(|host| host.path().join("bin/rust-lld"));
    let found = candidates.find(|candidate| candidate.is_file());
    found.with_context(|| format!("no rust-lld in {}", sysroot.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sysroot_without_the_target_is_told_apart() {
        assert!(!has_std(Path::new("/no/such/sysroot")));
        assert!(!has_std(crate::workspace::root()));
    }
}
