//! Published models. Rows are added and never changed, but for an account that is raised after a restore.

use scale_privacy::accounting::zcdp::Rho;
use scale_proto::ids::{ModelVersion, RoundId, TaskId};
use scale_proto::privacy::Privacy;
use scale_sql::{Row, sql};

use super::column::{bytes, get, maybe, moment, word};
use super::{StoreError, Tx};
use crate::rows::{ModelRow, Origin};
use crate::spent::Spent;

fn decode(row: &Row) -> Result<ModelRow, StoreError> {
    Ok(ModelRow {
        task: get(row, "task")?,
        version: get(row, "version")?,
        parent: maybe(row, "parent")?,
        round: maybe(row, "round")?,
        cohort: get(row, "cohort")?,
        digest: get(row, "digest")?,
        fingerprint: get(row, "fingerprint")?,
        bytes: get(row, "bytes")?,
        blob: get(row, "blob")?,
        optimizer_blob: maybe(row, "optimizer_blob")?,
        origin: word(row, "origin", Origin::parse)?,
        clip: maybe(row, "clip")?,
        spent: spent(row)?,
        created_at: get(row, "created_at")?,
    })
}

fn spent(row: &Row) -> Result<Option<Spent>, StoreError> {
    if row.is_null("privacy")? {
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
    /// Replaces a version's account: for who knows of rounds that no row tells of.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub(crate) async fn set_spent(
        &mut self,
        task: &TaskId,
        version: ModelVersion,
        spent: &Spent,
    ) -> Result<(), StoreError> {
        let update = sql("UPDATE models SET privacy = $3, counted_through = $4, noisy_rounds = $5, rho_aggregate = $6,
                 rho_alone = $7
             WHERE task = $1 AND version = $2")
        .bind(task.as_str())
        .bind(version.0)
        .bind(spent.mode)
        .bind(spent.through)
        .bind(spent.rounds)
        .bind(spent.aggregate.units())
        .bind(spent.alone.units());
        self.execute(update).await.map(drop)
    }

    /// Publishes a model. `false`: the version is there already, and nothing changed.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its round published another version, or task or round are not there.
    pub async fn insert_model(&mut self, row: &ModelRow) -> Result<bool, StoreError> {
        let query = sql("INSERT INTO models (task, version, parent, round, cohort, digest, fingerprint, bytes, blob,
                 optimizer_blob, origin, created_at, privacy, counted_through, noisy_rounds, rho_aggregate, rho_alone,
                 clip)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
             ON CONFLICT (task, version) DO NOTHING")
        .bind(row.task.as_str())
        .bind(row.version.0)
        .bind(row.parent.map(|version| version.0))
        .bind(row.round.map(|round| round.as_bytes().to_vec()))
        .bind(u64::from(row.cohort))
        .bind(bytes(&row.digest.0))
        .bind(bytes(&row.fingerprint.0))
        .bind(row.bytes)
        .bind(row.blob.as_str())
        .bind(row.optimizer_blob.as_deref())
        .bind(row.origin.as_str())
        .bind(moment(row.created_at))
        .bind(row.spent.map(|spent| spent.mode))
        .bind(row.spent.map(|spent| spent.through))
        .bind(row.spent.map(|spent| spent.rounds))
        .bind(row.spent.map(|spent| spent.aggregate.units()))
        .bind(row.spent.map(|spent| spent.alone.units()))
        .bind(row.clip);
        Ok(self.execute(query).await? == 1)
    }

    /// One version of a task's model.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn model(&mut self, task: &TaskId, version: ModelVersion) -> Result<Option<ModelRow>, StoreError> {
        let query = sql("SELECT * FROM models WHERE task = $1 AND version = $2").bind(task.as_str()).bind(version.0);
        self.one(query, decode).await
    }

    /// Every version of a task's model, newest first.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn models(&mut self, task: &TaskId) -> Result<Vec<ModelRow>, StoreError> {
        let query = sql("SELECT * FROM models WHERE task = $1 ORDER BY version DESC").bind(task.as_str());
        self.all(query, decode).await
    }

    /// The model that a round published.
    ///
    /// # Errors
    /// [`StoreError`] from the database.
    pub async fn model_of_round(&mut self, round: RoundId) -> Result<Option<ModelRow>, StoreError> {
        self.one(sql("SELECT * FROM models WHERE round = $1").bind(bytes(round.as_bytes())), decode).await
    }
}
