//! What a change must pass.

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::command;
use crate::report::Report;
use crate::{demo, deny, test, tools};

#[derive(Args)]
pub(crate) struct Options {
    /// Leave out the WebAssembly part
    #[arg(long)]
    no_wasm: bool,
    /// Run a small demo too, unoptimized: builds it apart from the tests, so it takes minutes
    #[arg(long)]
    demo: bool,
}

pub(crate) fn steps(report: &mut Report, options: &Options) {
    report.step("format", || {
        ensure_component("rustfmt", "fmt")?;
        command::run(command::cargo().args(["fmt", "--all", "--check"]))
    });
    report.step("clippy", || {
        ensure_component("clippy", "clippy")?;
        let lints = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        command::run(command::cargo().args(lints))?;
        // The demo's coordinator has no facade.
        let lints = ["clippy", "--package", "scale-examples", "--bins", "--locked", "--", "-D", "warnings"];
        command::run(command::cargo().args(lints))
    });
    report.step("docs", || {
        let mut doc = command::cargo();
        doc.args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings");
        command::run(&mut doc)
    });
    test::steps(report, &test::Options::everything(options.no_wasm));
    deny::steps(report);
    if options.demo {
        report.step("demo", demo::check);
    } else {
        report.not_run("demo", "ask for it with --demo; the native tests run whole rounds on the real binary");
    }
}

/// The toolchain file asks for both components; a toolchain installed without them is completed here.
fn ensure_component(component: &str, subcommand: &str) -> Result<()> {
    if command::succeeds(command::cargo().args([subcommand, "--version"])) {
        return Ok(());
    }
    let missing = || format!("the toolchain lacks {component}: please run `rustup component add {component}`");
    if tools::on_path("rustup") {
        let mut add = command::command("rustup");
        command::run_within(Duration::from_secs(60), add.args(["component", "add", component]))
            .with_context(missing)?;
    }
    command::run(command::cargo().args([subcommand, "--version"])).with_context(missing)
}
