//! Why a file, or a row of it, cannot be read. Sentences are for the person who has the file.

use crate::domain::Invalid;

/// Why no row of a file can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Another encoding, or no text at all.
    #[error(
        "line {line}: not UTF-8 text; save the file as UTF-8 (in a spreadsheet program: save as \"CSV UTF-8\") and try again"
    )]
    NotUtf8 {
        /// Where the first wrong byte is.
        line: u64,
    },
    /// No rows.
    #[error("the file has no rows; a CSV file needs a header line and at least one more, a JSON file one object")]
    Empty,
    /// Not the JSON that is expected.
    #[error("line {line}: {problem}")]
    Json {
        /// Where.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// A column that every transaction needs is not there, as far as the names tell.
    #[error("no column for the {missing}; name one of: {names} (the columns are: {found})")]
    MissingColumn {
        /// What it would hold.
        missing: &'static str,
        /// Names that would be understood.
        names: String,
        /// Names that are there.
        found: String,
    },
    /// Two columns of one name, where it matters which.
    #[error("two columns are named {name}; rename or remove one")]
    DuplicateColumn {
        /// The name.
        name: String,
    },
    /// More columns than any bank writes.
    #[error("more than {} columns; is this a list of transactions?", super::columns::MAX_COLUMNS)]
    TooManyColumns,
    /// Nothing says which currency the amounts are in.
    #[error("no currency: add a column named currency with codes such as EUR, or give `currency`")]
    NoCurrency,
    /// Day and month can be told apart nowhere.
    #[error("line {line}: {column} may have the day or the month first; give `date_format`: dmy or mdy")]
    AmbiguousDates {
        /// The first such cell.
        line: u64,
        /// The column's name.
        column: String,
    },
    /// Some dates have the day first, others the month.
    #[error(
        "{column} has the day first in line {day_first} and the month first in line {month_first}; \
         give `date_format`: dmy or mdy, and correct the others"
    )]
    MixedDates {
        /// The column's name.
        column: String,
        /// The first cell that has the day first.
        day_first: u64,
        /// The first that has the month first.
        month_first: u64,
    },
    /// Thousands and decimals can be told apart nowhere.
    #[error("line {line}: {column} may be thousands or have three decimals; give `decimal`: point or comma")]
    AmbiguousAmounts {
        /// The first such cell.
        line: u64,
        /// The column's name.
        column: String,
    },
    /// Some amounts have a point before decimals, others a comma.
    #[error(
        "amounts have a decimal point in line {point} and a decimal comma in line {comma}; \
         give `decimal`: point or comma, and correct the others"
    )]
    MixedAmounts {
        /// The first cell with a decimal point.
        point: u64,
        /// The first with a decimal comma.
        comma: u64,
    },
}

impl FileError {
    /// One stable word per kind, for logs, metrics and answers.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotUtf8 { .. } => "not_utf8",
            Self::Empty => "empty_file",
            Self::Json { .. } => "malformed_json",
            Self::MissingColumn { .. } => "missing_column",
            Self::DuplicateColumn { .. } => "duplicate_column",
            Self::TooManyColumns => "too_many_columns",
            Self::NoCurrency => "no_currency",
            Self::AmbiguousDates { .. } => "ambiguous_dates",
            Self::MixedDates { .. } => "mixed_dates",
            Self::AmbiguousAmounts { .. } => "ambiguous_amounts",
            Self::MixedAmounts { .. } => "mixed_amounts",
        }
    }

    /// The line it was found on, if it is one line's fault.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::NotUtf8 { line }
            | Self::Json { line, .. }
            | Self::AmbiguousDates { line, .. }
            | Self::AmbiguousAmounts { line, .. } => Some(*line),
            _ => None,
        }
    }
}

/// Why a row is no transaction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{column}: {problem}")]
pub struct RowError {
    /// The column's name in the file, or the field's where no column has it.
    pub column: String,
    /// What is wrong and what would be right; never what the cell says.
    pub problem: String,
}

impl RowError {
    pub(super) fn new(column: &str, problem: impl Into<String>) -> Self {
        Self { column: column.to_owned(), problem: problem.into() }
    }

    /// A field's own refusal, under the column's name.
    pub(super) fn invalid(column: &str, invalid: Invalid) -> Self {
        Self::new(column, invalid.problem)
    }
}
