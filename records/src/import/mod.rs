//! A bank's file, CSV or JSON, read row by row into transactions.
//!
//! Pure: bytes in, rows out, no clock and no store. The file is read twice. The first reading decides, once for each
//! whole column, what a single cell cannot say: which of `01/02/2026` is the day, and whether `1.234` is a thousand or
//! a little more than one. What stays open is an error that names the option that settles it; nothing is guessed row by
//! row. The second reading is the iterator. Memory: the file itself, one row, and at most some 80 bytes for each row
//! that has been read, to know its equals again.
//!
//! | step | where |
//! | --- | --- |
//! | bytes to text: UTF-8 only | [`Reader::open`] |
//! | text to cells | `csv.rs`, `json.rs` |
//! | which column is what, by its name | `columns.rs` |
//! | how dates and amounts are written | `date.rs`, `amount.rs` |
//! | cells to a transaction | `row.rs` |
//! | which equal rows are the same transaction | `equals.rs` |
//!
//! Text is data: a cell such as `=1+1` is stored as it is. Whoever writes cells into a spreadsheet's file again must
//! escape them there, where they could do harm.

mod amount;
mod cells;
mod columns;
mod csv;
mod date;
mod equals;
mod error;
mod json;
mod row;
#[cfg(test)]
mod tests;
mod words;

use time::Date;

pub use self::amount::DecimalMark;
use self::cells::{Cells, Source};
use self::columns::{Columns, Layout};
pub use self::date::DateOrder;
use self::equals::Equals;
pub use self::error::{FileError, RowError};
use crate::domain::{Currency, Direction, NewTransaction};

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A table with a header line; comma, semicolon, tab or bar between cells. Lines before the header are passed over.
    Csv,
    /// An array of flat objects, or an object that has one as `transactions`.
    Json,
}

/// What the person says about a file that the file does not say itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The present day: a transaction more than a year later is refused.
    pub today: Date,
    /// Of rows that name none.
    pub currency: Option<Currency>,
    /// How dates are written; `None`: found out.
    pub date_format: Option<DateOrder>,
    /// What stands before decimals; `None`: found out.
    pub decimal: Option<DecimalMark>,
    /// What amounts without a sign are, in a file that has neither signs nor a column that says; `None`: income, as on
    /// a statement.
    pub direction: Option<Direction>,
}

impl Defaults {
    /// Nothing said.
    pub fn new(today: Date) -> Self {
        Self { today, currency: None, date_format: None, decimal: None, direction: None }
    }
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Where it begins, from 1.
    pub line: u64,
    /// The transaction, or why it is none. Two rows that are the same transaction have the same fingerprint.
    pub result: Result<NewTransaction, RowError>,
}

/// Reads a file's rows; empty ones are passed over.
#[derive(Debug)]
pub struct Reader<'a> {
    source: Source<'a>,
    cells: Cells<'a>,
    columns: Columns,
    layout: Layout,
    equals: Equals,
}

impl<'a> Reader<'a> {
    /// Reads the file once and decides what its columns are and how they are written.
    ///
    /// # Errors
    /// If no row of it can be read with certainty; what is wrong with single rows comes with the row.
    pub fn open(bytes: &'a [u8], kind: Kind, defaults: &Defaults) -> Result<Self, FileError> {
        let text = utf8(bytes)?;
        let (source, mut columns) = Source::open(text, kind)?;
        let mut survey = source.clone();
        let mut cells = Cells::default();
        let mut rows = 0_u64;
        while survey.read(&mut cells, &mut columns)? {
            rows += 1;
            columns.survey(&cells);
        }
        if columns.len() == 0 {
            return Err(FileError::Empty);
        }
        let layout = Layout::decide(&columns, defaults)?;
        if rows == 0 {
            return Err(FileError::Empty);
        }
        Ok(Self { source, cells, columns, layout, equals: Equals::default() })
    }
}

impl Iterator for Reader<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        // Invariant: the first reading has met whatever is wrong with the file as a whole.
        if !self.source.read(&mut self.cells, &mut self.columns).ok()? {
            return None;
        }
        let line = self.cells.line;
        let result = row::read(&self.cells, &self.columns, &self.layout, &mut self.equals);
        Some(Row { line, result })
    }
}

/// Most tools write UTF-8 if asked. The older encodings cannot be told apart with certainty (0xB1 is `±` in one and `ą`
/// in another), and a wrong guess would spoil names for good, so they are refused.
fn utf8(bytes: &[u8]) -> Result<&str, FileError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(FileError::NotUtf8 { line: 1 });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let lines = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        FileError::NotUtf8 { line: lines as u64 + 1 }
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}
