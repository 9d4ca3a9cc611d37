//! Columns whose form is not the same in both databases, and rows as they are stored.

use std::collections::BTreeMap;
use std::fmt::Display;

use scale_proto::time::Timestamp;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgHasArrayType, Postgres};
use sqlx::sqlite::Sqlite;
use sqlx::{Database, Decode, Encode, FromRow, Type};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::Error;
use crate::domain::{
    Category, CategorySlug, CategorySource, Currency, Direction, FileHash, Fingerprint, JobId, JobStatus, Money,
    NewTransaction, Status, Text, TrainingJob, Transaction, TransactionId, Upload, UploadCounts, UploadId, UserId,
};

/// `jsonb` in Postgres, text in SQLite.
pub(super) type Json = sqlx::types::Json<serde_json::Value>;

/// A moment: milliseconds in SQLite, `timestamptz` in Postgres.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) Timestamp);

impl Type<Sqlite> for Moment {
    fn type_info() -> <Sqlite as Database>::TypeInfo {
        <i64 as Type<Sqlite>>::type_info()
    }

    fn compatible(found: &<Sqlite as Database>::TypeInfo) -> bool {
        <i64 as Type<Sqlite>>::compatible(found)
    }
}

impl Encode<'_, Sqlite> for Moment {
    fn encode_by_ref(&self, out: &mut <Sqlite as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        Encode::<Sqlite>::encode(i64::try_from(self.0.as_millis())?, out)
    }
}

impl<'r> Decode<'r, Sqlite> for Moment {
    fn decode(value: <Sqlite as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let millis = <i64 as Decode<'r, Sqlite>>::decode(value)?;
        Ok(Self(Timestamp::from_millis(millis.try_into()?)))
    }
}

