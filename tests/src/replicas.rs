//! Several coordinators of one house: the same rows, the same blobs, the same secrets, each with a data folder of its own,
//! behind one address.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use tonic::transport::Endpoint;

use crate::balancer::Balancer;
use crate::process::{Admin, CoordinatorProcess};

/// How long a replica may take to end in good order: calls that wait are answered, connections drain.
const END: Duration = Duration::from_secs(30);

/// What replicas share.
#[derive(Clone, Debug, Default)]
pub struct Shared {
    /// Address of the database; `None`: SQLite in the data folder, which one coordinator alone can have.
    pub database: Option<String>,
    /// Where blobs are.
    pub blobs: Objects,
    /// How long a call waits for its stage.
    pub long_poll: Option<Duration>,
    /// More lines of the configuration, whole sections.
    pub more: String,
}

/// An object store that replicas share.
#[derive(Clone, Debug, Default)]
pub enum Objects {
    /// A folder of each: for one coordinator alone.
    #[default]
    Own,
    /// One folder of this machine under all data folders, for as long as this value lives.
    Folder(std::sync::Arc<tempfile::TempDir>),
    /// A server that speaks S3, over plain HTTP.
    S3 {
        /// Its address.
        endpoint: String,
        /// `s3://BUCKET/PREFIX`.
        url: String,
        /// Key id and secret, as the environment gives them to a replica.
        keys: (String, String),
    },
}

impl Objects {
    /// A new shared folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn folder() -> std::io::Result<Self> {
        Ok(Self::Folder(std::sync::Arc::new(tempfile::tempdir()?)))
    }
}

