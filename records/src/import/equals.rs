//! Which rows that look equal are the same transaction.
//!
//! A person can buy two equal coffees on one day, and the same day can be in two statements. The rule:
//!
//! 1. A row that the bank has given a name of its own (a transaction id) is the same as another if that name, the date,
//!    the amount and the description are equal, in this file or in any other.
//! 2. Of the other rows, the first one of its date, amount and description in a file is number 0, the next one number
//!    1, and so on; the number is part of the fingerprint. Two coffees in one file are two transactions, and the same
//!    two in an overlapping statement get the same two numbers.
//! 3. But if the file has a column that would tell two transactions apart (a balance, a time of day) and a whole row is
//!    there again, cell for cell, then it was written twice, and gets the number that it had.
//!
//! What it cannot know: a statement that begins in the middle of a day counts that day's equal rows from 0 again, and
//! the same transactions from a file with ids and from one without are not recognized as the same.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use time::Date;

use crate::domain::{Direction, Fingerprint, Money};

/// What has been read of a file so far: 8 bytes of each row's fingerprint and of its cells.
#[derive(Debug, Default)]
pub(super) struct Equals {
    counts: HashMap<u64, u32>,
    rows: HashMap<u64, u32>,
    hasher: RandomState,
}

impl Equals {
    /// `reference`: the bank's own name of the row, if it has one. `telling`: the row has a cell that tells equal
    /// transactions apart; then `cells` are looked at.
    pub(super) fn fingerprint<'c>(
        &mut self,
        content: (Date, Direction, Money, &str),
        reference: &str,
        telling: bool,
        cells: impl Iterator<Item = &'c str>,
    ) -> Fingerprint {
        let (date, direction, money, description) = content;
        if !reference.is_empty() {
            return Fingerprint::with_reference(date, direction, money, description, reference);
        }
        let first = Fingerprint::of(date, direction, money, description, 0);
        let row = telling.then(|| self.hasher.hash_one(cells.collect::<Vec<_>>()));
        if let Some(number) = row.and_then(|row| self.rows.get(&row)) {
            return Fingerprint::of(date, direction, money, description, *number);
        }
        let [a, b, c, d, e, f, g, h, ..] = first.0;
        let count = self.counts.entry(u64::from_be_bytes([a, b, c, d, e, f, g, h])).or_insert(0);
        let number = *count;
        *count += 1;
        if let Some(row) = row {
            self.rows.insert(row, number);
        }
        if number == 0 { first } else { Fingerprint::of(date, direction, money, description, number) }
    }
}
