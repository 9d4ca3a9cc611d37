//! Which blobs the rows of a backup name.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::round::SessionStage;
use crate::store::tables::{Cell, Table};

/// A row by the names of its columns.
pub(super) struct Named<'r> {
    pub(super) table: &'static Table,
    pub(super) row: &'r [Cell],
}

impl Named<'_> {
    fn cell(&self, column: &str) -> Option<&Cell> {
        self.row.get(self.table.place(column)?)
    }

    pub(super) fn text(&self, column: &str) -> Option<&str> {
        if let Cell::Text(value) = self.cell(column)? { value.as_deref() } else { None }
    }

    pub(super) fn bytes(&self, column: &str) -> Option<&[u8]> {
        if let Cell::Bytes(value) = self.cell(column)? { value.as_deref() } else { None }
    }

    pub(super) fn int(&self, column: &str) -> Option<i64> {
        if let Cell::Int(value) = self.cell(column)? { *value } else { None }
    }
}

/// The blobs that rows name, as far as anybody still needs them.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    /// Partial sums and released sums of open rounds: they go with the round.
    pub(super) of_rounds: BTreeSet<String>,
    /// Models with their digests, and optimizer states: nobody deletes them.
    pub(super) kept: BTreeMap<String, Option<[u8; 32]>>,
    open_rounds: HashSet<Vec<u8>>,
    open_sessions: HashSet<Vec<u8>>,
}

impl Blobs {
    /// Sees a row, in the order of the tables.
    pub(super) fn see(&mut self, named: &Named<'_>) {
        match named.table.name {
            "rounds" if named.int("closed_at").is_none() => {
                self.open_rounds.extend(named.bytes("id").map(<[u8]>::to_vec));
            }
            "sessions" => {
                let round = named.bytes("round").unwrap_or_default();
                if !self.open_rounds.contains(round) {
                    return;
                }
                self.open_sessions.extend(named.bytes("id").map(<[u8]>::to_vec));
                // A sum that is not released yet is named before it is made.
                if named.text("stage") == Some(SessionStage::Released.name()) {
                    self.of_rounds.extend(named.text("sum_blob").map(str::to_owned));
                }
            }
            "segments" if self.open_sessions.contains(named.bytes("session").unwrap_or_default()) => {
                self.of_rounds.extend(named.text("blob").map(str::to_owned));
            }
            "models" => {
                let digest = named.bytes("digest").and_then(|digest| digest.try_into().ok());
                self.kept.extend(named.text("blob").map(|blob| (blob.to_owned(), digest)));
                self.kept.extend(named.text("optimizer_blob").map(|blob| (blob.to_owned(), None)));
            }
            _ => {}
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeSet<&str> {
        self.of_rounds.iter().chain(self.kept.keys()).map(String::as_str).collect()
    }
}
