//! A database that is open, and what runs on it.

use std::path::Path;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sqlx::{Pool, Postgres, Sqlite};
use tracing::Instrument as _;

use crate::faults::{Faults, Point};
use crate::tx::Source;
use crate::{Access, Engine, Error, Isolation, Listener, PostgresOptions, SqliteOptions, Tx, postgres, sql, sqlite};

/// How often a transaction that loses against another one is run again.
const ATTEMPTS: u32 = 10;
/// After this time it is not begun again.
const AGAIN_WITHIN: Duration = Duration::from_secs(8);
/// The first pause, doubled for each further one up to [`LONGEST_PAUSE`]; the true one is random and at most so long.
const FIRST_PAUSE: Duration = Duration::from_millis(4);
/// See [`FIRST_PAUSE`].
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Rows on SQLite or Postgres. Clones share the same connections.
#[derive(Clone, Debug)]
pub struct Database {
    writer: Source,
    readers: Source,
    isolation: Isolation,
    idle: Duration,
    faults: Faults,
    /// In memory, a database lasts as long as one of its connections: this one does nothing else.
    _anchor: Option<Pool<Sqlite>>,
}

impl Database {
    /// Opens the file at `path`, for this process: see to that with a lock. Its schema is as it was found: see
    /// [`crate::Migrations::run`].
    ///
    /// # Errors
    /// [`Error::Schema`] for somebody else's file, [`Error::Full`] and [`Error::Unavailable`] from the disk.
    pub async fn sqlite(path: &Path, options: SqliteOptions) -> Result<Self, Error> {
        let (writer, readers) = sqlite::connect(path, options).await?;
        Ok(Self {
            writer: Source::Sqlite(writer),
            readers: Source::Sqlite(readers),
            isolation: Isolation::default(),
            idle: Duration::default(),
            faults: Faults::default(),
            _anchor: None,
        })
    }

    /// A SQLite database that ends with the last clone of this value, for tests and demonstrations. Reading and writing
    /// wait for each other.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if there is no memory.
    pub async fn memory() -> Result<Self, Error> {
        let (anchor, only) = sqlite::connect_in_memory().await?;
        let only = Source::Sqlite(only);
        Ok(Self {
            writer: only.clone(),
            readers: only,
            isolation: Isolation::default(),
            idle: Duration::default(),
            faults: Faults::default(),
            _anchor: Some(anchor),
        })
    }

    /// The server that `url` names, such as `postgres://user:password@host/database`. Nothing connects before the first
    /// transaction.
    ///
    /// # Errors
    /// [`Error::Schema`] for a URL that cannot be one.
    pub fn postgres(url: &str, options: PostgresOptions) -> Result<Self, Error> {
        let pool = Source::Postgres(postgres::connect(url, options)?, postgres::keeps_statements(url));
        Ok(Self {
            writer: pool.clone(),
            readers: pool,
            isolation: options.isolation,
            idle: options.idle,
            faults: Faults::default(),
            _anchor: None,
        })
    }

    /// Lets `inject` decide at each step of every transaction whether it fails, here and in all clones; `None`: no more.
    #[cfg(feature = "testing")]
    pub fn inject(&self, inject: Option<crate::Inject>) {
        self.faults.set(inject);
    }

    /// Which database it is.
    pub const fn engine(&self) -> Engine {
        self.writer.engine()
    }

    /// Runs `work` in one transaction: kept when it returns `Ok`, undone when it returns `Err` or is dropped. It runs again
    /// when another transaction was in the way, so it must have no effect but on `tx`. `name` labels the span.
    ///
    /// # Errors
    /// What `work` returns; [`Error`] when the transaction cannot begin or be kept.
    pub async fn run_tx<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send,
        E: From<Error> + Send,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + Sync,
    {
        self.run_tx_after(name, None, work).await
    }

