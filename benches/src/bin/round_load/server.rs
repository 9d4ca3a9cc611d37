//! The server's processes: one coordinator of this program's own, as a child, or others whose ids were given.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use scale_benches::{clock, coordinator, memory};

use crate::settings::Arguments;

const START: Duration = Duration::from_secs(30);

/// Who serves. A child is killed when this is dropped, and gone with this process: the other end of its input is here.
pub(crate) struct Server {
    /// `http://HOST:PORT`.
    pub(crate) url: String,
    /// An operator's.
    pub(crate) token: String,
    pids: Vec<u32>,
    child: Option<(Child, tempfile::TempDir)>,
}

impl Server {
    /// Finds the server, or starts one and waits until it listens.
    pub(crate) async fn find(arguments: &Arguments) -> anyhow::Result<Self> {
        let Some(url) = &arguments.url else { return Self::start(arguments).await };
        let token = arguments.data.as_ref().context("--data is missing")?.join("operator.token");
        let token = std::fs::read_to_string(&token).with_context(|| format!("cannot read {}", token.display()))?;
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
            pids: arguments.pids.clone(),
            child: None,
        })
    }

    async fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("round_load.toml");
        let connections = arguments.connections + 256;
        std::fs::write(
            &config,
            format!(
                "[server]\nlisten = \"127.0.0.1:0\"\nmax_connections = {connections}\n[rest]\nenabled = false\n\
                 [rounds]\nlong_poll_ms = {}\n",
                arguments.long_poll_ms
            ),
        )?;
        let log: PathBuf = folder.path().join("coordinator.log");
        let output = std::fs::File::create(&log)?;
        let mut child = coordinator::command()
            .context("the path of this program is not known")?
            .args(["serve", "--until-stdin-ends", "--config"])
            .arg(&config)
            .arg("--data")
            .arg(folder.path().join("data"))
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("the coordinator cannot be started")?;
        let data = folder.path().join("data");
        let started = Instant::now();
        loop {
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = child.try_wait()? {
                bail!("the coordinator ended with {status}: {}", said());
            }
            if let Ok(text) = std::fs::read(data.join("coordinator.json")) {
                let status: serde_json::Value = serde_json::from_slice(&text)?;
                let url = status["url"].as_str().context("the coordinator does not say where it is")?.to_owned();
                let token = std::fs::read_to_string(data.join("operator.token"))?.trim().to_owned();
                let pids = vec![child.id()];
                return Ok(Self { url, token, pids, child: Some((child, folder)) });
            }
            if started.elapsed() > START {
                let _ = child.kill();
                bail!("the coordinator does not start: {}", said());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// CPU time of all its processes so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.pids.iter().filter_map(|&pid| clock::process_of(pid)).sum()
    }

    /// Most bytes in memory of the largest process since [`Server::forget_peak`].
    pub(crate) fn peak(&self) -> u64 {
        self.pids.iter().filter_map(|&pid| memory::peak_of(pid)).max().unwrap_or_default()
    }

    /// Lets the peaks begin again.
    pub(crate) fn forget_peak(&self) -> anyhow::Result<()> {
        for &pid in &self.pids {
            memory::forget_peak_of(pid).context("the peak of the server's memory cannot be reset")?;
        }
        Ok(())
    }

    /// Whether its own process, if it has one, still runs.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if let Some((child, folder)) = &mut self.child {
            let log = folder.path().join("coordinator.log");
            let ended = child.try_wait()?;
            ensure!(ended.is_none(), "the coordinator ended: {}", std::fs::read_to_string(log).unwrap_or_default());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.child {
            // It may have ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
