//! The schema's history: numbered up/down pairs, embedded in the binary, never edited once released. A database knows the
//! checksum of each step it has taken.

use std::borrow::Cow;

use sqlx::migrate::{MigrateError, Migration, Migrator};
use sqlx::{AssertSqlSafe, Pool, Sqlite};

use crate::database::Writer;
use crate::tx::{ANSWER_WITHIN, classify};
use crate::{Database, Engine, Error, sqlite};

/// A schema on both engines.
#[derive(Debug)]
pub struct Migrations {
    /// What `PRAGMA application_id` says in a SQLite file with this schema; the steps set it.
    pub application_id: i32,
    /// The table of the steps taken: in Postgres others may keep their history in the same database.
    pub history_table: &'static str,
    /// The steps on SQLite.
    pub sqlite: &'static Migrator,
    /// The steps on Postgres.
    pub postgres: &'static Migrator,
}

/// One step of a schema's history.
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

impl Migrations {
    /// All steps that this build knows.
    pub fn all(&self, engine: Engine) -> Vec<Step> {
        self.known(engine).map(|step| Step { version: step.version, name: step.description.to_string() }).collect()
    }

    /// The steps that the database has not taken.
    ///
    /// # Errors
    /// [`Error::Schema`] if it has taken one that this build does not know, or knows otherwise.
    pub async fn missing(&self, database: &Database) -> Result<Vec<Step>, Error> {
        let engine = database.engine();
        let taken = match tokio::time::timeout(ANSWER_WITHIN, self.taken(database)).await {
            Ok(taken) => taken.map_err(|error| classify(engine, &error))?,
            Err(_) => return Err(Error::Unavailable("no answer in time".to_owned())),
        };
        for (version, checksum, success) in &taken {
            let Some(step) = self.known(engine).find(|step| step.version == *version) else {
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
        let all = self.all(engine).into_iter();
        Ok(all.filter(|step| taken.iter().all(|(version, ..)| step.version != *version)).collect())
    }

    /// Takes the missing steps; which ones. Several processes at once wait for each other.
    ///
    /// # Errors
    /// As [`Self::missing`]; a step that fails is undone.
    pub async fn run(&self, database: &Database) -> Result<Vec<Step>, Error> {
        let missing = self.missing(database).await?;
        if !missing.is_empty() {
            match database.writer() {
                Writer::Sqlite(pool) => self.steps(Engine::Sqlite).run(pool).await,
                Writer::Postgres(pool) => self.steps(Engine::Postgres).run(pool).await,
            }
            .map_err(|error| explain(database.engine(), &error))?;
        }
        Ok(missing)
    }

    /// Takes steps back until the schema is `version`, 0 being none; what they held is lost.
    ///
    /// # Errors
    /// As [`Self::missing`].
    pub async fn undo(&self, database: &Database, version: i64) -> Result<(), Error> {
        self.missing(database).await?;
        match database.writer() {
            Writer::Sqlite(pool) => self.steps(Engine::Sqlite).undo(pool, version).await,
            Writer::Postgres(pool) => self.steps(Engine::Postgres).undo(pool, version).await,
        }
        .map_err(|error| explain(database.engine(), &error))
    }

    /// Ours says so. Empty ones become ours: also those whose steps were all taken back, of which the history is left.
    pub(crate) async fn refuse_foreign_file(&self, pool: &Pool<Sqlite>) -> Result<(), Error> {
        let sql = "SELECT (SELECT application_id FROM pragma_application_id),
                          (SELECT count(*) FROM sqlite_schema WHERE tbl_name <> $1)";
        let found = sqlx::query_as(sql).bind(self.history_table).fetch_one(pool).await;
        let (application, objects): (i64, i64) = found.map_err(|error| sqlite::not_opened(&error))?;
        if application == i64::from(self.application_id) || (application == 0 && objects == 0) {
            return Ok(());
        }
        Err(Error::Schema("the file is a SQLite database of something else; give another path".to_owned()))
    }

    fn known(&self, engine: Engine) -> impl Iterator<Item = &Migration> {
        self.migrator(engine).iter().filter(|step| step.migration_type.is_up_migration())
    }

    const fn migrator(&self, engine: Engine) -> &'static Migrator {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }

    /// The steps with our table for those taken.
    fn steps(&self, engine: Engine) -> Migrator {
        let steps = self.migrator(engine);
        Migrator {
            migrations: steps.migrations.clone(),
            table_name: Cow::Borrowed(self.history_table),
            ..Migrator::DEFAULT
        }
    }

    /// Version, checksum and success of the steps taken.
    async fn taken(&self, database: &Database) -> Result<Vec<(i64, Vec<u8>, bool)>, sqlx::Error> {
        let taken =
            AssertSqlSafe(format!("SELECT version, checksum, success FROM {} ORDER BY version", self.history_table));
        match database.writer() {
            Writer::Sqlite(pool) => {
                let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = $1";
                let tables: i64 = sqlx::query_scalar(sql).bind(self.history_table).fetch_one(pool).await?;
                if tables == 0 {
                    return Ok(Vec::new());
                }
                sqlx::query_as(taken).fetch_all(pool).await
            }
            Writer::Postgres(pool) => {
                // Prepared without a name, as through a pooler.
                let sql = "SELECT count(to_regclass($1))";
                let tables = sqlx::query_scalar(sql).bind(self.history_table).persistent(false);
                let tables: i64 = tables.fetch_one(pool).await?;
                if tables == 0 {
                    return Ok(Vec::new());
                }
                sqlx::query_as(taken).persistent(false).fetch_all(pool).await
            }
        }
    }
}

fn explain(engine: Engine, error: &MigrateError) -> Error {
    match error {
        MigrateError::Execute(error) => classify(engine, error),
        MigrateError::ExecuteMigration(error, step) => match classify(engine, error) {
            Error::Internal(text) => Error::Schema(format!("step {step} failed and was undone: {text}")),
            other => other,
        },
        other => Error::Schema(other.to_string()),
    }
}
