//! Finds or installs a compiler with the standard library for wasm32.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::{TARGET, debian};
use crate::tools::rust::{add_targets, has_std, sysroot};

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
    if has_std(&sysroot, TARGET) {
        println!("  {TARGET} is there, in {}", sysroot.display());
        return Ok(Toolchain::INSTALLED);
    }
    let Err(error) = add_targets(&sysroot, &[TARGET]) else { return Ok(Toolchain::INSTALLED) };
    if choice == Choice::Rustup {
        return Err(error).context(BY_HAND);
    }
    println!("  {error:#}; trying Debian's packages");
    from_debian()
}

const BY_HAND: &str = "no standard library for wasm32: please run `rustup target add wasm32-unknown-unknown`";

fn from_debian() -> Result<Toolchain> {
    let rustc = debian::ensure().context(BY_HAND)?;
    let linker = linker(&sysroot()?).context("Debian's compiler needs the installed toolchain's rust-lld")?;
    println!("  compiler {}, linker {}", rustc.display(), linker.display());
    Ok(Toolchain { rustc: Some(rustc), linker: Some(linker) })
}

/// rust-lld lies under the host's name, which differs by machine.
fn linker(sysroot: &Path) -> Result<PathBuf> {
    let hosts = std::fs::read_dir(sysroot.join("lib/rustlib"))?;
    let mut candidates = hosts.flatten().map(|host| host.path().join("bin/rust-lld"));
    let found = candidates.find(|candidate| candidate.is_file());
    found.with_context(|| format!("no rust-lld in {}", sysroot.display()))
}
