//! What a test in a browser has around it: a coordinator that can be stopped, and native devices whose inputs are known.
//!
//! The test speaks to it in JSON, one [`Order`] a line (`world-under-test`). Native devices take part in rounds beside the
//! browser's ([`natives`]), and afterwards [`sums`] says what a round has published beyond their inputs: the browser's own
//! update, and nothing else.

mod crowd;
mod natives;
mod order;
mod sums;
mod task;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use scale_proto::wire;
use serde_json::{Value, json};

use crate::device::RawDevice;
use crate::process::{Admin, CoordinatorProcess};
use crowd::Crowd;
use natives::Natives;
pub use order::Order;
use task::Task;

/// Life of a token that has run out by the time it is told.
const SHORT_LIFE: Duration = Duration::from_secs(1);

/// The coordinator and the devices of one test.
pub struct World {
    binary: PathBuf,
    coordinator: Option<CoordinatorProcess>,
    /// Arguments of `serve` that every start of this coordinator needs.
    arguments: Vec<String>,
    tasks: BTreeMap<String, Task>,
    natives: BTreeMap<String, Natives>,
    crowds: Vec<Crowd>,
    /// Numbers of devices that were enrolled: an identity follows from its number.
    enrolled: u8,
}

impl World {
    /// `binary`: the program `coordinator-under-test`.
    pub fn new(binary: PathBuf) -> Self {
        let (coordinator, arguments, enrolled) = (None, vec![], 0);
        let (tasks, natives, crowds) = (BTreeMap::new(), BTreeMap::new(), vec![]);
        Self { binary, coordinator, arguments, tasks, natives, crowds, enrolled }
    }

    /// Carries out an order; what it answers is a JSON object.
    ///
    /// # Errors
    /// What went wrong, for the person who reads the test's output.
    pub async fn obey(&mut self, order: Order) -> anyhow::Result<Value> {
        match order {
            Order::Start { public_url } => self.start(public_url).await,
            Order::Task(task) => self.create_task(task).await,
            Order::Token => Ok(json!({ "token": self.admin().await?.enroll_token().await? })),
            Order::ExpiredToken => self.expired_token().await,
            Order::Stranger => self.stranger().await,
            Order::Natives { task, count } => self.enroll_natives(task, count).await,
            Order::Play { task, rounds } => {
                self.natives.get_mut(&task).context("no natives of this task")?.play(rounds)?;
                Ok(json!({}))
            }
            Order::Crowd { task, count } => self.gather(task, count).await,
            Order::Disperse => {
                self.crowds.clear();
                Ok(json!({}))
            }
            Order::Rounds { task } => self.rounds(&task).await,
            Order::Sum { task, number, browsers } => self.sum(&task, number, &browsers).await,
            Order::Suspend => self.running()?.suspend().map(|()| json!({})),
            Order::Resume => self.running()?.resume().map(|()| json!({})),
            Order::Kill => self.coordinator.as_mut().context("start it first")?.kill().map(|()| json!({})),
            Order::Restart => self.restart().await,
            Order::Tamper => self.tamper(),
        }
    }

