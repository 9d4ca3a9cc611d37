//! Between rows and values of the domain.

use std::collections::BTreeMap;

use scale_clock::Timestamp;
use scale_sql::{Moment, Row};
use time::Date;
use uuid::Uuid;

use super::Error;
use crate::domain::{
    Category, CategorySlug, CategorySource, Currency, Direction, FileHash, Fingerprint, Invalid, JobId, JobStatus,
    Money, NewTransaction, Status, Text, TrainingJob, Transaction, TransactionId, Upload, UploadCounts, UploadId,
    UserId,
};

/// Column `name`, a moment.
pub(super) fn moment(row: &Row, name: &str) -> Result<Timestamp, Error> {
    row.get::<Moment>(name).map(|moment| moment.0)
}

fn damaged(invalid: Invalid) -> Error {
    Error::corrupt(invalid.field, invalid.problem)
}

/// A transaction as it is stored.
pub(super) struct TransactionRow {
    pub(super) id: Uuid,
    pub(super) user_id: Uuid,
    pub(super) transaction_date: Date,
    pub(super) direction: String,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) description: String,
    pub(super) merchant_name: Option<String>,
    pub(super) category: Option<String>,
    pub(super) category_source: Option<String>,
    pub(super) payment_method: Option<String>,
    pub(super) status: String,
    pub(super) fingerprint: [u8; 32],
    pub(super) raw_data: Option<serde_json::Value>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

impl TryFrom<TransactionRow> for Transaction {
    type Error = Error;

    fn try_from(row: TransactionRow) -> Result<Self, Error> {
        fn text<const MAX: usize>(field: &'static str, stored: Option<String>) -> Result<Option<Text<MAX>>, Invalid> {
            stored.map(|text| Text::new(field, &text)).transpose()
        }
        // A source without a category: a person has said that there is none.
        let category = match (row.category, row.category_source) {
            (Some(slug), Some(source)) => {
                Some((CategorySlug::new(&slug).map_err(damaged)?, CategorySource::parse(&source).map_err(damaged)?))
            }
            _ => None,
        };
        let currency = Currency::new(&row.currency).map_err(damaged)?;
        Ok(Self {
            id: TransactionId(row.id),
            user_id: UserId(row.user_id),
            content: NewTransaction {
                transaction_date: row.transaction_date,
                direction: Direction::parse(&row.direction).map_err(damaged)?,
                money: Money::new(row.amount_minor, currency).map_err(damaged)?,
                description: Text::new("description", &row.description).map_err(damaged)?,
                merchant_name: text("merchant_name", row.merchant_name).map_err(damaged)?,
                category,
                payment_method: text("payment_method", row.payment_method).map_err(damaged)?,
                status: Status::parse(&row.status).map_err(damaged)?,
                fingerprint: Fingerprint(row.fingerprint),
                raw_data: row.raw_data,
            },
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

/// A row of `transactions`.
pub(super) fn transaction(row: &Row) -> Result<Transaction, Error> {
    Transaction::try_from(TransactionRow {
        id: row.get("id")?,
        user_id: row.get("user_id")?,
        transaction_date: row.get("transaction_date")?,
        direction: row.get("direction")?,
        amount_minor: row.get("amount_minor")?,
        currency: row.get("currency")?,
        description: row.get("description")?,
        merchant_name: row.get("merchant_name")?,
        category: row.get("category")?,
        category_source: row.get("category_source")?,
        payment_method: row.get("payment_method")?,
        status: row.get("status")?,
        fingerprint: row.get("fingerprint")?,
        raw_data: row.get("raw_data")?,
        created_at: moment(row, "created_at")?,
        updated_at: moment(row, "updated_at")?,
    })
}

/// A row of `uploaded_files`.
pub(super) fn upload(row: &Row) -> Result<Upload, Error> {
    Ok(Upload {
        id: UploadId(row.get("id")?),
        user_id: UserId(row.get("user_id")?),
        file_hash: FileHash(row.get("file_hash")?),
        filename: row.get("filename")?,
        upload_type: row.get("upload_type")?,
        counts: UploadCounts {
            inserted: row.get("inserted")?,
            skipped_duplicates: row.get("skipped_duplicates")?,
            rejected: row.get("rejected")?,
        },
        created_at: moment(row, "created_at")?,
    })
}

/// A row of `categories`.
pub(super) fn category(row: &Row) -> Result<Category, Error> {
    let slug = CategorySlug::new(row.text("slug")?).map_err(damaged)?;
    Ok(Category { slug, name: row.get("name")?, own: !row.is_null("user_id")? })
}

/// A row of `training_jobs`.
pub(super) fn job(row: &Row) -> Result<TrainingJob, Error> {
    let metrics: BTreeMap<String, f64> =
        serde_json::from_value(row.get("metrics")?).map_err(|error| Error::corrupt("metrics", error))?;
    Ok(TrainingJob {
        id: JobId(row.get("id")?),
        user_id: UserId(row.get("user_id")?),
        status: JobStatus::parse(row.text("status")?).map_err(damaged)?,
        done_permille: row.get("done_permille")?,
        model_type: row.get("model_type")?,
        credential_hash: row.get("credential_hash")?,
        round_id: row.get("round_id")?,
        metrics,
        failure: row.get("failure")?,
        model_version: row.get("model_version")?,
        created_at: moment(row, "created_at")?,
        updated_at: moment(row, "updated_at")?,
    })
}
