//! The web demo: neighbors, whose coordinator waits for one device more, and the site of `examples/web` to be that device.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{Variant, build};
use crate::command;
use crate::report::clock;
use crate::services::{Server, bound, free_port, tail};
use crate::stamp::{Stamp, files};
use crate::wasm;
use crate::workspace::{root, target_dir};

/// The site, from the repository's root.
const SITE: &str = "examples/web";
const NEXT: &str = "node_modules/next/dist/bin/next";
const NPM_LIMIT: Duration = Duration::from_secs(300);
const BUILD_LIMIT: Duration = Duration::from_secs(600);
/// The port of the site if nothing else is asked for and nobody has it.
const PORT: u16 = 3000;

/// Builds everything and runs the demo until it is ended. `more`: further flags of `fleet neighbors`.
///
/// # Errors
/// If something does not build or start, or ends.
pub(crate) fn run(fleet: impl FnOnce() -> Result<PathBuf>, port: Option<u16>, more: &[String]) -> Result<()> {
    let fleet = fleet()?;
    build(&wasm::prepare(wasm::Choice::default())?, false)?;
    build_site()?;
    let folder = target_dir().join("web-demo");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    println!("\nTwelve devices train the first rounds");
    let neighbors = Neighbors::start(&fleet, &folder.join("fleet"), more, None)?;
    let mut demo = Demo::start(neighbors, port, &folder)?;
    println!("\n  Open {}\n  Ctrl-C ends everything\n", demo.url);
    loop {
        demo.check()?;
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What the fleet tells: where its coordinator is, and how to take part.
#[derive(Deserialize)]
struct Facts {
    url: String,
    task: String,
    task_key: String,
    enroll_token: String,
}

/// A fleet that takes part in rounds beside the browser's device. It ends with its input, and so with this process.
pub(super) struct Neighbors {
    child: Child,
    _input: Option<ChildStdin>,
    facts: Facts,
    log: Option<PathBuf>,
}

impl Neighbors {
    /// Starts them, with their data in `data`, and waits for the first rounds. `log`: the folder of the file for what they
    /// say, else it is on the terminal.
    pub(super) fn start(fleet: &Path, data: &Path, more: &[String], log: Option<&Path>) -> Result<Self> {
        let mut command = command::command(fleet);
        command.args(["neighbors", "--until-stdin-ends", "--keep"]).arg(data).args(more);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let log = log.map(|folder| folder.join("neighbors.log"));
        if let Some(log) = &log {
            command.stderr(File::create(log).with_context(|| format!("cannot write {}", log.display()))?);
        }
        println!("  $ {}", command::shown(&command));
        let mut child = command.spawn().with_context(|| format!("cannot start {}", fleet.display()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut line = String::new();
        // Their only line; none comes if they end before.
        BufReader::new(output.context("the fleet has no output")?).read_line(&mut line)?;
        let Ok(facts) = serde_json::from_str(&line) else {
            drop(input);
            bail!("the neighbors ended before they were ready ({}){}", child.wait()?, last_words(log.as_deref()));
        };
        Ok(Self { child, _input: input, facts, log })
    }

    fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the neighbors ended ({status}){}", last_words(self.log.as_deref())),
            None => Ok(()),
        }
    }
}

impl Drop for Neighbors {
    fn drop(&mut self) {
        self._input = None;
        // Their coordinator ends in good order within a moment of its input's end.
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(5) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn last_words(log: Option<&Path>) -> String {
    log.map(|log| format!("; their last words:\n{}", tail(log))).unwrap_or_default()
}

/// The demo while it runs. It stops when this is dropped.
pub(super) struct Demo {
    /// The page to open.
    pub(super) url: String,
    site: Server,
    neighbors: Neighbors,
    log: PathBuf,
}

impl Demo {
    /// Starts the site on `port`, or else on 3000 or any free one, with its log in `folder`.
    pub(super) fn start(neighbors: Neighbors, port: Option<u16>, folder: &Path) -> Result<Self> {
        let port = choose_port(port)?;
        let log = folder.join("site.log");
        let mut next = bound(Path::new("node"), None)?;
        next.current_dir(root().join(SITE)).args([NEXT, "start", "--hostname", "127.0.0.1"]);
        next.args(["--port", &port.to_string()]).env("NEXT_TELEMETRY_DISABLED", "1");
        let Facts { url, task, task_key, enroll_token } = &neighbors.facts;
        next.env("SCALE_COORDINATOR", url).env("SCALE_TASK", task);
        next.env("SCALE_TASK_KEY", task_key).env("SCALE_ENROLL_TOKEN", enroll_token);
        let mut site = Server::spawn("the site".to_owned(), port, &mut next, log.clone(), "")?;
        site.wait_until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())?;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), site, neighbors, log })
    }

    /// # Errors
    /// If one of its programs has ended.
    fn check(&mut self) -> Result<()> {
        self.neighbors.check()?;
        self.site.check()
    }

    /// What its programs said last.
    pub(super) fn last_words(&self) -> String {
        let neighbors = self.neighbors.log.as_deref().map(tail).unwrap_or_default();
        format!("the site's last words:\n{}\nthe neighbors':\n{neighbors}", tail(&self.log))
    }
}

fn choose_port(wanted: Option<u16>) -> Result<u16> {
    let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    match wanted {
        Some(port) if !free(port) => bail!("port {port} is taken; choose another --port"),
        Some(port) => Ok(port),
        None if free(PORT) => Ok(PORT),
        None => free_port(),
    }
}

/// Installs the site's packages, gives it the package of this repository, and builds it; what is up to date stays.
///
/// # Errors
/// If npm or Next.js fails.
pub(super) fn build_site() -> Result<()> {
    let site = root().join(SITE);
    let lock = Stamp::of(site.join("node_modules/.complete"), &[], &[site.join("package-lock.json")])?;
    if !lock.is_fresh(&[site.join(NEXT)]) {
        println!("  installing packages of {SITE}");
        let mut npm = command::command("npm");
        npm.current_dir(&site).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
        command::run_within(NPM_LIMIT, &mut npm)?;
        lock.write()?;
    }
    let mut inputs = files(&site, &["node_modules", ".next", "tests"])?;
    // Next.js writes it.
    inputs.retain(|path| !path.ends_with("next-env.d.ts"));
    inputs.extend(files(&Variant::Published.dist(), &[])?);
    let built = Stamp::of(site.join(".next/complete"), &[], &inputs)?;
    if built.is_fresh(&[site.join(".next/BUILD_ID")]) {
        return Ok(());
    }
    let started = Instant::now();
    let mut npm = command::command("npm");
    npm.current_dir(&site).args(["run", "build"]).env("NEXT_TELEMETRY_DISABLED", "1");
    command::run_within(BUILD_LIMIT, &mut npm).with_context(|| format!("{SITE} does not build"))?;
    println!("  built {SITE} in {}", clock(started.elapsed()));
    built.write()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_refused_only_if_it_was_asked_for() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = choose_port(Some(port)).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"), "{error}");
        drop(taken);
        assert_eq!(choose_port(Some(port)).unwrap(), port);
        assert_ne!(choose_port(None).unwrap(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn neighbors_that_end_at_once_are_told_with_their_last_words() {
        let folder = crate::services::Folder::new(None).unwrap();
        let program = folder.path.join("fleet");
        fs::write(&program, "#!/bin/sh\necho no room for data >&2\nexit 3\n").unwrap();
        command::run(command::command("chmod").arg("+x").arg(&program)).unwrap();
        let error = Neighbors::start(&program, &folder.path, &[], Some(&folder.path)).err().unwrap().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no room for data"), "{error}");
    }
}
