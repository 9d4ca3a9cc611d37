//! The coordinator as a process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal};
use scale_proto::ids::Digest;
use scale_proto::wire;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// A coordinator on embedded defaults, with a data folder and a port of its own. Killed when dropped, and gone with this
/// process: the other end of its input is here.
pub struct CoordinatorProcess {
    binary: PathBuf,
    data: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    environment: Vec<(String, String)>,
}

impl CoordinatorProcess {
    /// Starts `binary` (`env!("CARGO_BIN_EXE_coordinator-under-test")`) and waits until it answers.
    ///
    /// # Errors
    /// It does not start within 20 s.
    pub async fn start(binary: &str) -> anyhow::Result<Self> {
        let mut this = Self::prepare(binary)?;
        this.restart().await?;
        Ok(this)
    }

    /// A coordinator that does not run yet, with an empty data folder: [`Self::restart_with`] starts it.
    ///
    /// # Errors
    /// No folder can be made.
    pub fn prepare(binary: &str) -> anyhow::Result<Self> {
        let environment = vec![("SCALE_LOG".to_owned(), "info".to_owned())];
        Ok(Self { binary: binary.into(), data: tempfile::tempdir()?, port: 0, child: None, environment })
    }

    /// Puts a variable into the environment of its next starts.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// What the process has written to stdout and stderr so far.
    pub fn output(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.data.path().join(name)).unwrap_or_default();
        read("stdout.log") + &read("stderr.log")
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills the process as the kernel would: no handler runs, nothing is flushed.
    ///
    /// # Errors
    /// There is no process.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let mut child = self.child.take().context("the coordinator does not run")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Asks the process to end, as an operator or an orchestrator does, and waits until it has.
    ///
    /// # Errors
    /// There is no process, it does not end within `limit`, or it ends with a failure.
    pub async fn terminate(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < limit {
            let child = self.child.as_mut().context("the coordinator does not run")?;
            if let Some(status) = child.try_wait()? {
                self.child = None;
                anyhow::ensure!(status.success(), "the coordinator ended with {status}: {}", self.output());
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("the coordinator did not end within {limit:?}: {}", self.output())
    }

    /// Whether the process runs (or stands still).
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Stops the process for a while, as `kill -STOP` does: connections stay, and nobody answers.
    ///
    /// # Errors
    /// There is no process.
    pub async fn stand_still(&self, time: Duration) -> anyhow::Result<()> {
        self.suspend()?;
        tokio::time::sleep(time).await;
        self.resume()
    }

    /// Stops the process as `kill -STOP` does, until [`Self::resume`].
    ///
    /// # Errors
    /// There is no process.
    pub fn suspend(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets the process go on.
    ///
    /// # Errors
    /// There is no process.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let child = self.child.as_ref().context("the coordinator does not run")?;
        Ok(rustix::process::kill_process(Pid::from_child(child), signal)?)
    }

    /// Starts the process again on the same folder and the same port.
    ///
    /// # Errors
    /// It does not start within 20 s.
    pub async fn restart(&mut self) -> anyhow::Result<()> {
        self.restart_with(&[]).await
    }

    /// The same with more arguments of `serve`.
    ///
    /// # Errors
    /// It does not start within 20 s.
    pub async fn restart_with(&mut self, arguments: &[&str]) -> anyhow::Result<()> {
        let description = self.data.path().join("coordinator.json");
        let _ = std::fs::remove_file(&description);
        let log = |name: &str| {
            std::fs::OpenOptions::new().create(true).append(true).open(self.data.path().join(name)).map(Stdio::from)
        };
        self.child = Some(
            Command::new(&self.binary)
                .arg("serve")
                .arg("--data")
                .arg(self.data.path())
                .args(["--listen", &format!("127.0.0.1:{}", self.port), "--until-stdin-ends"])
                .args(arguments)
                .envs(self.environment.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::piped())
                .stdout(log("stdout.log")?)
                .stderr(log("stderr.log")?)
                .spawn()
                .with_context(|| format!("cannot start {}", self.binary.display()))?,
        );
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.as_mut().context("just started")?.try_wait()? {
                bail!("the coordinator ended with {status}: {}", self.output());
            }
            if let Ok(text) = std::fs::read_to_string(&description) {
                let facts: serde_json::Value = serde_json::from_str(&text)?;
                let url = facts["url"].as_str().context("coordinator.json has no url")?;
                self.port = url.rsplit(':').next().context("no port")?.trim_end_matches('/').parse()?;
                if self.channel().await.is_ok() {
                    return Ok(());
                }
            }
            if started.elapsed() > Duration::from_secs(20) {
                bail!("the coordinator does not answer: {}", self.output());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts another value in the place of one of the coordinator's secrets, for its next start with `--new-identity`.
    ///
    /// # Errors
    /// It has no secret of this name.
    pub fn replace_secret(&self, name: &str) -> anyhow::Result<()> {
        let path = self.data().join("secrets.json");
        let mut secrets: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let old = secrets[name].as_str().with_context(|| format!("{} has no `{name}`", path.display()))?;
        secrets[name] = hex::encode(Digest::of(old.as_bytes()).0).into();
        Ok(std::fs::write(&path, secrets.to_string())?)
    }

    /// A connection.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn channel(&self) -> anyhow::Result<Channel> {
        Ok(Endpoint::from_shared(self.url())?.connect_timeout(Duration::from_secs(2)).connect().await?)
    }

    /// The operator's client.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn admin(&self) -> anyhow::Result<Admin> {
        Ok(Admin::over(self.channel().await?, &self.operator_token()?))
    }

    /// The operator's token.
    ///
    /// # Errors
    /// The coordinator has never run.
    pub fn operator_token(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.data.path().join("operator.token"))?.trim().to_owned())
    }
}

