//! One installation per folder and process, however many clients an app makes of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use scale_client_core::app::App;
use scale_client_core::error::HostError;
use scale_client_core::host::native::private_folder;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::callbacks::{ConditionSource, SecretVault};
use super::configuration::{Configuration, bad};
use super::error::ScaleError;
use super::host::{self, PhoneHost};
use crate::types::{ErrorKind, Failure};

/// Training and TLS need more than the half megabyte that threads have on Apple's systems.
const STACK_BYTES: usize = 2 << 20;
/// One trains, and the other answers meanwhile.
const THREADS: usize = 2;

/// Longest wait for a file that is being written.
const WRITING: Duration = Duration::from_secs(10);

/// What the clients of one folder share: the app, and the threads on which its calls run.
pub(crate) struct Installation {
    pub(crate) app: App<PhoneHost>,
    folder: PathBuf,
    configuration: Configuration,
    /// Whether its secrets are where the app puts them.
    has_vault: bool,
    threads: Handle,
}

/// The installations that clients have open, by folder.
static OPEN: Mutex<BTreeMap<PathBuf, Opened>> = Mutex::new(BTreeMap::new());

struct Opened {
    installation: Arc<Installation>,
    /// Ends with the last client.
    runtime: Runtime,
    clients: usize,
}

fn opened() -> MutexGuard<'static, BTreeMap<PathBuf, Opened>> {
    // A poisoned lock is harmless: every change of the map is one call.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Installation {
    /// The folder's installation in this process, or a new one, for one more client, which says [`Self::leave`] at its end.
    ///
    /// # Errors
    /// `Configuration`; `Storage` if the folder cannot be used; `Usage` with the code `folder_in_use` if the folder is open with
    /// another configuration, or one of the two has a vault of the app's and the other has not.
    pub(super) fn open(
        configuration: Configuration,
        vault: Option<Arc<dyn SecretVault>>,
        conditions: Option<Arc<dyn ConditionSource>>,
    ) -> Result<Arc<Self>, ScaleError> {
        let (connection, config) = configuration.clone().into_core()?;
        let folder = own_folder(&configuration.folder)?;
        let has_vault = vault.is_some();
        let mut open = opened();
        if let Some(opened) = open.get_mut(&folder) {
            let there = &opened.installation;
            if there.configuration != configuration || there.has_vault != has_vault {
                return Err(in_use().into());
            }
            opened.clients += 1;
            return Ok(there.clone());
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("scale-fl")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| {
                Failure::invalid(ErrorKind::Storage, "threads", format!("no thread can be started: {error}"))
            })?;
        let host = {
            let _within = runtime.enter();
            host::open(&folder, connection, vault, conditions).map_err(of_host)?
        };
        let (app, threads) = (App::new(host, config), runtime.handle().clone());
        let installation = Arc::new(Self { app, folder: folder.clone(), configuration, has_vault, threads });
        open.insert(folder, Opened { installation: installation.clone(), runtime, clients: 1 });
        Ok(installation)
    }

    /// One client less; the threads, if it was the last one.
    pub(super) fn leave(&self) -> Option<Threads> {
        let mut open = opened();
        let opened = open.get_mut(&self.folder)?;
        opened.clients -= 1;
        if opened.clients > 0 {
            return None;
        }
        open.remove(&self.folder).map(|opened| Threads(Some(opened.runtime)))
    }

    /// Runs `work` on the installation's threads. Dropped before its end, it ends `work` too, as the end of the process would.
    ///
    /// # Errors
    /// Those of `work`; `Internal` if it panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, ScaleError>> + Send + 'static,
    ) -> Result<T, ScaleError> {
        AbortedWhenDropped(self.threads.spawn(work)).await
    }
}

/// The threads of an installation that no client has open any more. Dropped, they end without anybody waiting: the last client
/// may be dropped on the app's main thread.
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    /// Waits until nothing is written any more, also by calls that were dropped.
    pub(super) async fn end(mut self) {
        let Some(runtime) = self.0.take() else { return };
        let (ended, end) = tokio::sync::oneshot::channel();
        // The caller's executor must not block, and the installation's own threads end here.
        std::thread::spawn(move || {
            runtime.shutdown_timeout(WRITING);
            let _listens = ended.send(());
        });
        // It fails only if the thread has died, and then there is nothing to wait for.
        let _ended = end.await;
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct AbortedWhenDropped<T>(JoinHandle<Result<T, ScaleError>>);

impl<T> Future for AbortedWhenDropped<T> {
    type Output = Result<T, ScaleError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|ended| match ended {
            Ok(result) => result,
            Err(error) => Err(match error.try_into_panic() {
                Ok(panic) => ScaleError::internal(panic_text(&*panic)),
                Err(_) => ScaleError::internal("a call was ended"),
            }),
        })
    }
}

impl<T> Drop for AbortedWhenDropped<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a panic says of itself.
fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic")
}

/// The folder's one path, after making it if it is missing.
fn own_folder(folder: &str) -> Result<PathBuf, ScaleError> {
    let path = Path::new(folder);
    let failed = |error: &dyn std::fmt::Display| {
        Failure::invalid(ErrorKind::Storage, "store", format!("the folder {folder} cannot be used: {error}"))
    };
    private_folder(path).map_err(|error| failed(&error))?;
    Ok(path.canonicalize().map_err(|error| failed(&error))?)
}

fn in_use() -> Failure {
    let problem = "this folder is open with another configuration, or with another place for its secrets: close that client \
                   first, or give another folder";
    Failure::invalid(ErrorKind::Usage, "folder_in_use", problem)
}

fn of_host(error: HostError) -> ScaleError {
    match error.what {
        "transport" => {
            bad("coordinator", &format!("or `certificateAuthority` cannot be used: {}", error.sentence)).into()
        }
        _ => scale_client_core::error::Error::from(error).into(),
    }
}
