//! The schema's history: numbered up/down pairs in `migrations/`, embedded in the binary, never edited once released. A
//! database knows the checksum of each step it has taken.

use std::sync::LazyLock;

use sqlx::Pool;
use sqlx::migrate::{MigrateError, Migration, Migrator};

use super::Error;
use super::engine::{Engine, Statement};
use super::tx::{ANSWER_WITHIN, within};

pub(super) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| ours(sqlx::migrate!("migrations/sqlite")));
pub(super) static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| ours(sqlx::migrate!("migrations/postgres")));

/// With a table of its own for the steps taken: in Postgres others may keep their history in the same database.
fn ours(mut steps: Migrator) -> Migrator {
    steps.dangerous_set_table_name("scale_records_migrations");
    steps
}

/// One step of the schema's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 1.
    pub version: i64,
    /// What it is about.
    pub name: String,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04} {}", self.version, self.name)
    }
}

/// The steps that the database has not taken.
///
/// # Errors
/// [`Error::Schema`] if it has taken one that this build does not know, or knows otherwise.
pub(super) async fn missing<DB: Engine>(pool: &Pool<DB>) -> Result<Vec<Step>, Error> {
    let taken = within::<DB, _>(ANSWER_WITHIN, taken(pool)).await?;
    for Taken { version, checksum, success } in &taken {
        let Some(step) = known::<DB>().find(|step| step.version == *version) else {
            return Err(Error::Schema(format!(
                "it has schema {version}, which this build does not know; start a newer build"
            )));
        };
        if !success {
            return Err(Error::Schema(format!("step {version} was begun and not ended; restore the last backup")));
        }
        if *step.checksum != **checksum {
            return Err(Error::Schema(format!(
                "step {version} was taken from another file than this build's; start the build that made the database"
            )));
        }
    }
    Ok(all::<DB>().into_iter().filter(|step| taken.iter().all(|taken| taken.version != step.version)).collect())
}

/// All steps that this build knows.
pub(super) fn all<DB: Engine>() -> Vec<Step> {
    known::<DB>().map(|step| Step { version: step.version, name: step.description.to_string() }).collect()
}

fn known<DB: Engine>() -> impl Iterator<Item = &'static Migration> {
    DB::steps().iter().filter(|step| step.migration_type.is_up_migration())
}

#[derive(sqlx::FromRow)]
struct Count {
    tables: i64,
}

#[derive(sqlx::FromRow)]
struct Taken {
    version: i64,
    checksum: Vec<u8>,
    success: bool,
}

async fn taken<DB: Engine>(pool: &Pool<DB>) -> Result<Vec<Taken>, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let history: Vec<Count> = DB::fetch(&mut connection, Statement::new(DB::HISTORY_TABLES)).await?;
    if history.iter().all(|found| found.tables == 0) {
        return Ok(Vec::new());
    }
    let taken = "SELECT version, checksum, success FROM scale_records_migrations ORDER BY version";
    DB::fetch(&mut connection, Statement::new(taken)).await
}

/// Takes them; which ones.
///
/// # Errors
/// As [`missing`]; a step that fails is undone.
pub(super) async fn run<DB: Engine>(pool: &Pool<DB>) -> Result<Vec<Step>, Error> {
    let missing = missing(pool).await?;
    if !missing.is_empty() {
        DB::run_steps(pool).await.map_err(|error| explain::<DB>(&error))?;
    }
    Ok(missing)
}

/// Takes steps back until the schema is `version`, 0 being none.
///
/// # Errors
/// As [`missing`].
pub(super) async fn undo<DB: Engine>(pool: &Pool<DB>, version: i64) -> Result<(), Error> {
    missing(pool).await?;
    DB::undo_steps(pool, version).await.map_err(|error| explain::<DB>(&error))
}

fn explain<DB: Engine>(error: &MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) => DB::classify(error),
        MigrateError::ExecuteMigration(error, step) => match DB::classify(error) {
            Error::Internal(text) => Error::Schema(format!("step {step} failed and was undone: {text}")),
            other => other,
        },
        other => Error::Schema(other.to_string()),
    }
}
