//! What a test of an app has around it, in a browser and on a phone: a coordinator that can be stopped, and native devices
//! whose inputs are known.
//!
//! The test speaks to it in JSON, one [`Order`] a line (`world-under-test`). Native devices take part in rounds beside the
//! apps ([`natives`]), and afterwards [`sums`] says what a round has published beyond their inputs: the apps' own updates,
//! and nothing else. How many apps there are, and in which programs, is up to the test: they need the address, the task,
//! its key and a token. What the world itself does takes the direct way to the coordinator: a
//! [`Gate`] is for the apps only.

mod crowd;
mod natives;
mod order;
mod sums;
mod task;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use scale_proto::wire;
use serde_json::{Value, json};

use crate::device::RawDevice;
use crate::direct::direct;
use crate::gate::Gate;
use crate::process::{Admin, CoordinatorProcess};
use crowd::Crowd;
use natives::{Natives, Played};
pub use order::{Between, Order};
use task::Task;

/// Life of a token that has run out by the time it is told.
const SHORT_LIFE: Duration = Duration::from_secs(1);
/// How long a round may go on after somebody has asked for its sum.
const UNTIL_PUBLISHED: Duration = Duration::from_secs(60);

/// The coordinator and the devices of one test.
pub struct World {
    binary: PathBuf,
    coordinator: Option<CoordinatorProcess>,
    gate: Option<Gate>,
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
        let (coordinator, gate, arguments, enrolled) = (None, None, vec![], 0);
        let (tasks, natives, crowds) = (BTreeMap::new(), BTreeMap::new(), vec![]);
        Self { binary, coordinator, gate, arguments, tasks, natives, crowds, enrolled }
    }

    /// Carries out an order; what it answers is a JSON object.
    ///
    /// # Errors
    /// What went wrong, for the person who reads the test's output.
    pub async fn obey(&mut self, order: Order) -> anyhow::Result<Value> {
        match order {
            Order::Start(between) => self.start(between).await,
            Order::Task(task) => self.create_task(task).await,
            Order::Token => Ok(json!({ "token": self.admin().await?.enroll_token().await? })),
            Order::ExpiredToken => self.expired_token().await,
            Order::Stranger => self.stranger().await,
            Order::Natives { task, count } => self.enroll_natives(task, count).await,
            Order::Play { task, rounds } => {
                self.natives.get_mut(&task).context("no natives of this task")?.play(rounds).await?;
                Ok(json!({}))
            }
            Order::Crowd { task, count } => self.gather(task, count).await,
            Order::Disperse => {
                self.crowds.clear();
                Ok(json!({}))
            }
            Order::Rounds { task } => self.rounds(&task).await,
            Order::Sum { task, number, apps } => self.sum(&task, number, &apps).await,
            Order::Suspend => self.running()?.suspend().map(|()| json!({})),
            Order::Resume => self.running()?.resume().map(|()| json!({})),
            Order::Kill => self.coordinator.as_mut().context("start it first")?.kill().map(|()| json!({})),
            Order::Restart => self.restart().await,
            Order::Tamper => self.tamper(),
            Order::Revoke => self.revoke().await,
            Order::Hold { call, moment } => self.gate()?.hold(call, moment).map(|()| json!({})),
            Order::Reached(call) => Ok(json!({ "call": self.gate()?.reached(call).await?.name() })),
            Order::Release(call) => self.gate()?.release(call).map(|()| json!({})),
        }
    }

    async fn start(&mut self, between: Between) -> anyhow::Result<Value> {
        let binary = self.binary.to_str().context("the program's path is not Unicode")?;
        let mut coordinator = CoordinatorProcess::start(binary).await?;
        let public_url = match between {
            Between::Nothing => None,
            Between::Own(url) => Some(url),
            Between::Gate => {
                let gate = self.gate.insert(Gate::before(&coordinator.url()).await?);
                Some(gate.url().to_owned())
            }
        };
        if let Some(url) = public_url {
            // The address by which devices download models: the test, or the gate, stands in between.
            self.arguments = vec!["--public-url".to_owned(), url];
            coordinator.kill()?;
            coordinator.restart_with(&self.arguments.iter().map(String::as_str).collect::<Vec<_>>()).await?;
        }
        let url = coordinator.url();
        self.coordinator = Some(coordinator);
        let token = self.admin().await?.enroll_token().await?;
        let device = RawDevice::enroll(url.clone(), self.next_number()?, &token).await?;
        let url = self.gate.as_ref().map_or(url, |gate| gate.url().to_owned());
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

    async fn sum(&self, name: &str, number: u64, apps: &[u32]) -> anyhow::Result<Value> {
        let task = self.tasks.get(name).context("no such task")?;
        let (round, played) = self.published(name, number).await?;
        let coordinator = self.running()?.url();
        let mut models = self.admin().await?.models(name).await?;
        for model in &mut models {
            model.url = direct(&coordinator, &model.url)?;
        }
        let beyond = sums::beyond_natives(task, &round, &played, &models, apps).await?;
        Ok(json!({ "survivors": round.survivors, "beyond": beyond }))
    }

    /// The round with this number, once it has published its sum and the native devices know.
    async fn published(&self, task: &str, number: u64) -> anyhow::Result<(wire::RoundInfo, Arc<Played>)> {
        let natives = self.natives.get(task).context("no natives of this task")?;
        let started = Instant::now();
        loop {
            let rounds = self.all_rounds(task).await?;
            let round = rounds.into_iter().find(|round| round.number == number);
            let round = round.with_context(|| format!("there is no round {number}"))?;
            let played = natives.played(number);
            let (phase, reason) = (&round.phase, format!("{} {}", round.reason_code, round.reason));
            match (phase.as_str(), played) {
                ("finished", Ok(played)) => return Ok((round, played)),
                ("abandoned", _) => bail!("round {number} was abandoned: {reason} {:?}", natives.troubles()),
                (_, played) if started.elapsed() > UNTIL_PUBLISHED => {
                    let unknown = played.err().map(|error| error.to_string()).unwrap_or_default();
                    bail!("round {number} is {phase}: {reason} {unknown} {:?}", natives.troubles())
                }
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
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

    async fn revoke(&mut self) -> anyhow::Result<Value> {
        let coordinator = self.coordinator.as_mut().context("start it first")?;
        coordinator.kill()?;
        coordinator.replace_secret("token_key")?;
        let arguments = self.arguments.iter().map(String::as_str).chain(["--new-identity"]);
        coordinator.restart_with(&arguments.collect::<Vec<_>>()).await?;
        Ok(json!({}))
    }

    fn next_number(&mut self) -> anyhow::Result<u8> {
        self.enrolled = self.enrolled.checked_add(1).context("a world has at most 255 devices")?;
        Ok(self.enrolled)
    }

    fn running(&self) -> anyhow::Result<&CoordinatorProcess> {
        self.coordinator.as_ref().context("start the coordinator first")
    }

    fn gate(&self) -> anyhow::Result<&Gate> {
        self.gate.as_ref().context("there is no gate: start with `\"gate\": true`")
    }

    async fn admin(&self) -> anyhow::Result<Admin> {
        self.running()?.admin().await
    }
}