    async fn start(&mut self, public_url: Option<String>) -> anyhow::Result<Value> {
        let binary = self.binary.to_str().context("the program's path is not Unicode")?;
        let mut coordinator = CoordinatorProcess::start(binary).await?;
        if let Some(url) = public_url {
            // The address by which devices fetch models: known to the test, which stands in between.
            self.arguments = vec!["--public-url".to_owned(), url];
            coordinator.kill()?;
            coordinator.restart_with(&self.arguments.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        let url = coordinator.url();
        self.coordinator = Some(coordinator);
        let token = self.admin().await?.enroll_token().await?;
        let device = RawDevice::enroll(url.clone(), self.next_number()?, &token).await?;
        Ok(json!({ "url": url, "task_key": hex::encode(device.task_key()) }))
    }

    async fn restart(&mut self) -> anyhow::Result<Value> {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        self.coordinator.as_mut().context("start it first")?.restart_with(&arguments).await?;
        Ok(json!({}))
    }

    async fn create_task(&mut self, task: Task) -> anyhow::Result<Value> {
        let name = task.name.clone();
        self.admin().await?.create_task(&name, task.config()).await?;
        let answer = task.told();
        self.tasks.insert(name, task);
        Ok(answer)
    }

    async fn expired_token(&self) -> anyhow::Result<Value> {
        let mut admin = self.admin().await?;
        let request = wire::MintTokenRequest { kind: "enroll".to_owned(), ttl_s: SHORT_LIFE.as_secs() };
        let request = admin.request(request);
        let token = admin.client().mint_token(request).await?.into_inner().token;
        tokio::time::sleep(SHORT_LIFE + Duration::from_millis(100)).await;
        Ok(json!({ "token": token }))
    }

    /// A good token and the task key of another coordinator.
    async fn stranger(&mut self) -> anyhow::Result<Value> {
        let binary = self.binary.to_str().context("the program's path is not Unicode")?;
        let other = CoordinatorProcess::start(binary).await?;
        let mut admin = other.admin().await?;
        let token = admin.enroll_token().await?;
        let device = RawDevice::enroll(other.url(), self.next_number()?, &token).await?;
        let task_key = hex::encode(device.task_key());
        Ok(json!({ "token": admin.enroll_token().await?, "task_key": task_key }))
    }

    async fn enroll_natives(&mut self, task: String, count: u8) -> anyhow::Result<Value> {
        let (url, token) = (self.running()?.url(), self.admin().await?.enroll_token().await?);
        let numbers = (0..count).map(|_| self.next_number()).collect::<anyhow::Result<Vec<u8>>>()?;
        self.natives.insert(task, Natives::enroll(&url, &token, &numbers).await?);
        Ok(json!({}))
    }

    async fn gather(&mut self, task: String, count: u8) -> anyhow::Result<Value> {
        let (url, token) = (self.running()?.url(), self.admin().await?.enroll_token().await?);
        let labels = self.tasks.get(&task).context("no such task")?.labels.clone();
        let numbers = (0..count).map(|_| self.next_number()).collect::<anyhow::Result<Vec<u8>>>()?;
        self.crowds.push(Crowd::gather(&url, &token, &task.parse()?, &labels, &numbers).await?);
        Ok(json!({}))
    }

    async fn rounds(&self, task: &str) -> anyhow::Result<Value> {
        let rounds = self.all_rounds(task).await?;
        let natives = self.natives.get(task).map(Natives::troubles).unwrap_or_default();
        let told = rounds.iter().map(|round| {
            json!({
                "number": round.number, "phase": round.phase, "survivors": round.survivors,
                "reason": format!("{} {}", round.reason_code, round.reason), "examples": round.examples,
                "base": round.base_version, "version": round.new_version,
            })
        });
        Ok(json!({ "rounds": told.collect::<Vec<_>>(), "troubles": natives }))
    }

    async fn all_rounds(&self, task: &str) -> anyhow::Result<Vec<wire::RoundInfo>> {
        let mut admin = self.admin().await?;
        let request = admin.request(wire::ListRoundsRequest { task: task.to_owned(), limit: 200 });
        Ok(admin.client().list_rounds(request).await?.into_inner().rounds)
    }

    async fn sum(&self, name: &str, number: u64, browsers: &[u32]) -> anyhow::Result<Value> {
        let rounds = self.all_rounds(name).await?;
        let round = rounds.iter().find(|round| round.number == number).context("no round of this number")?;
        if round.phase != "finished" {
            bail!("round {number} is {}: {} {}", round.phase, round.reason_code, round.reason);
        }
        let task = self.tasks.get(name).context("no such task")?;
        let natives = self.natives.get(name).context("no natives of this task")?;
        let played = natives.played(number)?;
        let models = self.admin().await?.models(name).await?;
        let beyond = sums::beyond_natives(task, round, &played, &models, browsers).await?;
        Ok(json!({ "survivors": round.survivors, "beyond": beyond }))
    }

    /// Changes one byte of every model's file.
    fn tamper(&self) -> anyhow::Result<Value> {
        let mut folders = vec![self.running()?.data().join("blobs").join("models")];
        let mut changed = 0;
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mut bytes = std::fs::read(&path)?;
                let last = bytes.last_mut().context("an empty file")?;
                *last ^= 1;
                std::fs::write(&path, bytes)?;
                changed += 1;
            }
        }
        Ok(json!({ "changed": changed }))
    }

    fn next_number(&mut self) -> anyhow::Result<u8> {
        self.enrolled = self.enrolled.checked_add(1).context("a world has at most 255 devices")?;
        Ok(self.enrolled)
    }

    fn running(&self) -> anyhow::Result<&CoordinatorProcess> {
        self.coordinator.as_ref().context("start the coordinator first")
    }

    async fn admin(&self) -> anyhow::Result<Admin> {
        self.running()?.admin().await
    }
}
