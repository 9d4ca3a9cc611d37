//! Published models. Rows are added and never changed.

use scale_privacy::accounting::zcdp::Rho;
use scale_proto::ids::{ModelVersion, RoundId, TaskId};
use scale_proto::privacy::Privacy;
use sqlx::sqlite::SqliteRow;

use super::column::{blob, get, int, moment, raw, word};
use super::{StoreError, Tx};
use crate::rows::{ModelRow, Origin};
use crate::spent::Spent;

fn decode(row: &SqliteRow) -> Result<ModelRow, StoreError> {
    Ok(ModelRow {
        task: get(row, "task")?,
        version: get(row, "version")?,
        parent: get(row, "parent")?,
        round: get(row, "round")?,
        cohort: get(row, "cohort")?,
        digest: get(row, "digest")?,
        fingerprint: get(row, "fingerprint")?,
        bytes: get(row, "bytes")?,
        blob: get(row, "blob")?,
        optimizer_blob: get(row, "optimizer_blob")?,
        origin: word(row, "origin", Origin::parse)?,
        clip: raw(row, "clip")?,
        spent: spent(row)?,
        created_at: get(row, "created_at")?,
    })
}

fn spent(row: &SqliteRow) -> Result<Option<Spent>, StoreError> {
    if raw::<Option<&str>>(row, "privacy")?.is_none() {
        return Ok(None);
    }
    Ok(Some(Spent {
        mode: word(row, "privacy", |text| Privacy::MODES.into_iter().find(|&mode| mode == text))?,
        through: get(row, "counted_through")?,
        rounds: get(row, "noisy_rounds")?,
        aggregate: Rho::from_units(get(row, "rho_aggregate")?),
        alone: Rho::from_units(get(row, "rho_alone")?),
    }))
}

impl Tx {
    /// Publishes a model. `false`: the version is there already, and nothing changed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its round published another version, or task or round are not there.
    pub async fn insert_model(&mut self, row: &ModelRow) -> Result<bool, StoreError> {
        let query = sqlx::query(
            "INSERT INTO models (task, version, parent, round, cohort, digest, fingerprint, bytes, blob,
                 optimizer_blob, origin, created_at, privacy, counted_through, noisy_rounds, rho_aggregate, rho_alone,
                 clip)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)
             ON CONFLICT (task, version) DO NOTHING",
        )
        .bind(row.task.as_str().to_owned())
        .bind(int(row.version.0))
        .bind(row.parent.map(|version| int(version.0)))
        .bind(row.round.map(|round| blob(round.as_bytes())))
        .bind(i64::from(row.cohort))
        .bind(blob(&row.digest.0))
        .bind(blob(&row.fingerprint.0))
        .bind(int(row.bytes))
        .bind(row.blob.clone())
        .bind(row.optimizer_blob.clone())
        .bind(row.origin.as_str())
        .bind(moment(row.created_at))
        .bind(row.spent.map(|spent| spent.mode))
        .bind(row.spent.map(|spent| int(spent.through)))
        .bind(row.spent.map(|spent| int(spent.rounds)))
        .bind(row.spent.map(|spent| int(spent.aggregate.units())))
        .bind(row.spent.map(|spent| int(spent.alone.units())))
        .bind(row.clip);
        Ok(self.execute(query).await? == 1)
    }

    /// One version of a task's model.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn model(&mut self, task: &TaskId, version: ModelVersion) -> Result<Option<ModelRow>, StoreError> {
        let query = sqlx::query("SELECT * FROM models WHERE task = ?1 AND version = ?2")
            .bind(task.as_str().to_owned())
            .bind(int(version.0));
        self.one(query, decode).await
    }

    /// Every version of a task's model, newest first.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn models(&mut self, task: &TaskId) -> Result<Vec<ModelRow>, StoreError> {
        let query =
            sqlx::query("SELECT * FROM models WHERE task = ?1 ORDER BY version DESC").bind(task.as_str().to_owned());
        self.all(query, decode).await
    }

    /// The model that a round published.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn model_of_round(&mut self, round: RoundId) -> Result<Option<ModelRow>, StoreError> {
        self.one(sqlx::query("SELECT * FROM models WHERE round = ?1").bind(blob(round.as_bytes())), decode).await
    }
}
