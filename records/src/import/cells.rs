//! One row's cells, whichever kind of file they come from.

use std::borrow::Cow;

use serde_json::Value;

use super::columns::Columns;
use super::{FileError, Kind, RowError, csv, json};

/// Largest cell that is read, in bytes.
pub(super) const MAX_CELL_BYTES: usize = 8 << 10;

/// A row, by the columns' places. Made once and filled again for every row.
#[derive(Debug, Default)]
pub(super) struct Cells<'a> {
    /// Where the row begins.
    pub(super) line: u64,
    /// Why the row cannot be read, cells or not.
    pub(super) refused: Option<RowError>,
    pub(super) content: Content<'a>,
}

/// The cells as they stand in the file.
#[derive(Debug)]
pub(super) enum Content<'a> {
    Csv(::csv::StringRecord),
    /// JSON texts, such as `"a"` or `12.5`; empty where the object has no such member.
    Json(Vec<&'a str>),
}

impl Default for Content<'_> {
    fn default() -> Self {
        Self::Json(Vec::new())
    }
}

impl Cells<'_> {
    /// A cell's text, without the gaps around it; empty if there is none.
    pub(super) fn text(&self, column: usize) -> Cow<'_, str> {
        match &self.content {
            Content::Csv(record) => record.get(column).unwrap_or_default().trim().into(),
            Content::Json(values) => json::text(values.get(column).copied().unwrap_or_default()),
        }
    }

    /// A cell as JSON; null if it is empty.
    ///
    /// # Errors
    /// If it is JSON that cannot be kept, such as 1e999.
    pub(super) fn value(&self, column: usize) -> Result<Value, serde_json::Error> {
        match &self.content {
            Content::Csv(_) => match self.text(column) {
                text if text.is_empty() => Ok(Value::Null),
                text => Ok(Value::String(text.into_owned())),
            },
            Content::Json(values) => match values.get(column) {
                None | Some(&"") => Ok(Value::Null),
                Some(value) => serde_json::from_str(value),
            },
        }
    }

    /// Whether programs wrote the numbers.
    pub(super) fn is_json(&self) -> bool {
        matches!(self.content, Content::Json(_))
    }

    /// All cells as they stand, for telling whether two rows are the same.
    pub(super) fn raw(&self) -> impl Iterator<Item = &str> {
        let (record, values) = match &self.content {
            Content::Csv(record) => (Some(record), &[][..]),
            Content::Json(values) => (None, values.as_slice()),
        };
        record.into_iter().flatten().chain(values.iter().copied()).map(str::trim)
    }
}

/// Where rows come from. A clone reads them again.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    Csv(csv::Table<'a>),
    Json(json::Objects<'a>),
}

impl<'a> Source<'a> {
    pub(super) fn open(text: &'a str, kind: Kind) -> Result<(Self, Columns), FileError> {
        match kind {
            Kind::Csv => csv::Table::open(text).map(|(table, columns)| (Self::Csv(table), columns)),
            Kind::Json => Ok((Self::Json(json::Objects::open(text)?), Columns::default())),
        }
    }

    /// The next row that is not empty; `false` at the end. JSON adds columns as it meets them.
    pub(super) fn read(&mut self, cells: &mut Cells<'a>, columns: &mut Columns) -> Result<bool, FileError> {
        match self {
            Self::Csv(table) => Ok(table.read(cells, columns)),
            Self::Json(objects) => objects.read(cells, columns),
        }
    }
}
