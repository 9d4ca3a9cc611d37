//! Where the repository is, and what `cargo metadata` says about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    // Invariant: this package lives one folder below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask has a parent folder")
}

/// Where tools that this program installs are kept: `.tools/`, which git ignores, or the folder that
/// `SCALE_TOOLS_DIR` names, so that several clones can share one.
pub(crate) fn tools_dir() -> PathBuf {
    match std::env::var_os("SCALE_TOOLS_DIR") {
        Some(dir) if !dir.is_empty() => root().join(dir),
        _ => root().join(".tools"),
    }
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Flags of rustc that keep this machine's paths out of what is published: panics name source files. `tree`: below it lies
/// everything of ours that is compiled under its full path.
pub(crate) fn without_paths(tree: &Path) -> [String; 2] {
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    [format!("--remap-path-prefix={cargo}=cargo"), format!("--remap-path-prefix={}=scale-fl", tree.display())]
}

/// The members of the workspace.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
    /// What each feature turns on, with those that optional dependencies make.
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// Nothing for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
    pub(crate) optional: bool,
}

impl Metadata {
    /// # Errors
    /// If a manifest of the workspace is wrong.
    pub(crate) fn read() -> Result<Self> {
        Self::of(root())
    }

    /// Those of another checkout.
    ///
    /// # Errors
    /// If a manifest of the workspace is wrong.
    pub(crate) fn of(tree: &Path) -> Result<Self> {
        let mut cargo = command::cargo();
        cargo.current_dir(tree).args(["metadata", "--no-deps", "--format-version", "1"]);
        let json = command::output(&mut cargo)?;
        serde_json::from_str(&json).context("cargo metadata wrote something unexpected")
    }
}
