//! Several coordinators on the same rows and blobs, each with threads of its own, as processes have them: one can be
//! stopped, killed, or held for a while in the middle of what it does.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use scale_clock::SharedClock;
use scale_secagg::keys::IdentityKey;
use tokio::runtime::{Handle, Runtime};
use tokio::task::block_in_place;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::fleet::model_urls;
use crate::blobs::Blobs;
use crate::context::guard;
use crate::error::Class;
use crate::staging::Staging;
use crate::store::Store;
use crate::*;

/// A device hears nothing for so long and asks another replica.
const ANSWER: Duration = Duration::from_secs(5);
/// Of each replica.
const CONNECTIONS: u32 = 4;
/// A replica is held no longer than this; its test has failed by then.
const HOLD: Duration = Duration::from_secs(90);

/// Where the rows are.
#[derive(Clone)]
pub(super) enum Rows {
    /// In this process: every replica uses the one connection.
    Memory(Store),
    /// On a server: every replica has connections of its own.
    Server(String),
}

/// What every replica is made of.
pub(super) struct Recipe {
    pub(super) rows: Rows,
    pub(super) blobs: Blobs,
    pub(super) clock: SharedClock,
    pub(super) task_key: Arc<IdentityKey>,
    pub(super) settings: Settings,
}

/// Replicas behind a balancer that sends every call somewhere else.
pub(super) struct Cluster {
    recipe: Recipe,
    replicas: Mutex<Vec<Arc<Replica>>>,
    random: Mutex<ChaCha20Rng>,
    gate: Arc<Gate>,
    /// Calls that were answered by a failure that passes.
    pub(super) failures: AtomicU32,
    started: AtomicU32,
}

/// One of them.
pub(super) struct Replica {
    pub(super) name: u32,
    pub(super) coordinator: Coordinator,
    threads: Handle,
    runtime: Mutex<Option<Runtime>>,
    killed: AtomicBool,
}

impl Replica {
    /// Everything it does ends at once, wherever it is.
    fn kill(&self) {
        self.killed.store(true, Ordering::SeqCst);
        if let Some(runtime) = guard(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Cluster {
    /// So many replicas; `seed` says which one takes which call.
    pub(super) async fn new(recipe: Recipe, replicas: u32, seed: u64) -> Self {
        let random = Mutex::new(ChaCha20Rng::seed_from_u64(seed));
        let (failures, started) = (AtomicU32::new(0), AtomicU32::new(0));
        let cluster = Self { recipe, replicas: Mutex::default(), random, gate: Arc::default(), failures, started };
        for _ in 0..replicas {
            cluster.start().await;
        }
        cluster
    }

    /// Starts one more.
    pub(super) async fn start(&self) -> Arc<Replica> {
        let name = self.started.fetch_add(1, Ordering::SeqCst);
        let shares_memory = matches!(self.recipe.rows, Rows::Memory(_));
        let watcher = Watcher { gate: Arc::clone(&self.gate), replica: name, alone: shares_memory };
        let sees = tracing::Dispatch::new(watcher);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            // Where one thread does everything, whoever holds it holds the whole replica, like a stopped process.
            .worker_threads(if shares_memory { 2 } else { 1 })
            .enable_all()
            .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&sees)))
            .build()
            .expect("threads");
        let Recipe { rows, blobs, clock, task_key, settings } = &self.recipe;
        let (rows, blobs, clock) = (rows.clone(), blobs.clone(), Arc::clone(clock));
        let (task_key, settings) = (Arc::clone(task_key), settings.clone());
        let starting = runtime.spawn(async move {
            let store = match rows {
                Rows::Memory(store) => store,
                Rows::Server(url) => Store::postgres(&url, CONNECTIONS).await.expect("the schema is there"),
            };
            let staging = Staging::objects(blobs.clone());
            let (model_urls, watch) = (model_urls(), Arc::new(()));
            let parts = Parts { store, blobs, clock, task_key, model_urls, staging, watch, settings };
            Coordinator::start(parts).await.expect("it starts")
        });
        let coordinator = starting.await.expect("no panic");
        let (threads, runtime) = (runtime.handle().clone(), Mutex::new(Some(runtime)));
        let replica = Arc::new(Replica { name, coordinator, threads, runtime, killed: AtomicBool::new(false) });
        guard(&self.replicas).push(Arc::clone(&replica));
        replica
    }

    /// Those that run.
    pub(super) fn all(&self) -> Vec<Arc<Replica>> {
        guard(&self.replicas).clone()
    }

    fn drawn(&self) -> Arc<Replica> {
        let replicas = guard(&self.replicas);
        let at = guard(&self.random).next_u32() as usize % replicas.len();
        Arc::clone(&replicas[at])
    }

