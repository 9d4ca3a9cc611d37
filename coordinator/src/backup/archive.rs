//! The file of a backup: lines of JSON, and blobs as they are behind the line that announces them.
//!
//! ```text
//! {"scale_backup":1,"made_at":1764585600000,"engine":"sqlite","schema":"0007 replicas","build":"0.1.0"}
//! {"table":"tasks","columns":["id","config", ...]}
//! ["merchants","{...}", ...]
//! {"blob":"models/merchants/00000001-9f2c.safetensors","bytes":15,"sha256":"..."}
//! (15 bytes and a line feed)
//! {"secrets":"..."}
//! {"rows":1,"blobs":1,"sha256":"..."}
//! ```
//!
//! Byte strings of rows are hexadecimal, numbers with a fraction are texts. The last line has the digest of all bytes
//! before it: a file that was cut or altered anywhere is known by it.

use std::io::{self, BufRead, Read, Write};

use bytes::Bytes;
use ring::digest::{Context, SHA256};
use scale_proto::ids::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Error;
use crate::blobs::BlobPath;
use crate::store::tables::{Cell, Kind, Table};

/// The form that this build writes, and reads.
const FORMAT: u32 = 1;
/// No line is longer: a message is some megabytes at most.
const LONGEST_LINE: u64 = 256 << 20;
/// No blob is longer: the object store takes no more in one piece.
const LONGEST_BLOB: u64 = 5 << 30;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    scale_backup: u32,
    /// When the rows were read, in milliseconds since 1970.
    pub made_at: u64,
    /// The database that they were in: `sqlite` or `postgres`.
    pub engine: String,
    /// The last step of its schema.
    pub schema: String,
    /// The build that made the backup.
    pub build: String,
}

