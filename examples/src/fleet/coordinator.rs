//! Runs the coordinator as a separate process, and makes an operator's calls to it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use scale_client_core::host::native::private_folder;
use scale_proto::task::TaskConfig;
use scale_proto::wire;
use scale_proto::wire::admin_client::AdminClient;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

/// Longest time that a coordinator may take to answer after its start.
const START: Duration = Duration::from_secs(20);

/// A running coordinator with its default configuration. It is stopped when this value is dropped. Its standard input
/// is connected to this process, so that it also stops when this process ends in any other way.
pub struct CoordinatorProcess {
    child: Child,
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    /// Ed25519 public key that signs round configurations; devices pin it.
    pub task_key: [u8; 32],
    operator_token: String,
    log: PathBuf,
}

impl CoordinatorProcess {
    /// Starts `binary` on a free port with its data in `data`; what it prints goes to `data/coordinator.log`.
    ///
    /// # Errors
    /// It cannot be started, ends at once, or does not answer in 20 s; the message shows what it printed.
    pub async fn start(binary: &Path, data: &Path) -> anyhow::Result<Self> {
        private_folder(data).with_context(|| format!("cannot create {}", data.display()))?;
        let (description, log) = (data.join("coordinator.json"), data.join("coordinator.log"));
        let _ = std::fs::remove_file(&description);
        let file = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = Command::new(binary)
            .arg("serve")
            .arg("--data")
            .arg(data)
            .args(["--listen", "127.0.0.1:0", "--until-stdin-ends"])
            .stdin(Stdio::piped())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let started = Instant::now();
        loop {
            let ended = child.try_wait()?;
            if ended.is_some() || started.elapsed() > START {
                let _ = child.kill();
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!(
                    "the coordinator {}:\n{said}",
                    ended.map_or("does not answer".into(), |s| format!("ended ({s})"))
                );
            }
            if let Some((url, task_key)) = read_description(&description)
                && Endpoint::from_shared(url.clone())?.connect().await.is_ok()
            {
                let token =
                    std::fs::read_to_string(data.join("operator.token")).context("cannot read operator.token")?;
                return Ok(Self { child, url, task_key, operator_token: token.trim().to_owned(), log });
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Path of the file with its output.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// An operator's connection.
    ///
    /// # Errors
    /// The coordinator cannot be reached.
    pub async fn operator(&self) -> anyhow::Result<Operator> {
        let channel = Endpoint::from_shared(self.url.clone())?.connect().await.context("the coordinator is gone")?;
        Ok(Operator { client: AdminClient::new(channel), token: self.operator_token.clone() })
    }
}

impl Drop for CoordinatorProcess {
    fn drop(&mut self) {
        // Nothing is lost by killing it: everything that was acknowledged is on disk.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_description(path: &Path) -> Option<(String, [u8; 32])> {
    let facts: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let mut task_key = [0; 32];
    hex::decode_to_slice(facts["task_key"].as_str()?, &mut task_key).ok()?;
    Some((facts["url"].as_str()?.trim_end_matches('/').to_owned(), task_key))
}

/// The calls of an operator that the demo needs.
#[derive(Clone)]
pub struct Operator {
    client: AdminClient<Channel>,
    token: String,
}

impl Operator {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(value) = format!("Bearer {}", self.token).parse() {
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    /// Creates a task.
    ///
    /// # Errors
    /// The coordinator refuses the call, or cannot be reached.
    pub async fn create_task(&mut self, task: &str, config: &TaskConfig) -> anyhow::Result<()> {
        let message = wire::CreateTaskRequest {
            task: task.to_owned(),
            config: Some(config.into()),
            initial_model: bytes::Bytes::new(),
        };
        let request = self.request(message);
        self.client.create_task(request).await.context("the coordinator refused the task")?;
        Ok(())
    }

    /// A token that enrolls devices for this long.
    ///
    /// # Errors
    /// The coordinator refuses the call, or cannot be reached.
    pub async fn enroll_token(&mut self, valid: Duration) -> anyhow::Result<String> {
        let request = self.request(wire::MintTokenRequest { kind: "enroll".to_owned(), ttl_s: valid.as_secs() });
        Ok(self.client.mint_token(request).await?.into_inner().token)
    }

    /// Every round of a task, oldest first.
    ///
    /// # Errors
    /// The coordinator refuses the call, or cannot be reached.
    pub async fn rounds(&mut self, task: &str) -> anyhow::Result<Vec<wire::RoundInfo>> {
        let request = self.request(wire::ListRoundsRequest { task: task.to_owned(), limit: 1000 });
        let mut rounds = self.client.list_rounds(request).await?.into_inner().rounds;
        rounds.sort_by_key(|round| round.number);
        Ok(rounds)
    }

    /// One model version.
    ///
    /// # Errors
    /// The coordinator refuses the call, or cannot be reached.
    pub async fn model(&mut self, task: &str, version: u64) -> anyhow::Result<wire::ModelInfo> {
        let request = self.request(wire::GetModelInfoRequest { task: task.to_owned(), version });
        Ok(self.client.get_model(request).await?.into_inner())
    }
}
