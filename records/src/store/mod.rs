//! The rows: one trait per family of tables, SQLite and Postgres behind them.
//!
//! Every method takes a [`Scope`] or a [`UserId`]: a row of somebody else does not exist. On Postgres row level security
//! says so a second time. Both databases pass the same suite, `conformance.rs`, cross-tenant cases first.
//!
//! | tables | trait |
//! |---|---|
//! | `transactions` | [`Transactions`] |
//! | `uploaded_files` and their rows | [`Imports`] |
//! | `categories` | [`Categories`] |
//! | `training_jobs` | [`Jobs`] |
//! | `enrollment_tokens` | [`Enrollments`] |
//! | all of one person | [`People`] |
//!
//! [`open()`] gives all of them for a [`Location`]. Behind it each family is one file with one implementation and whole
//! statements; where the databases want different ones, both stand side by side. Transactions are [`scale_sql`]'s.

use std::time::Duration;

use async_trait::async_trait;
use scale_clock::Timestamp;
use time::Date;

use crate::domain::{
    Category, CategoryChange, CategorySlug, Currency, JobChange, JobId, NewJob, NewTransaction, NewUpload, Scope,
    TrainingJob, Transaction, TransactionId, Upload, UploadCounts, UserId,
};

mod categories;
mod column;
mod enrollments;
mod imports;
mod jobs;
mod open;
mod page;
mod transactions;

pub use open::{Location, migrate, missing_steps, open, revert};
/// Why rows could not be read or kept. Nothing has changed. (If the database went away while it was keeping a change, that
/// one may be kept: every change may be asked for again.)
pub use scale_sql::Error;
pub use scale_sql::Step;

/// All families together: what the API holds, as `Arc<dyn Records>`.
pub trait Records: Transactions + Imports + Categories + Jobs + Enrollments + People + std::fmt::Debug {}

/// Which transactions; every condition that is there must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// On this day or later.
    pub from: Option<Date>,
    /// On this day or earlier.
    pub to: Option<Date>,
    /// With this category.
    pub category: Option<CategorySlug>,
    /// The merchant's name holds this text, whatever the case of its ASCII letters.
    pub merchant: Option<String>,
    /// In this currency.
    pub currency: Option<Currency>,
    /// At least this much, in minor units.
    pub min_minor: Option<i64>,
    /// At most this much, in minor units.
    pub max_minor: Option<i64>,
}

/// A part of a list: newest first, by date and then by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most so many, 1 to [`Page::MAX`].
    pub limit: u16,
    /// After this one.
    pub after: Option<Cursor>,
}

impl Page {
    /// Most of one page.
    pub const MAX: u16 = 200;
}

/// A place in the list of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The date of the last one seen.
    pub date: Date,
    /// Its id.
    pub id: TransactionId,
}

/// A page of transactions.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Newest first.
    pub transactions: Vec<Transaction>,
    /// Where the next page begins; `None`: this was the last.
    pub next: Option<Cursor>,
}

/// What became of a transaction that was to be stored.
#[derive(Clone, Debug, PartialEq)]
pub enum Created<T> {
    /// It is stored.
    New(T),
    /// There is one in its place already, this one: the same transaction, or the job that is still active.
    Exists(T),
}

/// The `transactions` table.
#[async_trait]
pub trait Transactions: Send + Sync {
    /// A page, newest first. A cursor of an earlier page stays good whatever is stored in between.
    async fn transactions(&self, scope: Scope, filter: &Filter, page: &Page) -> Result<Listed, Error>;
    /// One.
    async fn transaction(&self, scope: Scope, id: TransactionId) -> Result<Option<Transaction>, Error>;
    /// Stores one, unless the person has one of the same fingerprint.
    async fn create_transaction(
        &self,
        user: UserId,
        new: &NewTransaction,
        now: Timestamp,
    ) -> Result<Created<Transaction>, Error>;
    /// Gives it another category; last write wins among equals, and a person's choice wins over a prediction. The
    /// transaction as it is afterwards; `None`: there is no such one.
    async fn set_category(
        &self,
        scope: Scope,
        id: TransactionId,
        change: &CategoryChange,
        now: Timestamp,
    ) -> Result<Option<Transaction>, Error>;
    /// Whether it was there.
    async fn delete_transaction(&self, scope: Scope, id: TransactionId) -> Result<bool, Error>;
}

