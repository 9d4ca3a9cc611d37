//! Putting a backup back: all of it, or nothing.
//!
//! The file is read three times: to check every digest before anything is written; for its blobs, which nobody looks for
//! before rows name them; and for its rows, which come in one transaction and in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufReader, Seek as _};
use std::path::Path;

use bytemuck::TransparentWrapper as _;
use scale_clock::Timestamp;
use scale_proto::ids::{Digest, TaskId};
use scale_sql::Access;
use zeroize::Zeroizing;

use super::Error;
use super::after::{self, After};
use super::archive::{Header, Item, Reader};
use super::named::{self, Named};
use crate::auth::files::write_private;
use crate::auth::secrets::{FILE, Secrets};
use crate::blobs::{Blobs, Put};
use crate::store::tables::{Cell, Table};
use crate::store::{IdentityRow, Store, StoreError, Tx};

/// Rows of one statement, and bytes of all of them at most.
const ROWS: usize = 200;
/// See [`ROWS`].
const BYTES: usize = 1 << 20;

/// A backup that is whole.
#[derive(Debug)]
pub struct Checked {
    file: File,
    /// What it says of itself.
    pub header: Header,
    /// Rows.
    pub rows: u64,
    /// Blobs.
    pub blobs: u64,
    /// Which secrets its rows belong to; `None`: no coordinator has started on them.
    pub identity: Option<IdentityRow>,
    secrets: Option<Zeroizing<String>>,
}

/// Where a backup is put.
#[derive(Debug)]
pub struct Target<'p> {
    /// Rows; all tables are empty.
    pub store: &'p Store,
    /// Blobs.
    pub blobs: &'p Blobs,
    /// The data folder, for `secrets.json`.
    pub folder: &'p Path,
    /// The time, where the database has no clock.
    pub now: Timestamp,
    /// Rounds after the backup that are added to the accounts of tasks.
    pub lost_rounds: BTreeMap<TaskId, u32>,
}

/// What is there after a restore.
#[derive(Clone, Debug, PartialEq)]
pub struct Restored {
    /// What the backup says of itself.
    pub header: Header,
    /// Rows.
    pub rows: u64,
    /// Blobs.
    pub blobs: u64,
    /// Which secrets the rows belong to.
    pub identity: Option<IdentityRow>,
    /// Whether they are in the data folder.
    pub secrets: SecretsAfter,
    /// What has to be said.
    pub after: After,
}

/// What is known of the secrets after a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretsAfter {
    /// They were in the backup, and are in the data folder now.
    Restored,
    /// They were in the data folder already.
    There,
    /// They are in neither: nothing starts before they are put into the data folder.
    Missing,
}

/// Reads a backup from its first line to its last and checks every digest, and that it has every blob that its rows name.
/// Writes nothing.
///
/// # Errors
/// [`Error::NotABackup`], [`Error::OtherFormat`], [`Error::OtherSchema`], [`Error::Damaged`], [`Error::File`].
pub fn check(path: &Path) -> Result<Checked, Error> {
    let file = File::open(path)?;
    let (mut reader, header) = Reader::new(BufReader::new(&file))?;
    let (mut named, mut found, mut identity, mut secrets) = (named::Blobs::default(), BTreeSet::new(), None, None);
    let (mut rows, mut blobs) = (0, 0);
    let damaged = |problem: &str| Error::Damaged { line: 0, problem: problem.to_owned() };
    while let Some(item) = reader.next()? {
        match item {
            Item::Row(table, row) => {
                rows += 1;
                let row = Named { table, row: &row };
                named.see(&row);
                if table.name == "identity" {
                    identity = identity_of(&row);
                }
            }
            Item::Blob(name, content) => {
                blobs += 1;
                if let Some(Some(digest)) = named.kept.get(&name)
                    && Digest::of(&content).0 != *digest
                {
                    return Err(damaged("a model is not the one that its row describes"));
                }
                found.insert(name);
            }
            Item::Secrets(text) => {
                let parsed = Secrets::parse(text.as_bytes(), path)?;
                if identity.is_some_and(|identity| identity != parsed.identity()) {
                    return Err(damaged("its secrets are not those of its rows"));
                }
                secrets = Some(text);
            }
        }
    }
    if named.all() != found.iter().map(String::as_str).collect() {
        return Err(damaged("it has not the blobs that its rows name"));
    }
    Ok(Checked { file, header, rows, blobs, identity, secrets })
}

fn identity_of(row: &Named<'_>) -> Option<IdentityRow> {
    let key = |column| row.bytes(column)?.try_into().ok();
    Some(IdentityRow { task_key: key("task_key")?, token_hash: key("token_hash")? })
}

