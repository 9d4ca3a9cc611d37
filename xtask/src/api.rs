//! Tests the running REST API against its own description with schemathesis: what the OpenAPI document allows must be
//! accepted, what it forbids must be refused, and every answer must be one that it describes.
//!
//! The server is the real program with a task, a data folder of its own and no limits. Everything is in one temporary
//! folder and ends with this program, however it ends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command;
use crate::demo::{COORDINATOR, SERVER};
use crate::services::{Folder, Server, bound, free_port, tail};
use crate::tools::PythonEnvironment;
use crate::workspace::target_dir;

const SCHEMATHESIS: PythonEnvironment<'_> = PythonEnvironment {
    name: "schemathesis",
    requirements: include_str!("api/requirements.txt"),
    purpose: "it tests the REST API",
};
const SETTINGS: &str = include_str!("api/schemathesis.toml");

/// Limits are tested elsewhere; thousands of requests within a minute are the purpose here. Streams end by themselves,
/// so that their answers can be read to the end.
const CONFIG: &str = "
[rest]
stream_idle_s = 1
[rest.limit]
ip_per_minute = 0
user_per_minute = 0
import_per_minute = 0
[rest.enrollment]
per_day = 1000
";

/// The task that examples in the document speak of.
const TASK: &str = "categorizer";
/// Further runs of sequences of requests only.
const MORE_SEQUENCES: u64 = 3;

#[derive(Args)]
pub(crate) struct Options {
    /// Random requests of each kind to each operation
    #[arg(long, default_value_t = 40, value_name = "COUNT")]
    examples: u32,
    /// Other random requests
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    program: Program,
}

impl Options {
    /// What `test` and `ci` run.
    pub(crate) fn after_tests() -> Self {
        Self { examples: 40, seed: 1, program: Program::OF_TESTS }
    }
}

/// Tests the API with random requests.
///
/// # Errors
/// If anything is missing and cannot be had, or any answer is wrong.
pub(crate) fn run(options: &Options) -> Result<()> {
    let programs = SCHEMATHESIS.ensure().context("schemathesis is needed")?;
    let schemathesis = programs.join("schemathesis");
    let coordinator = options.program.build()?;
    let folder = Folder::new(None)?;
    let served = serve(&coordinator, &folder.path)?;
    let result = test(&schemathesis, &folder.path, &served.url, options);
    let log = served.server.stop();
    let log_text = fs::read_to_string(&log).context("cannot read the server's log")?;
    // What goes wrong beside a request, or after its answer has begun, is in no status.
    let panics = log_text.lines().filter(|line| line.contains("panicked")).count();
    result.with_context(|| format!("the server's last words:\n{}", tail(&log)))?;
    ensure!(panics == 0, "the server panicked {panics} times; its last words:\n{}", tail(&log));
    Ok(())
}

/// Single requests to each operation, then sequences of them.
fn test(schemathesis: &Path, folder: &Path, url: &str, options: &Options) -> Result<()> {
    let run = |phases: &str, seed: u64| {
        let mut run = command::command(schemathesis);
        run.current_dir(folder).args(["--config-file", "schemathesis.toml"]);
        run.args(["run", &format!("{url}/api/v1/openapi.json"), "--no-color", "--checks", "all", "--phases", phases]);
        run.args(["--max-examples", &options.examples.to_string(), "--seed", &seed.to_string()]);
        command::run(&mut run)
    };
    // What is stored changes answers to the same requests, and the first sequence that ends otherwise when it is
    // repeated ends the phase of sequences: several short runs see more than a long one.
    let whole = run("examples,coverage,fuzzing,stateful", options.seed);
    let sequences = (1..=MORE_SEQUENCES).map(|more| run("stateful", options.seed.wrapping_add(more)));
    // All of them run, whatever the first one finds.
    std::iter::once(whole).chain(sequences).collect::<Vec<_>>().into_iter().collect()
}

/// A server that runs.
pub(crate) struct Served {
    pub(crate) server: Server,
    pub(crate) url: String,
    /// The token of somebody who may do everything.
    pub(crate) owner: String,
}

/// Starts the server with one task and two people, everything in `folder`.
pub(crate) fn serve(coordinator: &Path, folder: &Path) -> Result<Served> {
    let port = free_port()?;
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display())).map(|()| path)
    };
    let config = write("coordinator.toml", CONFIG)?;
    let data = folder.join("data");
    let tool = |arguments: &[&str]| {
        let mut tool = command::command(coordinator);
        tool.args(arguments).arg("--data").arg(&data);
        tool
    };
    let mut serve = bound(coordinator, None)?;
    serve.args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--log", "warn"]);
    serve.arg("--data").arg(&data).arg("--config").arg(config);
    let mut server = Server::spawn(COORDINATOR.into(), port, &mut serve, folder.join("server.log"), "")?;
    server.wait_until(|| command::succeeds(&mut tool(&["health"])))?;
    let task = ["task", "create", TASK, "--model", "text-bag", "--labels", "food,rent", "--privacy", "none"];
    command::output(&mut tool(&task))?;

    let token = |more: &[&str]| -> Result<String> {
        Ok(command::output(tool(&["token", "mint", "--kind", "person"]).args(more))?.trim().to_owned())
    };
    let person = |name: &str, token: String| {
        serde_json::json!({
            "name": name,
            "fixedHeaders": [{ "name": "Authorization", "value": format!("Bearer {token}") }],
        })
    };
    let owner = token(&["--user", "owner", "--role", "operator", "--mfa"])?;
    let people = [person("owner", owner.clone()), person("stranger", token(&["--user", "stranger"])?)];
    write("people.json", &serde_json::json!({ "auth": people }).to_string())?;
    write("schemathesis.toml", SETTINGS)?;
    Ok(Served { server, url: format!("http://127.0.0.1:{port}"), owner })
}

/// The coordinator's program that a step starts.
#[derive(Args, Clone, Copy)]
pub(crate) struct Program {
    /// As `cargo test --workspace` builds it, which is another one than it is on its own
    #[arg(skip)]
    as_tests_build_it: bool,
}

impl Program {
    /// What the steps of `test` and `ci` take: it is there already.
    pub(crate) const OF_TESTS: Self = Self { as_tests_build_it: true };

    /// Whether everything that the tests build is taken.
    pub(crate) fn is_of_tests(self) -> bool {
        self.as_tests_build_it
    }

    /// Builds it, and returns its path.
    pub(crate) fn build(self) -> Result<PathBuf> {
        let mut cargo = command::cargo();
        match self.as_tests_build_it {
            true => cargo.args(["test", "--workspace", "--locked", "--no-run", "--quiet"]),
            false => cargo.args(["build", "--package", SERVER, "--bin", COORDINATOR, "--locked", "--quiet"]),
        };
        command::run(&mut cargo)?;
        Ok(target_dir().join("debug").join(format!("{COORDINATOR}{}", std::env::consts::EXE_SUFFIX)))
    }
}