/// A file's way into the `transactions` table: one database transaction.
#[async_trait]
pub trait Imports: Send + Sync {
    /// Takes the file's hash; of two imports of the same file at once, one waits for the other and finds it there.
    ///
    /// Until the import ends, the person's other imports wait, and in SQLite everybody who changes anything: have the whole
    /// file before, and do nothing slow in between.
    async fn begin_import(&self, user: UserId, file: &NewUpload, now: Timestamp) -> Result<Begun, Error>;
    /// Files, newest first, at most `limit`.
    async fn uploads(&self, scope: Scope, limit: u16) -> Result<Vec<Upload>, Error>;
}

/// Whether a file is new.
pub enum Begun {
    /// It is.
    Open(Box<dyn Import>),
    /// It was imported already.
    Seen(Upload),
}

/// An import under way. Dropped, it leaves nothing.
#[async_trait]
pub trait Import: Send {
    /// Adds rows, up to a few thousand at once, in one statement; how many were new.
    async fn insert(&mut self, rows: &[NewTransaction]) -> Result<u64, Error>;
    /// Keeps everything.
    async fn commit(self: Box<Self>, counts: UploadCounts) -> Result<Upload, Error>;
    /// Leaves nothing, and returns when that is so.
    async fn abandon(self: Box<Self>);
}

/// The `categories` table.
#[async_trait]
pub trait Categories: Send + Sync {
    /// Everybody's and the person's own, by slug.
    async fn categories(&self, user: UserId) -> Result<Vec<Category>, Error>;
    /// Adds one of their own; `false`: there is one of that slug already.
    async fn create_category(&self, user: UserId, slug: &CategorySlug, name: &str) -> Result<bool, Error>;
}

/// The `training_jobs` table.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Stores one; [`Created::Exists`] with the active one if the person has one.
    async fn create_job(&self, user: UserId, new: &NewJob, now: Timestamp) -> Result<Created<TrainingJob>, Error>;
    /// One.
    async fn job(&self, scope: Scope, id: JobId) -> Result<Option<TrainingJob>, Error>;
    /// Newest first, at most `limit`.
    async fn jobs(&self, scope: Scope, limit: u16) -> Result<Vec<TrainingJob>, Error>;
    /// Changes an active job and returns it; a final job is returned as it is; `None`: there is no such one.
    async fn change_job(&self, id: JobId, change: &JobChange, now: Timestamp) -> Result<Option<TrainingJob>, Error>;
    /// Active jobs of a round.
    async fn jobs_of_round(&self, round_id: uuid::Uuid) -> Result<Vec<TrainingJob>, Error>;
    /// Active jobs that have not changed since `before`, at most 1,000: their device has gone.
    async fn stale_jobs(&self, before: Timestamp) -> Result<Vec<TrainingJob>, Error>;
}

/// How many enrollment tokens a person may be given in how much time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// So many, at least 1.
    pub most: u32,
    /// In any span of this length.
    pub within: Duration,
}

/// Whether a person may be given one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// Yes, and it counts from now on.
    Now,
    /// No; from this moment on the next one is free. Nothing has changed.
    NotBefore(Timestamp),
}

/// The `enrollment_tokens` table: when people were given tokens that enroll a device. What the tokens were is nowhere.
#[async_trait]
pub trait Enrollments: Send + Sync {
    /// Counts one more token of the person, unless the allowance is used up. Of calls at once, each counts those before it.
    async fn grant_enrollment(&self, user: UserId, allowance: Allowance, now: Timestamp) -> Result<Granted, Error>;
    /// When tokens were given, newest first, at most `limit`.
    async fn enrollments(&self, scope: Scope, limit: u16) -> Result<Vec<Timestamp>, Error>;
    /// Removes what was given at `until` or before, of everybody, because it no longer counts; how many.
    async fn forget_enrollments(&self, until: Timestamp) -> Result<u64, Error>;
}

/// Everything of one person. (An export reads the other families page by page.)
#[async_trait]
pub trait People: Send + Sync {
    /// Removes all rows of the person, in one transaction; how many.
    async fn delete_person(&self, user: UserId) -> Result<u64, Error>;
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), Error>;
    /// Finishes what runs and closes the connections.
    async fn close(&self);
}