impl Header {
    pub(super) fn new(made_at: u64, engine: &str, schema: String) -> Self {
        let build = env!("CARGO_PKG_VERSION").to_owned();
        Self { scale_backup: FORMAT, made_at, engine: engine.to_owned(), schema, build }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableLine {
    table: String,
    columns: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlobLine {
    blob: String,
    bytes: u64,
    #[serde(with = "hex::serde")]
    sha256: [u8; 32],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretsLine {
    secrets: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    rows: u64,
    blobs: u64,
    #[serde(with = "hex::serde")]
    sha256: [u8; 32],
}

/// Any line but the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Row(Vec<Value>),
    Table(TableLine),
    Blob(BlobLine),
    Secrets(SecretsLine),
    End(EndLine),
}

/// A part of a backup, in the order of the file.
#[derive(Debug)]
pub(super) enum Item {
    /// A row of this table.
    Row(&'static Table, Vec<Cell>),
    /// A blob, its digest checked.
    Blob(String, Bytes),
    /// The text of `secrets.json`.
    Secrets(zeroize::Zeroizing<String>),
}

/// Writes a backup.
pub(super) struct Writer<W: Write> {
    out: W,
    digest: Context,
    rows: u64,
    blobs: u64,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut writer = Self { out, digest: Context::new(&SHA256), rows: 0, blobs: 0 };
        writer.line(header)?;
        Ok(writer)
    }

    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.out.write_all(bytes)
    }

    fn line(&mut self, line: &impl Serialize) -> io::Result<()> {
        let mut text = zeroize::Zeroizing::new(serde_json::to_vec(line)?);
        text.push(b'\n');
        self.bytes(&text)
    }

    pub(super) fn table(&mut self, table: &Table) -> io::Result<()> {
        let columns = table.columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        self.line(&TableLine { table: table.name.to_owned(), columns })
    }

    pub(super) fn row(&mut self, row: &[Cell]) -> io::Result<()> {
        self.rows += 1;
        self.line(&row.iter().map(to_json).collect::<Vec<_>>())
    }

    pub(super) fn blob(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.blobs += 1;
        let line = BlobLine { blob: name.to_owned(), bytes: content.len() as u64, sha256: Digest::of(content).0 };
        self.line(&line)?;
        self.bytes(content)?;
        self.bytes(b"\n")
    }

    pub(super) fn secrets(&mut self, text: &str) -> io::Result<()> {
        self.line(&SecretsLine { secrets: text.to_owned() })
    }

    /// Writes the last line; what was written to.
    pub(super) fn end(mut self) -> io::Result<W> {
        let sha256 = digest(&self.digest);
        let (rows, blobs) = (self.rows, self.blobs);
        self.line(&EndLine { rows, blobs, sha256 })?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// Reads a backup from its first line to its last. What it gives out is whole; whether the file is, says the end.
pub(super) struct Reader<R: BufRead> {
    input: R,
    /// Of all lines before the one that is read.
    digest: Context,
    rows: u64,
    blobs: u64,
    lines: u64,
    table: Option<&'static Table>,
    over: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// [`Error::NotABackup`], [`Error::OtherFormat`], [`Error::File`].
    pub(super) fn new(input: R) -> Result<(Self, Header), Error> {
        let digest = Context::new(&SHA256);
        let mut reader = Self { input, digest, rows: 0, blobs: 0, lines: 0, table: None, over: false };
        // A foreign file may have no lines.
        let text = reader.text(64 << 10).map_err(|error| match error {
            Error::Damaged { .. } => Error::NotABackup,
            other => other,
        })?;
        let value: Value = serde_json::from_slice(&text).map_err(|_| Error::NotABackup)?;
        let format = value.get("scale_backup").and_then(Value::as_u64).ok_or(Error::NotABackup)?;
        if format != u64::from(FORMAT) {
            return Err(Error::OtherFormat { found: format, known: FORMAT });
        }
        let header: Header =
            serde_json::from_value(value).map_err(|_| reader.damaged("its first line is not whole"))?;
        reader.digest.update(&text);
        Ok((reader, header))
    }

    /// The next part; `None` behind the last, when the whole file was as it was written.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::OtherSchema`], [`Error::File`].
    pub(super) fn next(&mut self) -> Result<Option<Item>, Error> {
        while !self.over {
            let text = zeroize::Zeroizing::new(self.text(LONGEST_LINE)?);
            let line = serde_json::from_slice(&text).map_err(|_| self.damaged("a line is of no known form"))?;
            if let Line::End(end) = line {
                return self.end(&end).map(|()| None);
            }
            self.digest.update(&text);
            match line {
                Line::Table(line) => self.begin(&line)?,
                Line::Row(cells) => return self.row(cells).map(Some),
                Line::Blob(line) => return self.blob(line).map(Some),
                Line::Secrets(line) => return Ok(Some(Item::Secrets(zeroize::Zeroizing::new(line.secrets)))),
                Line::End(_) => {}
            }
        }
        Ok(None)
    }

    fn begin(&mut self, line: &TableLine) -> Result<(), Error> {
        let known = Table::named(&line.table);
        let same = known.filter(|table| table.columns.iter().map(|(name, _)| *name).eq(line.columns.iter()));
        self.table = Some(same.ok_or_else(|| Error::OtherSchema { table: line.table.clone() })?);
        Ok(())
    }

    fn row(&mut self, cells: Vec<Value>) -> Result<Item, Error> {
        let table = self.table.ok_or_else(|| self.damaged("a row belongs to no table"))?;
        self.rows += 1;
        let row: Option<Vec<Cell>> = (cells.len() == table.columns.len())
            .then(|| table.columns.iter().zip(cells).map(|((_, kind), value)| from_json(*kind, value)).collect())
            .flatten();
        Ok(Item::Row(table, row.ok_or_else(|| self.damaged("a row has other values than its table"))?))
    }

    fn blob(&mut self, line: BlobLine) -> Result<Item, Error> {
        BlobPath::parse(&line.blob).map_err(|_| self.damaged("a blob has a name that none can have"))?;
        if line.bytes > LONGEST_BLOB {
            return Err(self.damaged("a blob is longer than any can be"));
        }
        self.blobs += 1;
        let mut content = Vec::new();
        self.input.by_ref().take(line.bytes + 1).read_to_end(&mut content)?;
        self.digest.update(&content);
        if content.pop() != Some(b'\n') || content.len() as u64 != line.bytes {
            return Err(self.damaged("it ends in the middle of a blob"));
        }
        if Digest::of(&content).0 != line.sha256 {
            return Err(self.damaged(&format!("blob {} has another digest", line.blob)));
        }
        Ok(Item::Blob(line.blob, content.into()))
    }

    fn end(&mut self, end: &EndLine) -> Result<(), Error> {
        self.over = true;
        if digest(&self.digest) != end.sha256 || (self.rows, self.blobs) != (end.rows, end.blobs) {
            return Err(self.damaged("its digest is another one"));
        }
        if !self.input.fill_buf()?.is_empty() {
            return Err(self.damaged("something follows its last line"));
        }
        Ok(())
    }

    /// A line with its end.
    fn text(&mut self, most: u64) -> Result<Vec<u8>, Error> {
        self.lines += 1;
        let mut text = Vec::new();
        self.input.by_ref().take(most).read_until(b'\n', &mut text)?;
        if text.last() == Some(&b'\n') { Ok(text) } else { Err(self.damaged("it ends before its last line")) }
    }

    fn damaged(&self, problem: &str) -> Error {
        Error::Damaged { line: self.lines, problem: problem.to_owned() }
    }
}

fn digest(context: &Context) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.clone().finish().as_ref());
    bytes
}

fn to_json(cell: &Cell) -> Value {
    match cell {
        Cell::Int(value) => (*value).into(),
        // All digits, which JSON readers do not promise.
        Cell::Real(value) => value.map(|value| format!("{value:?}")).into(),
        Cell::Text(value) => value.clone().into(),
        Cell::Bytes(value) => value.as_ref().map(hex::encode).into(),
    }
}

fn from_json(kind: Kind, value: Value) -> Option<Cell> {
    Some(match (kind, value) {
        (Kind::Int, Value::Null) => Cell::Int(None),
        (Kind::Real, Value::Null) => Cell::Real(None),
        (Kind::Text, Value::Null) => Cell::Text(None),
        (Kind::Bytes, Value::Null) => Cell::Bytes(None),
        (Kind::Int, Value::Number(number)) => Cell::Int(Some(number.as_i64()?)),
        (Kind::Real, Value::String(text)) => Cell::Real(Some(text.parse().ok()?)),
        (Kind::Text, Value::String(text)) => Cell::Text(Some(text)),
        (Kind::Bytes, Value::String(text)) => Cell::Bytes(Some(hex::decode(text).ok()?)),
        _ => return None,
    })
}
