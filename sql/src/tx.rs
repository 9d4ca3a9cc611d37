//! One transaction of either engine, each step of it in bounded time.

use std::future::Future;
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Pool, Postgres, Sqlite};

use crate::faults::{Faults, Point};
use crate::row::Found;
use crate::{Engine, Error, Row, Statement, postgres, sql, sqlite};

/// How long beginning may take, dead connections and other processes that write included.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);
/// How long a statement may take. The databases give up a little earlier themselves; this is for one that hangs.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long undoing may take before the connection is cut, which undoes as well.
const UNDO_WITHIN: Duration = Duration::from_secs(2);
/// SQLite itself waits for others as long as beginning may take, and then says so: this is the time to hear it.
const BUSY_GRACE: Duration = Duration::from_secs(1);
/// Before a database that is busy, and says so at once, is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read, from one snapshot, beside those that write.
    Read,
    /// To read by a single statement, which is a snapshot of its own: SQLite needs no transaction for that.
    ReadOne,
    /// To write.
    Write,
}

/// One transaction. Dropped before [`Tx::commit`], it is undone. After a statement that failed nothing can be kept any
/// more, in either engine.
///
/// Begin and end are statements of our own, not `sqlx::Transaction`: SQLite rolls back by itself when the disk is full,
/// Postgres answers COMMIT with a rollback after a failure, and neither may pass for success.
pub struct Tx {
    engine: Engine,
    /// `None`: the transaction has ended.
    connection: Option<Connection>,
    /// Whether the database may hold a transaction of ours.
    open: bool,
    /// Why nothing may be kept any more: a statement failed, or nobody waited for its end.
    broken: Option<Error>,
    /// Another transaction was in the way: running everything again helps.
    lost: bool,
    /// By what name, and where, faults are asked for.
    watched: (&'static str, Faults),
}

impl Tx {
    /// Begins on a connection of `source` with this SQL; `None`: single statements need none.
    pub(crate) async fn begin(source: &Source, begin: Option<String>) -> Result<Self, Error> {
        let deadline = Instant::now() + BEGIN_WITHIN;
        loop {
            let connection = source.connect().await?;
            let mut tx = Self {
                engine: source.engine(),
                connection: Some(connection),
                open: false,
                broken: None,
                lost: false,
                watched: ("", Faults::default()),
            };
            let Some(sql) = begin.clone() else { return Ok(tx) };
            tx.open = true;
            let left = deadline.saturating_duration_since(Instant::now());
            let begun = within(left + BUSY_GRACE, tx.connection()?.batch(sql)).await;
            let Err(error) = tx.settled(begun) else { return Ok(tx) };
            // A connection that was refused a transaction is as good as before: SQLite's is not made anew for nothing.
            match tx.engine {
                Engine::Sqlite if tx.lost => tx.connection = None,
                _ => tx.cut(),
            }
            // The database may have cut a connection that nobody used, at a restart for example: the next one is better,
            // or new.
            if !matches!(error, Error::Unavailable(_)) || Instant::now() + BUSY_PAUSE >= deadline {
                return Err(error);
            }
            if tx.lost {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
        }
    }

    /// Asks `faults` at each step, by this name.
    pub(crate) fn watched(mut self, name: &'static str, faults: &Faults) -> Self {
        self.watched = (name, faults.clone());
        self
    }

    /// What is to fail here on purpose: as if the database had said so.
    fn fault(&mut self, point: Point) -> Result<(), Error> {
        let (name, faults) = &self.watched;
        faults.at(name, point).inspect_err(|error| self.broken = Some(error.clone()))
    }

    /// Which database it is in.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// Runs a statement; the number of rows that it changed.
    ///
    /// # Errors
    /// What the database says, sorted; or that an earlier statement failed.
    pub async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        self.fault(Point::Statement)?;
        let answer = self.connection()?.execute(statement);
        let result = within(ANSWER_WITHIN, answer).await;
        self.settled(result)
    }

    /// The first row that a statement finds, decoded.
    ///
    /// # Errors
    /// As [`Self::execute`], and what `decode` says.
    pub async fn one<T>(
        &mut self,
        statement: Statement,
        decode: fn(&Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.rows(statement).await?.first().map(decode).transpose()
    }

    /// Every row that a statement finds, decoded.
    ///
    /// # Errors
    /// As [`Self::execute`], and what `decode` says.
    pub async fn all<T>(
        &mut self,
        statement: Statement,
        decode: fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        self.rows(statement).await?.iter().map(decode).collect()
    }

    /// Every row that a statement finds, for who does not know its columns beforehand.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn all_rows(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        self.rows(statement).await
    }

    async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>, Error> {
        self.fault(Point::Statement)?;
        let answer = self.connection()?.fetch(statement);
        let result = within(ANSWER_WITHIN, answer).await;
        self.settled(result)
    }

