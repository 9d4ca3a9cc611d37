//! The project's own commands. `cargo xtask --help` lists them; `demo` and `test` are the two that most people need.
//!
//! A command is a list of named steps. [`report::Report`] runs them, shows what each does and how long it took, goes on
//! after a failure so that one run shows everything that is wrong, and ends with a table.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this program's output is the terminal")]

mod api;
mod backends;
mod bindings;
mod ci;
mod command;
mod demo;
mod deny;
mod docs;
mod interop;
mod layers;
mod lockfile;
mod node;
mod opendp;
mod page;
mod report;
mod services;
mod stamp;
mod tally;
mod test;
mod tools;
mod wasm;
mod web;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// SCALE FL's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start a coordinator and a fleet of devices that train the transaction categorizer together
    Demo(demo::Options),
    /// Run every test: native, dependency directions, phones, and WebAssembly in Node.js; installs what is missing
    Test(test::Options),
    /// What a change must pass: format, lints, docs, layers, licenses, every test, a short demo
    Ci(ci::Options),
    /// Test the running REST API with random requests against its own OpenAPI document; installs schemathesis
    Api(api::Options),
    /// Run the command blocks of README.md, CONTRIBUTING.md and the other documents, as a newcomer pastes them
    Docs(api::Program),
    /// Run clients of another make against the coordinator: devices in Python, errors in Node.js; installs what they need
    Interop(api::Program),
    /// Open the REST API's page, /docs, in Chromium; installs it
    Page(page::Options),
    /// The same training on a GPU (Vulkan) and on the CPU; installs a driver that renders in software where there is none
    Wgpu,
    /// Check dependency directions, forbidden imports and banned packages
    Layers,
    /// Start throw-away Postgres and Redis servers, run a command that uses them, and stop them
    Services(services::Options),
    /// Build the device crates for wasm32-unknown-unknown and run the protocol's test vectors in Node.js
    Wasm(wasm::Options),
    /// Build the npm package for browsers, wasm/package, within its budget of bytes; --test runs its tests in Chromium
    Web(web::Options),
    /// Build the SDKs for phones into target/bindings, for Swift, Kotlin and React Native; --test runs their tests
    Bindings(bindings::Options),
    /// Check licenses, bans and sources of every dependency with cargo-deny, and known vulnerabilities when online
    Deny,
}

fn main() -> ExitCode {
    if let Some(code) = docs::called_in_place_of_cargo() {
        return code;
    }
    let mut report = report::Report::new();
    match Cli::parse().command {
        Task::Demo(options) => report.step("demo", || demo::run(&options)),
        Task::Test(options) => test::steps(&mut report, &options),
        Task::Ci(options) => ci::steps(&mut report, &options),
        Task::Api(options) => report.step("rest api", || api::run(&options)),
        Task::Docs(program) => report.step("commands of documents", || docs::run(program)),
        Task::Interop(program) => report.test_step("interop", |tally| interop::run(program, tally)),
        Task::Page(options) => report.test_step("docs page", |tally| page::run(&options, tally)),
        Task::Wgpu => backends::wgpu(&mut report),
        Task::Layers => report.step("layers", layers::run),
        Task::Services(options) => report.step("services", || services::run(&options)),
        Task::Wasm(options) => wasm::steps(&mut report, &options),
        Task::Web(options) => web::steps(&mut report, &options),
        Task::Bindings(options) => bindings::steps(&mut report, &options),
        Task::Deny => deny::steps(&mut report),
    }
    report.finish()
}
