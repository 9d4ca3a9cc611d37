//! Imported files as JSON.

use scale_records::domain::{self, Currency, Direction, Invalid, Text};
use scale_records::import::{DateOrder, DecimalMark, Defaults};
use serde::{Deserialize, Serialize};
use time::Date;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::problem::{Fault, Problem};
use super::{moment, moment_schema, text, uuid_schema};

/// A file that was imported.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Upload<'a> {
    /// Its id.
    #[schema(schema_with = uuid_schema)]
    id: Uuid,
    /// SHA-256 of its bytes.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    file_hash: String,
    /// As the person's machine calls it.
    #[schema(example = "2026-02.csv")]
    filename: &'a str,
    /// What it is.
    #[schema(pattern = "^(csv|json)$", example = "csv")]
    upload_type: &'a str,
    /// Rows that became transactions.
    inserted: u64,
    /// Rows that were there already.
    skipped_duplicates: u64,
    /// Rows that could not be read as transactions.
    rejected: u64,
    /// When.
    #[schema(schema_with = moment_schema)]
    created_at: String,
}

impl<'a> From<&'a domain::Upload> for Upload<'a> {
    fn from(upload: &'a domain::Upload) -> Self {
        Self {
            id: upload.id.0,
            file_hash: hex::encode(upload.file_hash.0),
            filename: &upload.filename,
            upload_type: &upload.upload_type,
            inserted: upload.counts.inserted,
            skipped_duplicates: upload.counts.skipped_duplicates,
            rejected: upload.counts.rejected,
            created_at: moment(upload.created_at),
        }
    }
}

/// Files, newest first.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Uploads<'a> {
    /// The files.
    #[schema(max_items = 200)]
    pub(in crate::http) items: Vec<Upload<'a>>,
}

/// What became of a file.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Imported<'a> {
    /// The file.
    pub(in crate::http) upload: Upload<'a>,
    /// Whether it had been imported before: nothing has changed then, and the counts of that time are in `upload`.
    pub(in crate::http) already_imported: bool,
    /// Rows that became transactions.
    pub(in crate::http) inserted: u64,
    /// Rows that were there already, in the store or further up in the file.
    pub(in crate::http) skipped_duplicates: u64,
    /// Rows that could not be read as transactions.
    pub(in crate::http) rejected: u64,
    /// What is wrong with rejected rows; at most 100 are listed.
    #[schema(max_items = 100)]
    pub(in crate::http) errors: Vec<Fault>,
}

/// How to import a file, as far as the file does not say it itself.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ImportQuery {
    /// Keep the good rows of a file that has bad ones; otherwise one bad row refuses the file.
    partial: Option<bool>,
    /// The currency of rows that name none.
    #[param(pattern = "^[A-Z]{3}$", example = "EUR")]
    currency: Option<String>,
    /// The order of a date's numbers.
    #[param(pattern = "^(ymd|dmy|mdy)$", example = "ymd")]
    date_format: Option<String>,
    /// What stands before an amount's decimals.
    #[param(pattern = "^(point|comma)$", example = "point")]
    decimal: Option<String>,
    /// What amounts without a sign are; income, if not given.
    #[param(pattern = "^(credit|debit|income|expense)$", example = "debit")]
    direction: Option<String>,
    /// The file's name, when the body is the file itself.
    #[param(min_length = 1, max_length = 255, example = "2026-02.csv")]
    filename: Option<String>,
}

/// [`ImportQuery`], read.
#[derive(Debug)]
pub(in crate::http) struct ImportOptions {
    pub(in crate::http) partial: bool,
    pub(in crate::http) defaults: Defaults,
    pub(in crate::http) filename: Option<Text<255>>,
}

impl ImportQuery {
    pub(in crate::http) fn read(self, today: Date) -> Result<ImportOptions, Problem> {
        let read = || {
            Ok::<_, Invalid>(ImportOptions {
                partial: self.partial.unwrap_or(false),
                defaults: Defaults {
                    today,
                    currency: self.currency.as_deref().map(Currency::new).transpose()?,
                    date_format: self.date_format.as_deref().map(DateOrder::parse).transpose()?,
                    decimal: self.decimal.as_deref().map(DecimalMark::parse).transpose()?,
                    direction: self.direction.as_deref().map(Direction::parse).transpose()?,
                },
                filename: self.filename.as_deref().map(|name| text("filename", name)).transpose()?,
            })
        };
        read().map_err(|invalid| Problem::malformed("malformed_query", invalid.to_string()))
    }
}