impl Type<Postgres> for Moment {
    fn type_info() -> <Postgres as Database>::TypeInfo {
        <OffsetDateTime as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Moment {
    fn array_type_info() -> <Postgres as Database>::TypeInfo {
        <OffsetDateTime as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Moment {
    fn encode_by_ref(&self, out: &mut <Postgres as Database>::ArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let nanos = i128::from(self.0.as_millis()) * 1_000_000;
        Encode::<Postgres>::encode(OffsetDateTime::from_unix_timestamp_nanos(nanos)?, out)
    }
}

impl<'r> Decode<'r, Postgres> for Moment {
    fn decode(value: <Postgres as Database>::ValueRef<'r>) -> Result<Self, BoxDynError> {
        let moment = <OffsetDateTime as Decode<'r, Postgres>>::decode(value)?;
        Ok(Self(Timestamp::from_millis((moment.unix_timestamp_nanos() / 1_000_000).try_into()?)))
    }
}

/// For a stored value that cannot be: somebody else has written it.
pub(super) fn damaged(what: &'static str, problem: impl Display) -> Error {
    Error::Internal(format!("a stored row is damaged: {what}: {problem}"))
}

fn bytes<const N: usize>(what: &'static str, stored: &[u8]) -> Result<[u8; N], Error> {
    stored.try_into().map_err(|_| damaged(what, format_args!("{} bytes instead of {N}", stored.len())))
}

fn count(what: &'static str, stored: i64) -> Result<u64, Error> {
    u64::try_from(stored).map_err(|error| damaged(what, error))
}

/// Columns of [`TransactionRow`].
pub(super) const TRANSACTION: &str = "id, user_id, transaction_date, direction, amount_minor, currency, description, \
     merchant_name, category, category_source, payment_method, status, fingerprint, raw_data, created_at, updated_at";

#[derive(FromRow)]
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
    pub(super) fingerprint: Vec<u8>,
    pub(super) raw_data: Option<Json>,
    pub(super) created_at: Moment,
    pub(super) updated_at: Moment,
}

impl TryFrom<TransactionRow> for Transaction {
    type Error = Error;

    fn try_from(row: TransactionRow) -> Result<Self, Error> {
        let wrong = |invalid: crate::domain::Invalid| damaged(invalid.field, invalid.problem);
        fn text<const MAX: usize>(
            field: &'static str,
            stored: Option<String>,
        ) -> Result<Option<Text<MAX>>, crate::domain::Invalid> {
            stored.map(|text| Text::new(field, &text)).transpose()
        }
        // A source without a category: a person has said that there is none.
        let category = match (row.category, row.category_source) {
            (Some(slug), Some(source)) => {
                Some((CategorySlug::new(&slug).map_err(wrong)?, CategorySource::parse(&source).map_err(wrong)?))
            }
            _ => None,
        };
        let currency = Currency::new(&row.currency).map_err(wrong)?;
        Ok(Self {
            id: TransactionId(row.id),
            user_id: UserId(row.user_id),
            content: NewTransaction {
                transaction_date: row.transaction_date,
                direction: Direction::parse(&row.direction).map_err(wrong)?,
                money: Money::new(row.amount_minor, currency).map_err(wrong)?,
                description: Text::new("description", &row.description).map_err(wrong)?,
                merchant_name: text("merchant_name", row.merchant_name).map_err(wrong)?,
                category,
                payment_method: text("payment_method", row.payment_method).map_err(wrong)?,
                status: Status::parse(&row.status).map_err(wrong)?,
                fingerprint: Fingerprint(bytes("fingerprint", &row.fingerprint)?),
                raw_data: row.raw_data.map(|json| json.0),
            },
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        })
    }
}

/// Columns of [`UploadRow`].
pub(super) const UPLOAD: &str =
    "id, user_id, file_hash, filename, upload_type, inserted, skipped_duplicates, rejected, created_at";

#[derive(FromRow)]
pub(super) struct UploadRow {
    id: Uuid,
    user_id: Uuid,
    file_hash: Vec<u8>,
    filename: String,
    upload_type: String,
    inserted: i64,
    skipped_duplicates: i64,
    rejected: i64,
    created_at: Moment,
}

impl TryFrom<UploadRow> for Upload {
    type Error = Error;

    fn try_from(row: UploadRow) -> Result<Self, Error> {
        Ok(Self {
            id: UploadId(row.id),
            user_id: UserId(row.user_id),
            file_hash: FileHash(bytes("file_hash", &row.file_hash)?),
            filename: row.filename,
            upload_type: row.upload_type,
            counts: UploadCounts {
                inserted: count("inserted", row.inserted)?,
                skipped_duplicates: count("skipped_duplicates", row.skipped_duplicates)?,
                rejected: count("rejected", row.rejected)?,
            },
            created_at: row.created_at.0,
        })
    }
}

#[derive(FromRow)]
pub(super) struct CategoryRow {
    user_id: Option<Uuid>,
    slug: String,
    name: String,
}

impl TryFrom<CategoryRow> for Category {
    type Error = Error;

    fn try_from(row: CategoryRow) -> Result<Self, Error> {
        let slug = CategorySlug::new(&row.slug).map_err(|invalid| damaged("slug", invalid.problem))?;
        Ok(Self { slug, name: row.name, own: row.user_id.is_some() })
    }
}

/// Columns of [`JobRow`].
pub(super) const JOB: &str = "id, user_id, status, done_permille, model_type, credential_hash, round_id, metrics, \
     failure, model_version, created_at, updated_at";

#[derive(FromRow)]
pub(super) struct JobRow {
    id: Uuid,
    user_id: Uuid,
    status: String,
    done_permille: i64,
    model_type: String,
    credential_hash: Vec<u8>,
    round_id: Option<Uuid>,
    metrics: sqlx::types::Json<BTreeMap<String, f64>>,
    failure: Option<String>,
    model_version: Option<i64>,
    created_at: Moment,
    updated_at: Moment,
}

impl TryFrom<JobRow> for TrainingJob {
    type Error = Error;

    fn try_from(row: JobRow) -> Result<Self, Error> {
        Ok(Self {
            id: JobId(row.id),
            user_id: UserId(row.user_id),
            status: JobStatus::parse(&row.status).map_err(|invalid| damaged("status", invalid.problem))?,
            done_permille: u16::try_from(row.done_permille).map_err(|error| damaged("done_permille", error))?,
            model_type: row.model_type,
            credential_hash: bytes("credential_hash", &row.credential_hash)?,
            round_id: row.round_id,
            metrics: row.metrics.0,
            failure: row.failure,
            model_version: row.model_version.map(|version| count("model_version", version)).transpose()?,
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
        })
    }
}
