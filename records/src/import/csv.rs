//! Tables: which sign stands between cells, where the header is, and row after row.

use ::csv::{ReaderBuilder, StringRecord};

use super::cells::{Cells, Content, MAX_CELL_BYTES};
use super::columns::Columns;
use super::{FileError, RowError};

/// Signs that may stand between cells.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// The header is among so many first rows: banks write the account and the period above it.
const HEADER_WITHIN: usize = 40;
/// And within so many bytes.
const HEADER_WITHIN_BYTES: usize = 64 << 10;

/// What stands below the header.
#[derive(Debug)]
pub(super) struct Table<'a> {
    text: &'a str,
    delimiter: u8,
    /// Lines above `text`.
    above: u64,
    reader: ::csv::Reader<&'a [u8]>,
}

impl Clone for Table<'_> {
    /// From the first row again.
    fn clone(&self) -> Self {
        Self::below(self.text, self.delimiter, self.above)
    }
}

impl<'a> Table<'a> {
    /// Finds the header: the first row that names a date and an amount, with the delimiter that makes the most of it.
    pub(super) fn open(text: &'a str) -> Result<(Self, Columns), FileError> {
        let mut best: Option<Header<'a>> = None;
        for found in DELIMITERS.iter().filter_map(|delimiter| Self::header(text, *delimiter)) {
            if best.as_ref().is_none_or(|best| found.score > best.score) {
                best = Some(found);
            }
        }
        best.map(|header| (header.table, header.columns)).ok_or(FileError::Empty)
    }

    /// The best header with this delimiter; without any that is complete, the row that comes nearest.
    fn header(text: &'a str, delimiter: u8) -> Option<Header<'a>> {
        let mut end = text.len().min(HEADER_WITHIN_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut reader = reader(&text[..end], delimiter);
        let mut record = StringRecord::new();
        let mut best: Option<Header<'a>> = None;
        for _ in 0..HEADER_WITHIN {
            if !reader.read_record(&mut record).unwrap_or(false) {
                break;
            }
            if is_empty(&record) {
                continue;
            }
            // A row of too many cells may be none with another delimiter.
            let Ok(columns) = Columns::of(record.iter()) else { continue };
            let (fields, complete) = columns.recognized();
            let score = (complete, fields);
            if best.as_ref().is_none_or(|best| score > best.score) {
                let at = usize::try_from(reader.position().byte()).unwrap_or(end).min(end);
                let above = lines(&text[..at]);
                best = Some(Header { score, columns, table: Self::below(&text[at..], delimiter, above) });
            }
            if complete {
                break;
            }
        }
        best
    }

    fn below(text: &'a str, delimiter: u8, above: u64) -> Self {
        Self { text, delimiter, above, reader: reader(text, delimiter) }
    }

    /// The next row that is not empty; `false` at the end.
    pub(super) fn read(&mut self, cells: &mut Cells<'a>, columns: &Columns) -> bool {
        if !matches!(cells.content, Content::Csv(_)) {
            cells.content = Content::Csv(StringRecord::new());
        }
        let Content::Csv(record) = &mut cells.content else { return false };
        loop {
            let from = usize::try_from(self.reader.position().byte()).unwrap_or(self.text.len());
            let line = self.above + self.reader.position().line();
            // Invariant: the text is UTF-8 and rows may have any number of cells, so that every row can be read.
            if !self.reader.read_record(record).unwrap_or(false) {
                return false;
            }
            if is_empty(record) {
                continue;
            }
            // Empty lines before the row were passed over with it.
            let gap = self.text[from..].len() - self.text[from..].trim_start_matches(['\r', '\n']).len();
            cells.line = line + lines(&self.text[from..from + gap]);
            cells.refused = refusal(record, columns);
            return true;
        }
    }
}

/// A row that may be the header.
struct Header<'a> {
    score: (bool, usize),
    columns: Columns,
    table: Table<'a>,
}

fn reader(text: &str, delimiter: u8) -> ::csv::Reader<&[u8]> {
    ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes())
}

fn is_empty(record: &StringRecord) -> bool {
    record.iter().all(|cell| cell.trim().is_empty())
}

fn lines(text: &str) -> u64 {
    text.matches('\n').count() as u64
}

/// Why a row cannot be read whatever its cells say.
fn refusal(record: &StringRecord, columns: &Columns) -> Option<RowError> {
    let known = columns.len();
    if record.iter().skip(known).any(|cell| !cell.trim().is_empty()) {
        let problem = format!(
            "{} cells under {known} column names; is a cell with the delimiter in it, such as 1,50, not in quotes?",
            record.len()
        );
        return Some(RowError::new("row", problem));
    }
    let (place, bytes) = record.iter().map(str::len).enumerate().find(|(_, bytes)| *bytes > MAX_CELL_BYTES)?;
    let problem = format!("a cell of {bytes} bytes; at most {MAX_CELL_BYTES}. Is a quote missing at its end?");
    Some(RowError::new(if place < known { columns.name(place) } else { "row" }, problem))
}
