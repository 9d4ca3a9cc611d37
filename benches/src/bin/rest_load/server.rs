//! The real coordinator, as a child of this process: its memory and its time are its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use scale_benches::{clock, memory};

use crate::place::Place;
use crate::settings::Arguments;

/// How long a coordinator may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A coordinator that serves. Killed when dropped, and gone with this process: the other end of its input is here.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts it, and waits until it listens.
    pub(crate) async fn start(arguments: &Arguments, place: &Place) -> anyhow::Result<Self> {
        let folder = place.folder();
        let config = folder.join("rest_load.toml");
        std::fs::write(&config, configuration(arguments, place)?)?;
        let log = folder.join("coordinator.log");
        if place.database_url()?.is_some() {
            // What an operator does before the first start.
            let status = coordinator("migrate", &config, folder, &log)?.spawn()?.wait()?;
            ensure!(status.success(), "`migrate` ended with {status}: {}", last_lines(&log));
        }
        let status_file = folder.join("coordinator.json");
        // Of a run that was killed.
        let _ = std::fs::remove_file(&status_file);
        let child =
            coordinator("serve", &config, folder, &log)?.arg("--until-stdin-ends").stdin(Stdio::piped()).spawn();
        let child = child.context("the coordinator cannot be started")?;
        let mut server = Self { child, log, address: ([127, 0, 0, 1], 0).into() };
        let started = Instant::now();
        loop {
            if let Some(status) = server.child.try_wait()? {
                bail!("the coordinator ended with {status}: {}", last_lines(&server.log));
            }
            if let Ok(text) = std::fs::read(&status_file) {
                let status: serde_json::Value = serde_json::from_slice(&text)?;
                let address = status["url"].as_str().and_then(|url| url.strip_prefix("http://"));
                server.address = address.context("the coordinator does not say where it is")?.parse()?;
                return Ok(server);
            }
            ensure!(started.elapsed() < PATIENCE, "the coordinator does not start: {}", last_lines(&server.log));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// CPU time so far.
    pub(crate) fn cpu(&self) -> Duration {
        clock::process_of(self.child.id()).unwrap_or_default()
    }

    /// Bytes in memory.
    pub(crate) fn resident(&self) -> u64 {
        memory::resident_of(self.child.id()).unwrap_or_default()
    }

    /// Most bytes in memory since [`Server::forget_peak`].
    pub(crate) fn peak(&self) -> u64 {
        memory::peak_of(self.child.id()).unwrap_or_default()
    }

    /// Lets the peak begin again.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        memory::forget_peak_of(self.child.id()).context("the peak of the server's memory cannot be reset")
    }

    /// Ends it as an operator would.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(pid, Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the coordinator ended with {status}: {}", last_lines(&self.log));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the coordinator does not end: {}", last_lines(&self.log))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn coordinator(command: &str, config: &Path, folder: &Path, log: &Path) -> anyhow::Result<Command> {
    let log = std::fs::File::options().create(true).append(true).open(log)?;
    let mut child = scale_benches::coordinator::command().context("the path of this program is not known")?;
    child.arg(command).arg("--config").arg(config).arg("--data").arg(folder);
    child.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(child)
}

/// Defaults, without limits on how often one may call, and with room for all connections.
fn configuration(arguments: &Arguments, place: &Place) -> anyhow::Result<String> {
    let url = place.database_url()?.map(|url| format!("database_url = {url:?}\n")).unwrap_or_default();
    let streams = arguments.streams.max(12_000);
    let connections = streams + arguments.connections + 256;
    Ok(format!(
        "[server]\nlisten = \"127.0.0.1:0\"\nmax_connections = {connections}\n\
         [rest]\nmax_streams = {streams}\n{url}\
         [rest.limit]\nip_per_minute = 0\nuser_per_minute = 0\nimport_per_minute = 0\n"
    ))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
