//! The WebAssembly module and the JavaScript that wasm-bindgen makes for it.

use std::path::PathBuf;

use anyhow::{Context, Result};

use super::{TOOL_LIMIT, Variant};
use crate::command;
use crate::stamp::Stamp;
use crate::wasm::{self, TARGET, TARGET_DIR, Toolchain};
use crate::workspace::{root, without_paths};

const PACKAGE: &str = "scale-wasm";
/// What its library is called, and so the files.
const NAME: &str = "scale_fl";
/// Small and fast, whatever the build takes.
const PROFILE: &str = "web";

/// For a page without a bundler. The worker names the module's place, so the glue need not guess it.
const BINDGEN: [&str; 5] =
    ["--target", "web", "--omit-default-module-path", "--remove-name-section", "--remove-producers-section"];

/// The glue and the module in [`Variant::glue`].
pub(super) struct Files {
    pub(super) glue: PathBuf,
    pub(super) wasm: PathBuf,
}

impl Files {
    pub(super) fn of(variant: Variant) -> Self {
        let folder = variant.glue();
        Self { glue: folder.join(format!("{NAME}.js")), wasm: folder.join(format!("{NAME}_bg.wasm")) }
    }
}

/// Compiles the crate and lets wasm-bindgen work on it.
///
/// # Errors
/// If it does not build.
pub(super) fn build(toolchain: &Toolchain, variant: Variant) -> Result<()> {
    let mut cargo = wasm::cargo("build", toolchain);
    cargo.args(["--profile", PROFILE, "--package", PACKAGE, "--lib"]);
    if variant == Variant::Testing {
        cargo.args(["--features", "testing"]);
    }
    // Added to those of the configuration file.
    cargo.args(["--config", &format!("target.{TARGET}.rustflags = {:?}", without_paths(root()))]);
    command::run(&mut cargo)?;
    let built = root().join(TARGET_DIR).join(TARGET).join(PROFILE).join(format!("{NAME}.wasm"));

    let bindgen = wasm::bindgen("wasm-bindgen")?;
    let (folder, files) = (variant.glue(), Files::of(variant));
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    // The tool's path names its version.
    let settings = [bindgen.to_string_lossy(), BINDGEN.join(" ").into()];
    let settings: Vec<&str> = settings.iter().map(AsRef::as_ref).collect();
    let stamp = Stamp::of(folder.join("module.stamp"), &settings, std::slice::from_ref(&built))?;
    if stamp.is_fresh(&[files.glue, files.wasm]) {
        return Ok(());
    }
    let mut make = command::command(bindgen);
    make.args(BINDGEN).arg("--out-dir").arg(&folder).args(["--out-name", NAME]).arg(&built);
    command::run_within(TOOL_LIMIT, &mut make)?;
    stamp.write()
}
