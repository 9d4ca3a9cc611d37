//! One transaction of either database, each step of it in bounded time.

use std::time::{Duration, Instant};

use scale_proto::time::Timestamp;
use sqlx::Pool;
use sqlx::pool::PoolConnection;

use super::Error;
use super::engine::{Access, Answer, Engine, Statement, Stored};
use crate::domain::{NewTransaction, Scope, UserId};

/// How long beginning may take, dead connections included.
const BEGIN_WITHIN: Duration = Duration::from_secs(5);
/// How long a statement may take. The databases give up a little earlier themselves; this is for one that hangs.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How long undoing may take before the connection is cut, which undoes as well.
const UNDO_WITHIN: Duration = Duration::from_secs(2);

/// One transaction. Dropped before [`Tx::commit`], it is undone.
///
/// Begin and end are statements of our own, not `sqlx::Transaction`: SQLite rolls back by itself when the disk is full,
/// Postgres answers COMMIT with a rollback after a failure, and neither may pass for success.
pub(super) struct Tx<DB: Engine> {
    /// `None`: the transaction has ended.
    connection: Option<PoolConnection<DB>>,
    /// Whether the database may hold a transaction of ours.
    open: bool,
    /// Whether connections keep prepared statements.
    keeps_statements: bool,
    /// A statement failed, or nobody waited for its end: nothing may be kept any more.
    broken: bool,
}

impl<DB: Engine> Tx<DB> {
    /// Begins on a connection of `pool`, which may keep prepared statements or not.
    pub(super) async fn begin(
        pool: &Pool<DB>,
        keeps_statements: bool,
        scope: Scope,
        access: Access,
    ) -> Result<Self, Error> {
        let deadline = Instant::now() + BEGIN_WITHIN;
        loop {
            let connection = pool.acquire().await.map_err(|error| DB::classify(&error))?;
            let mut tx = Self { connection: Some(connection), open: false, keeps_statements, broken: false };
            let Some(sql) = DB::begin(scope, access) else { return Ok(tx) };
            tx.open = true;
            let left = deadline.saturating_duration_since(Instant::now());
            let begun = within::<DB, _>(left, DB::batch(tx.connection()?, sql)).await;
            match tx.settled(begun) {
                Ok(()) => return Ok(tx),
                // The database may have cut a connection that nobody used, at a restart for example: the next one is
                // better, or new.
                Err(Error::Unavailable(_)) if Instant::now() < deadline => tx.cut(),
                Err(error) => {
                    tx.cut();
                    return Err(error);
                }
            }
        }
    }

    /// Runs a statement; the number of rows that it changed.
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, Error> {
        let statement = statement.kept(self.keeps_statements);
        let answer = DB::execute(self.connection()?, statement);
        let result = within::<DB, _>(ANSWER_WITHIN, answer).await;
        self.settled(result)
    }

    /// Every row of a query.
    pub(super) async fn all<Row, T>(&mut self, query: Statement) -> Result<Vec<T>, Error>
    where
        Row: Stored,
        T: TryFrom<Row, Error = Error>,
    {
        let query = query.kept(self.keeps_statements);
        let answer = DB::fetch::<Row>(self.connection()?, query);
        let result = within::<DB, _>(ANSWER_WITHIN, answer).await;
        self.settled(result)?.into_iter().map(T::try_from).collect()
    }

    /// The first row of a query.
    pub(super) async fn one<Row, T>(&mut self, query: Statement) -> Result<Option<T>, Error>
    where
        Row: Stored,
        T: TryFrom<Row, Error = Error>,
    {
        Ok(self.all::<Row, T>(query).await?.into_iter().next())
    }

    /// Stores those of `rows` whose fingerprint the person does not have yet; how many.
    pub(super) async fn insert(&mut self, user: UserId, rows: &[NewTransaction], now: Timestamp) -> Result<u64, Error> {
        let answer = DB::insert(self.connection()?, user, rows, now);
        let result = within::<DB, _>(ANSWER_WITHIN, answer).await;
        self.settled(result)
    }

    /// See [`Engine::lock_person`].
    pub(super) async fn lock_person(&mut self, user: UserId) -> Result<(), Error> {
        match DB::lock_person(user) {
            Some(statement) => self.execute(statement).await.map(drop),
            None => Ok(()),
        }
    }

    /// Keeps everything, or nothing. Ends a transaction that only read as well.
    pub(super) async fn commit(mut self) -> Result<(), Error> {
        if self.open {
            let answer = DB::batch(self.connection()?, "COMMIT".to_owned());
            let result = within::<DB, _>(ANSWER_WITHIN, answer).await;
            self.settled(result)?;
            self.open = false;
        }
        Ok(())
    }

    /// Undoes everything, and returns when that is so.
    pub(super) async fn undo(mut self) {
        if let Some(connection) = self.connection.take_if(|_| self.open) {
            undo::<DB>(connection).await;
        }
    }

    /// The connection, for one step: broken until [`Tx::settled`] has seen the step's end.
    fn connection(&mut self) -> Result<&mut DB::Connection, Error> {
        match &mut self.connection {
            Some(connection) if !self.broken => {
                self.broken = true;
                Ok(&mut **connection)
            }
            _ => Err(Error::Unavailable("the transaction failed before".to_owned())),
        }
    }

    fn settled<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.broken = result.is_err();
        result
    }

    /// Gives the connection up.
    fn cut(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
        self.connection = None;
    }
}

impl<DB: Engine> Drop for Tx<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take_if(|_| self.open) else { return };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(undo::<DB>(connection))),
            Err(_) => connection.close_on_drop(),
        }
    }
}

/// Waits for the statement that may still run, and undoes the transaction it belonged to.
async fn undo<DB: Engine>(mut connection: PoolConnection<DB>) {
    let undone = within::<DB, _>(UNDO_WITHIN, DB::batch(&mut connection, "ROLLBACK".to_owned())).await;
    if let Err(error) = undone {
        tracing::debug!(%error, "the connection of an undone transaction is cut");
        connection.close_on_drop();
    }
}

/// What the database answers in this time.
pub(super) async fn within<DB: Engine, T>(time: Duration, answer: impl Answer<T>) -> Result<T, Error> {
    match tokio::time::timeout(time, answer).await {
        Ok(result) => result.map_err(|error| DB::classify(&error)),
        Err(_) => Err(Error::Unavailable("no answer in time".to_owned())),
    }
}
