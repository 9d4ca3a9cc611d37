//! Every test of the repository, and their sum.

use anyhow::{Result, ensure};
use clap::Args;

use crate::command;
use crate::report::Report;
use crate::services::Services;
use crate::tally::Tally;
use crate::{api, backends, bindings, docs, interop, layers, opendp, page, wasm, web};

#[derive(Args)]
pub(crate) struct Options {
    /// Unit tests and layers only: no whole rounds, no documentation examples, no SDKs for phones, no wasm
    #[arg(long)]
    fast: bool,
    /// Leave out the WebAssembly part
    #[arg(long)]
    no_wasm: bool,
    /// Random rounds of secure aggregation, and random message sequences; 10,000 take some ten minutes of one core
    #[arg(long, value_name = "COUNT")]
    rounds: Option<u32>,
}

/// What a change must pass.
const CI_ROUNDS: u32 = 4_000;

impl Options {
    /// What `ci` runs.
    pub(crate) fn everything(no_wasm: bool) -> Self {
        Self { fast: false, no_wasm, rounds: Some(CI_ROUNDS) }
    }
}

pub(crate) fn steps(report: &mut Report, options: &Options) {
    let mut services = None;
    if !options.fast {
        // Without them the tests that need them fail, and all others still show how they are.
        report.step("services", || {
            services = Some(Services::start()?);
            Ok(())
        });
    }
    report.test_step("native tests", |tally| native(options, services.as_ref(), tally));
    drop(services);
    report.step("layers", layers::run);
    if options.fast {
        let others = [
            "rest api",
            "docs page",
            "interop",
            "commands of documents",
            "opendp",
            "back ends",
            "bindings library",
            "bindings size",
            "swift tests",
            "kotlin tests",
            "react native tests",
            "phone targets",
            "previous release",
            "mixed round",
            "wasm",
            "web",
        ];
        for left_out in ["integration tests"].into_iter().chain(others) {
            report.not_run(left_out, "--fast");
        }
        return;
    }
    report.step("rest api", || api::run(&api::Options::after_tests()));
    report.test_step("docs page", |tally| page::run(&page::Options::after_tests(), tally));
    report.test_step("interop", |tally| interop::run(api::Program::OF_TESTS, tally));
    report.step("commands of documents", || docs::run(api::Program::OF_TESTS));
    report.test_step("opendp", opendp::run);
    backends::steps(report);
    if options.no_wasm {
        report.not_run("wasm", "--no-wasm");
        report.not_run("web", "--no-wasm");
    } else {
        wasm::steps(report, &wasm::Options::everything());
        web::steps(report, &web::Options::after_tests());
    }
    // After what it shares with them: a browser takes part in one of its rounds.
    bindings::steps(report, &bindings::Options::after_tests(options.no_wasm));
}

/// Plain `cargo test`, so that nothing needs to be installed but what the services are.
fn native(options: &Options, services: Option<&Services>, tally: &mut Tally) -> Result<()> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    if options.fast {
        cargo.args(["--lib", "--bins"]);
    }
    if let Some(rounds) = options.rounds {
        cargo.env("SCALE_ROUNDS", rounds.to_string());
    }
    if let Some(services) = services {
        services.tell(&mut cargo);
    }
    let mut native = Tally::default();
    let result = command::run_reading(&mut cargo, |line| native.read_line(line)).and_then(|()| {
        ensure!(native.passed() > 0, "cargo test ran no test");
        Ok(())
    });
    tally.absorb("", native);
    result
}