    /// [`Self::run_tx`] in transactions that begin with the SQL `first`, in the same message to the server.
    ///
    /// # Errors
    /// As [`Self::run_tx`].
    pub async fn run_tx_after<T, E, F>(&self, name: &'static str, first: Option<String>, work: F) -> Result<T, E>
    where
        T: Send,
        E: From<Error> + Send,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + Sync,
    {
        let start = Instant::now();
        let mut attempt = 1;
        loop {
            let span = tracing::debug_span!("tx", name, attempt);
            match self.attempt(name, first.clone(), &work).instrument(span).await {
                Attempt::Done(result) => return result,
                Attempt::Lost(error) if attempt >= ATTEMPTS || start.elapsed() >= AGAIN_WITHIN => return Err(error),
                Attempt::Lost(_) => tracing::debug!(name, attempt, "another transaction was in the way"),
            }
            tokio::time::sleep(pause(attempt)).await;
            attempt += 1;
        }
    }

    async fn attempt<T, E, F>(&self, name: &'static str, first: Option<String>, work: &F) -> Attempt<T, E>
    where
        T: Send,
        E: From<Error> + Send,
        F: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send + Sync,
    {
        let mut tx = match self.begin_as(name, Access::Write, first).await {
            Ok(tx) => tx,
            Err(error) => return Attempt::Done(Err(error.into())),
        };
        let result = match work(&mut tx).await {
            Ok(value) => tx.keep().await.map(|()| value).map_err(E::from),
            Err(error) => Err(error),
        };
        let lost = tx.lost_against_another();
        tx.undo().await;
        match result {
            Err(error) if lost => Attempt::Lost(error),
            result => Attempt::Done(result),
        }
    }

    /// Runs `work` on one consistent snapshot, beside those that write. Writing fails.
    ///
    /// # Errors
    /// What `work` returns; [`Error::Unavailable`] when no connection is free.
    pub async fn read<T, E, F>(&self, name: &'static str, work: F) -> Result<T, E>
    where
        T: Send,
        E: From<Error> + Send,
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, E>> + Send,
    {
        let reading = async {
            let mut tx = self.begin_as(name, Access::Read, None).await?;
            let result = work(&mut tx).await;
            tx.undo().await;
            result
        };
        reading.instrument(tracing::debug_span!("read", name)).await
    }

    /// Begins a transaction, for who keeps one open over several calls; it is not run again. `first` is SQL that runs in the
    /// same message to the server.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if no connection is free or none works, and what `first` gives rise to.
    pub async fn begin(&self, access: Access, first: Option<String>) -> Result<Tx, Error> {
        self.begin_as("", access, first).await
    }

    async fn begin_as(&self, name: &'static str, access: Access, first: Option<String>) -> Result<Tx, Error> {
        self.faults.at(name, Point::Begin)?;
        let source = match access {
            Access::Read | Access::ReadOne => &self.readers,
            Access::Write => &self.writer,
        };
        let begin = match self.engine() {
            Engine::Sqlite => match (sqlite::begin(access), first) {
                (Some(begin), Some(first)) => Some(format!("{begin}; {first}")),
                (begin, first) => begin.map(str::to_owned).or(first),
            },
            Engine::Postgres => Some(postgres::begin(access, self.isolation, self.idle, first.as_deref())),
        };
        Ok(Tx::begin(source, begin).await?.watched(name, &self.faults))
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not.
    pub async fn ping(&self) -> Result<(), Error> {
        let mut tx = self.begin(Access::ReadOne, None).await?;
        tx.execute(sql("SELECT 1")).await?;
        tx.commit().await
    }

    /// Closes the connections, after the transactions that run now; a SQLite file is then complete in itself.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Listens to `channel` on a connection of its own; `None` on SQLite, where nobody else writes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the server does not answer now; later the listener waits for it.
    pub async fn listen(&self, channel: &'static str) -> Result<Option<Listener>, Error> {
        match &self.writer {
            Source::Sqlite(_) => Ok(None),
            Source::Postgres(pool, _) => {
                Listener::new(postgres::connect_one(&pool.connect_options()), channel).await.map(Some)
            }
        }
    }

    pub(crate) fn writer(&self) -> Writer<'_> {
        match &self.writer {
            Source::Sqlite(pool) => Writer::Sqlite(pool),
            Source::Postgres(pool, _) => Writer::Postgres(pool),
        }
    }
}

/// The pool that migrations work on.
pub(crate) enum Writer<'d> {
    Sqlite(&'d Pool<Sqlite>),
    Postgres(&'d Pool<Postgres>),
}

/// What became of running a transaction once.
enum Attempt<T, E> {
    Done(Result<T, E>),
    /// Another transaction was in the way.
    Lost(E),
}

/// How long to wait after so many attempts. Random, so that two that met do not meet again.
fn pause(attempt: u32) -> Duration {
    let most = FIRST_PAUSE.saturating_mul(1 << (attempt - 1).min(16)).min(LONGEST_PAUSE);
    // Without randomness all of it.
    most.mul_f64(getrandom::u32().map_or(1.0, |drawn| f64::from(drawn) / f64::from(u32::MAX)))
}
