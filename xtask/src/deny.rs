//! Licences, bans and sources of every dependency, by the rules in `deny.toml`; known vulnerabilities when the
//! database can be reached.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::command;
use crate::report::Report;
use crate::tools::CrateTool;
use crate::workspace;

const CARGO_DENY: CrateTool<'_> = CrateTool {
    package: "cargo-deny",
    version: "0.20.2",
    binary: "cargo-deny",
    arguments: &[],
    purpose: "checks licenses, bans and sources of all dependencies",
};

pub(crate) fn steps(report: &mut Report) {
    let mut tool = None;
    report.step("licenses, bans, sources", || {
        ensure!(workspace::root().join("deny.toml").is_file(), "deny.toml is missing at the repository's root");
        let deny = tool.insert(CARGO_DENY.ensure()?);
        command::run(command::command(deny).args(["--locked", "check", "licenses", "bans", "sources"]))
    });
    let Some(deny) = tool else { return };
    match fetch_advisories(&deny) {
        Ok(()) => report.step("advisories", || {
            command::run(command::command(&deny).args(["--locked", "check", "--disable-fetch", "advisories"]))
        }),
        Err(error) => report.not_run("advisories", &format!("the database is out of reach ({error:#})")),
    }
}

fn fetch_advisories(deny: &PathBuf) -> Result<()> {
    command::run_within(Duration::from_secs(60), command::command(deny).args(["fetch", "db"]))
}