    /// One is stopped in good order, and another one starts. Which one is drawn.
    pub(super) async fn stop_one(&self) {
        let gone = self.drawn();
        guard(&self.replicas).retain(|replica| replica.name != gone.name);
        let coordinator = gone.coordinator.clone();
        gone.threads.spawn(async move { coordinator.shutdown().await }).await.expect("it ends by itself");
        gone.kill();
        self.start().await;
    }

    /// Ends all of them in good order.
    pub(super) async fn stop_all(&self) {
        let replicas = std::mem::take(&mut *guard(&self.replicas));
        for replica in replicas {
            let coordinator = replica.coordinator.clone();
            replica.threads.spawn(async move { coordinator.shutdown().await }).await.expect("it ends by itself");
            replica.kill();
        }
    }

    /// Sends a call to a replica that is drawn. `None`: no answer, or one that says to come again.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        call: impl FnOnce(Coordinator) -> BoxFuture<'static, Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        self.ask_of(&self.drawn(), call).await
    }

    /// Sends a call to this replica.
    pub(super) async fn ask_of<T: Send + 'static>(
        &self,
        replica: &Replica,
        call: impl FnOnce(Coordinator) -> BoxFuture<'static, Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        let running = replica.threads.spawn(call(replica.coordinator.clone()));
        let line = running.abort_handle();
        match tokio::time::timeout(ANSWER, running).await {
            Err(_) => line.abort(),
            Ok(Err(error)) if error.is_panic() && !replica.killed.load(Ordering::SeqCst) => {
                std::panic::resume_unwind(error.into_panic())
            }
            Ok(Err(_) | Ok(Err(Error::Stopping))) => tokio::time::sleep(Duration::from_millis(20)).await,
            Ok(Ok(Err(error))) if matches!(error.class(), Class::Unavailable | Class::Exhausted) => {
                self.failures.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(Ok(answer)) => return answer.map(Some),
        }
        Ok(None)
    }

    /// The next replica that begins transaction `name` is held there.
    pub(super) fn arm(&self, name: &'static str) {
        *guard(&self.gate.state) = State::Armed(name);
    }

    /// Waits until a replica is held.
    pub(super) async fn until_held(&self) -> Arc<Replica> {
        let waiting = async {
            loop {
                if let State::Held(name) = *guard(&self.gate.state) {
                    return self.all().into_iter().find(|replica| replica.name == name).expect("it runs");
                }
                // It tells nobody.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(HOLD, waiting).await.expect("some replica begins the transaction")
    }

    /// Lets the replica that is held go on.
    pub(super) fn release(&self) {
        self.gate.open(State::Open);
    }

    /// Kills the replica that is held, there.
    pub(super) fn kill(&self, held: &Replica) {
        guard(&self.replicas).retain(|replica| replica.name != held.name);
        held.kill();
        self.gate.open(State::Dead(held.name));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.gate.open(State::Open);
    }
}

/// Stops a replica where a transaction begins.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    Armed(&'static str),
    Held(u32),
    Dead(u32),
}

impl Gate {
    fn open(&self, state: State) {
        *guard(&self.state) = state;
        self.changed.notify_all();
    }

    fn pass(&self, replica: u32, transaction: &str, alone: bool) {
        {
            let mut state = guard(&self.state);
            match *state {
                State::Armed(name) if name == transaction => *state = State::Held(replica),
                State::Dead(dead) if dead == replica => drop_dead(),
                _ => return,
            }
        }
        let wait = || {
            let held = |state: &mut State| *state == State::Held(replica);
            let state = guard(&self.state);
            let (state, _) = self.changed.wait_timeout_while(state, HOLD, held).expect("nobody panics under it");
            *state
        };
        // Where others use the same connection, what else this replica does goes on.
        let state = if alone { block_in_place(wait) } else { wait() };
        if state == State::Dead(replica) {
            drop_dead();
        }
    }
}

/// The task ends here, and nobody hears of it.
fn drop_dead() {
    std::panic::resume_unwind(Box::new("killed"));
}

/// Sees the transactions of a replica begin.
struct Watcher {
    gate: Arc<Gate>,
    replica: u32,
    alone: bool,
}

/// The value of a span's field `name`.
#[derive(Default)]
struct Name(Option<String>);

impl tracing::field::Visit for Name {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        if field.name() == "name" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, _: &tracing::field::Field, _: &dyn std::fmt::Debug) {}
}

impl Subscriber for Watcher {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "tx"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut name = Name::default();
        span.record(&mut name);
        if let Some(name) = name.0 {
            self.gate.pass(self.replica, &name, self.alone);
        }
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