/// Brings the schema up to date, as an operator does before the first replica starts.
fn migrate(binary: &str, config: &Path, data: &Path) -> anyhow::Result<()> {
    let output = std::process::Command::new(binary)
        .args(["migrate", "--config"])
        .arg(config)
        .arg("--data")
        .arg(data)
        .output()
        .context("migrate")?;
    ensure!(output.status.success(), "migrate: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Replicas behind a balancer. They end when this is dropped.
pub struct Replicas {
    all: Vec<CoordinatorProcess>,
    balancer: Balancer,
    arguments: Vec<Vec<String>>,
    /// A folder among it goes with its last owner.
    _shared: Shared,
}

impl Replicas {
    /// Starts `count` coordinators. The first makes the secrets, the others get copies.
    ///
    /// # Errors
    /// One does not start within 20 s.
    pub async fn start(binary: &str, count: usize, shared: &Shared) -> anyhow::Result<Self> {
        ensure!(count == 1 || shared.database.is_some(), "several coordinators need one database");
        let balancer = Balancer::start([]).await?;
        let mut this = Self { all: vec![], balancer, arguments: vec![], _shared: shared.clone() };
        for number in 0..count {
            let mut replica = CoordinatorProcess::prepare(binary)?;
            if let Some(first) = this.all.first() {
                for name in ["secrets.json", "operator.token"] {
                    // With their rights: a secret stays private.
                    std::fs::copy(first.data().join(name), replica.data().join(name)).context(name)?;
                }
            }
            match &shared.blobs {
                Objects::Own => {}
                Objects::Folder(folder) => std::os::unix::fs::symlink(folder.path(), replica.data().join("blobs"))?,
                Objects::S3 { keys: (id, secret), .. } => {
                    replica.set("AWS_ACCESS_KEY_ID", id);
                    replica.set("AWS_SECRET_ACCESS_KEY", secret);
                }
            }
            let config = replica.data().join("replica.toml");
            std::fs::write(&config, configuration(shared))?;
            if number == 0 && shared.database.is_some() {
                migrate(binary, &config, replica.data())?;
            }
            this.arguments.push(this.flags(&config));
            this.all.push(replica);
            this.restart(number).await?;
        }
        Ok(this)
    }

    fn flags(&self, config: &Path) -> Vec<String> {
        let config = config.display().to_string();
        ["--config", &config, "--public-url", &self.balancer.url()].map(str::to_owned).to_vec()
    }

    /// How many there are, running or not.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The address of all of them.
    pub fn url(&self) -> String {
        self.balancer.url()
    }

    /// What stands before them.
    pub fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    /// One of them.
    pub fn replica(&self, number: usize) -> &CoordinatorProcess {
        &self.all[number]
    }

    /// Whether a replica runs.
    pub fn runs(&mut self, number: usize) -> bool {
        self.all[number].runs()
    }

    /// Where a replica listens itself.
    ///
    /// # Errors
    /// It has never run.
    pub fn address(&self, number: usize) -> anyhow::Result<SocketAddr> {
        let url = self.all[number].url();
        url.strip_prefix("http://").and_then(|place| place.parse().ok()).context("no address")
    }

    /// An operator who goes through the balancer.
    ///
    /// # Errors
    /// No replica has ever run.
    pub fn admin(&self) -> anyhow::Result<Admin> {
        let patience = Duration::from_secs(2);
        let endpoint = Endpoint::from_shared(self.url())?.http2_keep_alive_interval(patience);
        let channel = endpoint.keep_alive_timeout(patience).timeout(5 * patience).connect_lazy();
        Ok(Admin::over(channel, &self.all[0].operator_token()?))
    }

    /// Kills a replica as the kernel would. The balancer finds out by itself.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        self.all[number].kill()
    }

    /// Starts a replica again and gives it connections.
    ///
    /// # Errors
    /// It does not start within 20 s.
    pub async fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        let arguments: Vec<&str> = self.arguments[number].iter().map(String::as_str).collect();
        self.all[number].restart_with(&arguments).await?;
        self.balancer.add(self.address(number)?);
        Ok(())
    }

    /// Replaces a running replica as an orchestrator does: no new connections, SIGTERM, then the new one.
    ///
    /// # Errors
    /// It does not end in good order, or does not start again.
    pub async fn roll(&mut self, number: usize) -> anyhow::Result<()> {
        self.balancer.remove(self.address(number)?);
        self.all[number].terminate(END).await?;
        self.restart(number).await
    }

    /// Stops a replica without ending it, as a machine does that stands still, and cuts it off as a health check does.
    /// What it was doing it does later.
    ///
    /// # Errors
    /// It does not run.
    pub fn isolate(&self, number: usize) -> anyhow::Result<()> {
        self.all[number].suspend()?;
        self.balancer.remove(self.address(number)?);
        self.balancer.cut(self.address(number)?);
        Ok(())
    }

    /// Lets an isolated replica go on and gives it connections.
    ///
    /// # Errors
    /// It does not run.
    pub fn rejoin(&self, number: usize) -> anyhow::Result<()> {
        self.all[number].resume()?;
        self.balancer.add(self.address(number)?);
        Ok(())
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        // One that stands still cannot end.
        self.all.iter().for_each(|replica| drop(replica.resume()));
    }
}

fn configuration(shared: &Shared) -> String {
    let mut text = String::from("[server]\ndrain_s = 5\n[rest]\nenabled = false\n");
    if let Some(long_poll) = shared.long_poll {
        let _ = writeln!(text, "[rounds]\nlong_poll_ms = {}", long_poll.as_millis());
    }
    if let Some(url) = &shared.database {
        let _ = writeln!(text, "[database]\nurl = {url:?}\nmax_connections = 12");
    }
    if let Objects::S3 { endpoint, url, .. } = &shared.blobs {
        let _ = writeln!(
            text,
            "[blobs]\nurl = {url:?}\nendpoint = {endpoint:?}\nregion = \"us-east-1\"\nallow_http = true"
        );
    }
    text + &shared.more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_share_a_database_are_told_where() {
        let shared = Shared {
            database: Some("postgres://u:p@h/n".to_owned()),
            long_poll: Some(Duration::from_secs(2)),
            more: "[log]\njson = false\n".to_owned(),
            ..Shared::default()
        };
        let text = configuration(&shared);
        for part in ["[database]\nurl = \"postgres://u:p@h/n\"", "long_poll_ms = 2000", "[log]\njson = false"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("[blobs]"), "a shared folder lies where each replica looks");
    }
}