impl Checked {
    /// Puts the backup into an empty place. `progress` hears how many rows and blobs are written, of how many.
    ///
    /// # Errors
    /// [`Error`]; the place has no rows then, unless a database went away while it was keeping them: they are all there, or
    /// none of them is.
    pub async fn restore(
        self,
        place: Target<'_>,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<Restored, Error> {
        if let Some(table) = place.store.read("empty", |tx| Box::pin(async move { tx.table_in_use().await })).await? {
            return Err(Error::DatabaseInUse(table));
        }
        let there = Secrets::load(place.folder)?;
        if let (Some(there), Some(identity)) = (&there, self.identity)
            && there.identity() != identity
        {
            return Err(Error::OtherSecrets(place.folder.to_owned()));
        }
        let mut written = Written::default();
        let secrets = match (&there, &self.secrets) {
            (Some(_), _) => SecretsAfter::There,
            (None, Some(_)) => SecretsAfter::Restored,
            (None, None) => SecretsAfter::Missing,
        };
        let result = self.put(&place, &mut written, there.is_none(), progress).await;
        match result {
            Ok(after) => Ok(Restored {
                header: self.header,
                rows: self.rows,
                blobs: self.blobs,
                identity: self.identity,
                secrets,
                after,
            }),
            Err(error) => {
                written.undo(&place).await;
                Err(error)
            }
        }
    }

    async fn put(
        &self,
        place: &Target<'_>,
        written: &mut Written,
        no_secrets: bool,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<After, Error> {
        let all = self.rows + self.blobs;
        let mut done = 0;
        let mut reader = self.reader()?;
        while let Some(item) = reader.next()? {
            let Item::Blob(name, content) = item else { continue };
            match place.blobs.put_new(&name, content.clone()).await? {
                Put::Created => written.blobs.push(name),
                // Of a restore that a crash ended, or of this very call.
                Put::Exists if place.blobs.get(&name).await? == Some(content) => {}
                Put::Exists => return Err(Error::BlobInUse(name)),
            }
            done += 1;
            progress(done, all);
        }
        if let Some(text) = self.secrets.as_ref().filter(|_| no_secrets) {
            write_private(&place.folder.join(FILE), text.as_bytes())?;
            written.secrets = true;
        }
        let mut tx = place.store.database().begin(Access::Write, None).await?;
        let result = self.put_rows(Tx::wrap_mut(&mut tx), place, &mut done, progress).await;
        match result {
            Ok(after) => match tx.commit().await {
                Ok(()) => Ok(after),
                Err(error) => {
                    // The answer may have been lost and the rows be there: then what they name has to stay.
                    *written = Written::default();
                    Err(error.into())
                }
            },
            Err(error) => {
                tx.undo().await;
                Err(error)
            }
        }
    }

    async fn put_rows(
        &self,
        tx: &mut Tx,
        place: &Target<'_>,
        done: &mut u64,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<After, Error> {
        if let Some(table) = tx.table_in_use().await? {
            return Err(Error::DatabaseInUse(table));
        }
        let mut reader = self.reader()?;
        let mut batch = Batch::default();
        while let Some(item) = reader.next()? {
            let Item::Row(table, row) = item else { break };
            if batch.is_full_for(table) {
                *done += batch.rows.len() as u64;
                batch.put(tx).await?;
                progress(*done, self.rows + self.blobs);
            }
            batch.add(table, row);
        }
        *done += batch.rows.len() as u64;
        batch.put(tx).await?;
        progress(*done, self.rows + self.blobs);
        for (task, rounds) in &place.lost_rounds {
            after::charge(tx, task, *rounds).await?;
        }
        after::read(tx, Timestamp::from_millis(self.header.made_at), place.now, &place.lost_rounds).await
    }

    fn reader(&self) -> Result<Reader<BufReader<&File>>, Error> {
        let mut file = &self.file;
        file.rewind()?;
        Ok(Reader::new(BufReader::new(file))?.0)
    }
}

/// Rows of one table that are written together.
#[derive(Default)]
struct Batch {
    table: Option<&'static Table>,
    rows: Vec<Vec<Cell>>,
    bytes: usize,
}

impl Batch {
    fn is_full_for(&self, table: &'static Table) -> bool {
        self.rows.len() >= ROWS || self.bytes >= BYTES || self.table.is_some_and(|own| own.name != table.name)
    }

    fn add(&mut self, table: &'static Table, row: Vec<Cell>) {
        self.table = Some(table);
        self.bytes += row.iter().map(length).sum::<usize>();
        self.rows.push(row);
    }

    async fn put(&mut self, tx: &mut Tx) -> Result<(), StoreError> {
        let batch = std::mem::take(self);
        match batch.table {
            Some(table) => tx.put_rows(table, batch.rows).await,
            None => Ok(()),
        }
    }
}

fn length(cell: &Cell) -> usize {
    match cell {
        Cell::Text(Some(text)) => text.len(),
        Cell::Bytes(Some(bytes)) => bytes.len(),
        _ => 8,
    }
}

/// What a restore has written before its rows.
#[derive(Default)]
struct Written {
    blobs: Vec<String>,
    secrets: bool,
}

impl Written {
    /// Takes it back, as far as possible: without rows it harms nobody, and the next restore takes it for its own.
    async fn undo(self, place: &Target<'_>) {
        if let Err(error) = place.blobs.delete_all(self.blobs).await {
            tracing::warn!(%error, "blobs of the backup are left behind; the next restore of it takes them over");
        }
        if self.secrets {
            let _ = fs::remove_file(place.folder.join(FILE));
        }
    }
}