impl Drop for CoordinatorProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// An operator.
pub struct Admin {
    client: wire::admin_client::AdminClient<Channel>,
    token: String,
}

impl Admin {
    /// An operator with this connection and token.
    pub fn over(channel: Channel, token: &str) -> Self {
        Self { client: wire::admin_client::AdminClient::new(channel), token: token.to_owned() }
    }

    /// Wraps a message with the operator's token.
    pub fn request<T>(&self, message: T) -> Request<T> {
        with_token(message, &self.token)
    }

    /// The generated client.
    pub fn client(&mut self) -> &mut wire::admin_client::AdminClient<Channel> {
        &mut self.client
    }

    /// Creates a task.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn create_task(&mut self, task: &str, config: wire::TaskConfig) -> Result<wire::TaskInfo, tonic::Status> {
        let request =
            wire::CreateTaskRequest { task: task.to_owned(), config: Some(config), initial_model: bytes::Bytes::new() };
        Ok(self.client.create_task(with_token(request, &self.token)).await?.into_inner())
    }

    /// Mints an enrollment token.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn enroll_token(&mut self) -> Result<String, tonic::Status> {
        let request = wire::MintTokenRequest { kind: "enroll".to_owned(), ttl_s: 3600 };
        Ok(self.client.mint_token(with_token(request, &self.token)).await?.into_inner().token)
    }

    /// The newest round of a task.
    ///
    /// # Errors
    /// What the coordinator answers; not found without a round.
    pub async fn newest_round(&mut self, task: &str) -> Result<wire::RoundInfo, tonic::Status> {
        let request = wire::ListRoundsRequest { task: task.to_owned(), limit: 1 };
        let rounds = self.client.list_rounds(with_token(request, &self.token)).await?.into_inner().rounds;
        rounds.into_iter().next().ok_or_else(|| tonic::Status::not_found("no round yet"))
    }

    /// The rounds of a task, oldest first.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn rounds(&mut self, task: &str) -> Result<Vec<wire::RoundInfo>, tonic::Status> {
        let request = wire::ListRoundsRequest { task: task.to_owned(), limit: 1000 };
        let mut rounds = self.client.list_rounds(with_token(request, &self.token)).await?.into_inner().rounds;
        rounds.sort_by_key(|round| round.number);
        Ok(rounds)
    }

    /// Lets rounds of a task open, or no more: `active` or `paused`.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn set_state(&mut self, task: &str, state: &str) -> Result<(), tonic::Status> {
        let request = wire::SetTaskStateRequest { task: task.to_owned(), state: state.to_owned() };
        self.client.set_task_state(with_token(request, &self.token)).await.map(drop)
    }

    /// One round.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn round(&mut self, round_id: &[u8]) -> Result<wire::RoundInfo, tonic::Status> {
        let request = wire::GetRoundRequest { round_id: bytes::Bytes::copy_from_slice(round_id) };
        Ok(self.client.get_round(with_token(request, &self.token)).await?.into_inner())
    }

    /// Waits until the newest round of a task is as wanted.
    ///
    /// # Errors
    /// It is not within 20 s.
    pub async fn round_until(&mut self, task: &str, wanted: impl Fn(&wire::RoundInfo) -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            match self.newest_round(task).await {
                Ok(round) if wanted(&round) => return Ok(()),
                found if started.elapsed() > Duration::from_secs(20) => bail!("waited in vain: {found:?}"),
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// Waits until a round is finished or abandoned.
    ///
    /// # Errors
    /// It is still open after 60 s.
    pub async fn closed_round(&mut self, round_id: &[u8]) -> anyhow::Result<wire::RoundInfo> {
        for _ in 0..1200 {
            let round = self.round(round_id).await?;
            if round.phase == "finished" || round.phase == "abandoned" {
                return Ok(round);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the round is still open: {:?}", self.round(round_id).await?)
    }

    /// Every model of a task, as listed.
    ///
    /// # Errors
    /// What the coordinator answers.
    pub async fn models(&mut self, task: &str) -> Result<Vec<wire::ModelInfo>, tonic::Status> {
        let request = wire::ListModelsRequest { task: task.to_owned() };
        Ok(self.client.list_models(with_token(request, &self.token)).await?.into_inner().models)
    }
}

/// A request with a bearer token.
pub fn with_token<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    if let Ok(value) = format!("Bearer {token}").parse() {
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// Fetches a URL.
///
/// # Errors
/// Any answer but 200.
pub async fn http_get(url: &str) -> anyhow::Result<bytes::Bytes> {
    let answer = get(url).await?;
    anyhow::ensure!(answer.status() == 200, "{url} answered {}", answer.status());
    Ok(answer.bytes().await?)
}

/// Fetches a URL; status and body, whatever they are.
///
/// # Errors
/// Nobody answers.
pub async fn http_status(url: &str) -> anyhow::Result<(u16, String)> {
    let answer = get(url).await?;
    let status = answer.status().as_u16();
    Ok((status, String::from_utf8_lossy(&answer.bytes().await?).into_owned()))
}

/// What HTTP clients need before the first of them is made.
pub(crate) fn install_tls() {
    static TLS: std::sync::Once = std::sync::Once::new();
    // Fails only when a provider is there already.
    TLS.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

async fn get(url: &str) -> anyhow::Result<reqwest::Response> {
    install_tls();
    Ok(reqwest::get(url).await?)
}