    /// Tells everybody who listens to `channel`, once the transaction is kept; nothing on SQLite. A payload of more than
    /// 7,999 bytes is refused.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn notify(&mut self, channel: &'static str, payload: &str) -> Result<(), Error> {
        match self.engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => {
                let notify = sql("SELECT pg_notify($1, $2)").bind(channel).bind(payload);
                self.execute(notify).await.map(drop)
            }
        }
    }

    /// The database server's wall clock in milliseconds since 1970; `None` on SQLite, whose clock is this machine's.
    ///
    /// # Errors
    /// As [`Self::execute`].
    pub async fn server_millis(&mut self) -> Result<Option<u64>, Error> {
        match self.engine {
            Engine::Sqlite => Ok(None),
            Engine::Postgres => {
                let clock = sql("SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now");
                self.one(clock, |row| row.get("now")).await
            }
        }
    }

    /// Keeps everything, or nothing. Ends a transaction that only read as well.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database did not answer: then everything may be kept. After any other nothing is.
    pub async fn commit(mut self) -> Result<(), Error> {
        self.keep().await
    }

    /// [`Self::commit`], after which [`Self::lost_against_another`] can still be asked.
    pub(crate) async fn keep(&mut self) -> Result<(), Error> {
        let open = self.open;
        self.fault(Point::Commit)?;
        let connection = self.connection()?;
        let result = if open { within(ANSWER_WITHIN, connection.batch("COMMIT".to_owned())).await } else { Ok(()) };
        self.settled(result)?;
        self.open = false;
        self.fault(Point::Kept)
    }

    /// Undoes everything, and returns when that is so.
    pub async fn undo(mut self) {
        if let Some(connection) = self.connection.take_if(|_| self.open) {
            undo(Undoing(Some(connection))).await;
        }
    }

    /// Whether a statement failed because another transaction was in the way: running everything again helps.
    pub(crate) const fn lost_against_another(&self) -> bool {
        self.lost
    }

    /// The connection, for one step: broken until [`Self::settled`] has seen the step's end.
    fn connection(&mut self) -> Result<&mut Connection, Error> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.broken = Some(Error::Unavailable("the transaction was left in the middle of a statement".to_owned()));
        self.connection.as_mut().ok_or_else(|| Error::Internal("the transaction has ended".to_owned()))
    }

    fn settled<T>(&mut self, result: Result<T, Failure>) -> Result<T, Error> {
        let error = match result {
            Ok(value) => {
                self.broken = None;
                return Ok(value);
            }
            Err(Failure::Late) => Error::Unavailable("no answer in time".to_owned()),
            Err(Failure::Said(error)) => {
                self.lost |= lost_race(self.engine, &error);
                classify(self.engine, &error)
            }
        };
        self.broken = Some(error.clone());
        Err(error)
    }

    /// Gives the connection up.
    fn cut(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.cut();
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take_if(|_| self.open) else { return };
        let undoing = Undoing(Some(connection));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            drop(runtime.spawn(undo(undoing)));
        }
    }
}

impl std::fmt::Debug for Tx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// A connection whose transaction is being undone. Where nobody waits for that, because the runtime ends, it is cut: nobody
/// may get it with a transaction of another in it.
struct Undoing(Option<Connection>);

impl Drop for Undoing {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.cut();
        }
    }
}

/// Waits for the statement that may still run, and undoes the transaction it belonged to.
async fn undo(mut undoing: Undoing) {
    let Some(connection) = &mut undoing.0 else { return };
    match within(UNDO_WITHIN, connection.batch("ROLLBACK".to_owned())).await {
        Ok(()) => drop(undoing.0.take()),
        Err(failure) => tracing::debug!(?failure, "the connection of an undone transaction is cut"),
    }
}

/// Where connections come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Sqlite(Pool<Sqlite>),
    /// And whether connections keep prepared statements.
    Postgres(Pool<Postgres>, bool),
}

impl Source {
    pub(crate) const fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(..) => Engine::Postgres,
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(pool) => pool.close().await,
            Self::Postgres(pool, _) => pool.close().await,
        }
    }

    async fn connect(&self) -> Result<Connection, Error> {
        match self {
            Self::Sqlite(pool) => pool.acquire().await.map(Connection::Sqlite),
            Self::Postgres(pool, kept) => {
                pool.acquire().await.map(|connection| Connection::Postgres(connection, *kept))
            }
        }
        .map_err(|error| classify(self.engine(), &error))
    }
}

enum Connection {
    Sqlite(PoolConnection<Sqlite>),
    /// And whether it keeps prepared statements.
    Postgres(PoolConnection<Postgres>, bool),
}

impl Connection {
    /// Runs SQL without values, several statements if need be.
    async fn batch(&mut self, sql: String) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => sqlite::batch(connection, sql).await,
            Self::Postgres(connection, _) => postgres::batch(connection, sql).await,
        }
    }

    async fn execute(&mut self, statement: Statement) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(connection) => sqlite::execute(connection, statement).await,
            Self::Postgres(connection, kept) => postgres::execute(connection, statement, *kept).await,
        }
    }

    async fn fetch(&mut self, statement: Statement) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match self {
            Self::Sqlite(connection) => {
                let rows = sqlite::fetch(connection, statement).await?;
                rows.into_iter().map(|row| Row(Found::Sqlite(row))).collect()
            }
            Self::Postgres(connection, kept) => {
                let rows = postgres::fetch(connection, statement, *kept).await?;
                rows.into_iter().map(|row| Row(Found::Postgres(row))).collect()
            }
        })
    }

    /// Closes it, which undoes whatever is left; the pool makes a new one.
    fn cut(self) {
        match self {
            Self::Sqlite(mut connection) => connection.close_on_drop(),
            Self::Postgres(mut connection, _) => connection.close_on_drop(),
        }
    }
}

/// Why a step came to nothing.
#[derive(Debug)]
enum Failure {
    Said(sqlx::Error),
    Late,
}

/// What the database answers in this time.
async fn within<T>(time: Duration, answer: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Failure> {
    match tokio::time::timeout(time, answer).await {
        Ok(result) => result.map_err(Failure::Said),
        Err(_) => Err(Failure::Late),
    }
}

/// Sorts a database error by what helps.
pub(crate) fn classify(engine: Engine, error: &sqlx::Error) -> Error {
    match engine {
        Engine::Sqlite => sqlite::classify(error),
        Engine::Postgres => postgres::classify(error),
    }
}

fn lost_race(engine: Engine, error: &sqlx::Error) -> bool {
    match engine {
        Engine::Sqlite => sqlite::is_busy(error),
        Engine::Postgres => postgres::lost_race(error),
    }
}
