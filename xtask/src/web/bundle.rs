//! The package's TypeScript: checked, bundled into two scripts, and described by declarations.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::module::Files;
use super::{PACKAGE, TOOL_LIMIT, Variant};
use crate::command;
use crate::stamp::{Stamp, files};
use crate::workspace::root;

const SCRIPT: &str = include_str!("bundle.mjs");

/// What a browser loads.
pub(super) const LOADED: [&str; 3] = ["scale_fl.wasm", "worker.js", "index.js"];
/// What an editor reads.
const DECLARATIONS: &str = "index.d.ts";

/// Puts the finished files into [`Variant::dist`]. `tools`: the folder whose `node_modules` has esbuild and typescript.
///
/// # Errors
/// If the sources do not pass the type checker or a tool fails.
pub(super) fn build(tools: &Path, variant: Variant) -> Result<()> {
    let package = root().join(PACKAGE);
    let (dist, module) = (variant.dist(), Files::of(variant));
    let mut inputs = files(&package, &["dist", "node_modules"])?;
    inputs.extend([module.glue.clone(), module.wasm.clone()]);
    let stamp = Stamp::of(variant.glue().join("bundle.stamp"), &[SCRIPT], &inputs)?;
    let mut results: Vec<PathBuf> = LOADED.iter().map(|name| dist.join(name)).collect();
    if variant == Variant::Published {
        results.push(dist.join(DECLARATIONS));
    }
    if stamp.is_fresh(&results) {
        return Ok(());
    }
    if variant == Variant::Published {
        // What is no longer made must not be published.
        if dist.exists() {
            fs::remove_dir_all(&dist).with_context(|| format!("cannot empty {}", dist.display()))?;
        }
        check_types(tools, &package, &dist)?;
    }
    let mut node = command::command("node");
    node.args(["--input-type=module", "--eval", SCRIPT, "--"]).args([tools, &package, &module.glue, &dist]);
    node.arg((variant == Variant::Testing).to_string());
    println!("  $ esbuild: {} and {} into {}", LOADED[1], LOADED[2], shown(&dist));
    let bundled = node.status().context("cannot start `node`")?;
    ensure!(bundled.success(), "esbuild could not bundle {PACKAGE}/src (see above)");
    fs::copy(&module.wasm, dist.join(LOADED[0])).with_context(|| format!("cannot copy {}", module.wasm.display()))?;
    stamp.write()
}

/// Checks every project of the package, the page's part and the worker's, which have different globals. The first one
/// also writes the declarations.
fn check_types(tools: &Path, package: &Path, dist: &Path) -> Result<()> {
    let projects = files(package, &["dist", "node_modules", "tools"])?;
    let projects: Vec<_> = projects.into_iter().filter(|path| path.ends_with("tsconfig.json")).collect();
    let main = package.join("tsconfig.json");
    ensure!(projects.contains(&main), "{} is missing", main.display());
    for project in projects {
        let mut tsc = command::command("node");
        tsc.arg(tools.join("node_modules/typescript/bin/tsc")).arg("--project").arg(&project);
        // The declarations of wasm-bindgen's glue ask for newer globals than browsers must have.
        tsc.arg("--skipLibCheck");
        if project == main {
            tsc.args(["--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--outDir"]).arg(dist);
        } else {
            tsc.arg("--noEmit");
        }
        command::run_within(TOOL_LIMIT, &mut tsc)
            .with_context(|| format!("{} does not pass the type checker", shown(&project)))?;
    }
    Ok(())
}

/// A path as the repository's reader knows it.
fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
