//! The people of the measurement and what they have: the same in every run.

use std::fmt::Write as _;
use std::ops::Range;

use anyhow::Context;
use scale_records::domain::{FileHash, NewTransaction, NewUpload, Text, UserId};
use scale_records::import::{Defaults, Kind, Reader};
use time::{Date, Duration, Month};
use uuid::Uuid;

/// Categories that transactions have, of those that everybody has.
pub(crate) const CATEGORIES: [&str; 6] = ["groceries", "dining", "fuel", "travel", "home", "transport"];

/// Days over which transactions are spread: about three years.
const DAYS: u32 = 1000;

/// The `n`th person.
pub(crate) fn user(n: u32) -> UserId {
    const FIRST: u128 = 0x5ca1_ef10_0000_4000_8000_0000_0000_0000;
    UserId(Uuid::from_u128(FIRST | u128::from(n)))
}

/// The first of the days.
fn first_day() -> Date {
    // Invariant: a day of the calendar.
    Date::from_calendar_date(2023, Month::January, 1).expect("1 January is a day")
}

/// The day of the `n`th transaction.
pub(crate) fn day(n: u32) -> Date {
    first_day() + Duration::days(i64::from(n.wrapping_mul(7919) % DAYS))
}

/// What the bank wrote about the `n`th transaction of those that `name` tells apart.
pub(crate) fn description(name: &str, n: u32) -> String {
    format!("CARD PAYMENT {name} {n} SUPERMARKET {} BERLIN", n % 100)
}

/// A bank's file with these transactions.
pub(crate) fn csv(name: &str, numbers: Range<u32>) -> String {
    let mut file = String::from("Date,Amount,Currency,Description,Merchant,Category,Payment method\n");
    for n in numbers {
        let (day, cents) = (day(n), 100 + n % 9_000);
        let (shop, category) = (n % 100, CATEGORIES[n as usize % CATEGORIES.len()]);
        // A string takes everything.
        let _ = writeln!(
            file,
            "{day},-{}.{:02},EUR,{},Supermarket {shop},{category},card",
            cents / 100,
            cents % 100,
            description(name, n)
        );
    }
    file
}

/// The rows of such a file.
pub(crate) fn rows(csv: &str) -> anyhow::Result<Vec<NewTransaction>> {
    let today = first_day() + Duration::days(i64::from(DAYS));
    let reader = Reader::open(csv.as_bytes(), Kind::Csv, &Defaults::new(today))?;
    reader.map(|row| row.result.map_err(|error| anyhow::anyhow!("line {}: {}", row.line, error.problem))).collect()
}

/// Such a file's name in the store.
pub(crate) fn upload(csv: &str) -> anyhow::Result<NewUpload> {
    let filename = Text::new("filename", "bank.csv").context("a short name")?;
    Ok(NewUpload { file_hash: FileHash::of(csv.as_bytes()), filename, upload_type: "csv" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_was_meant() {
        let rows = rows(&csv("x", 0..500)).unwrap();
        assert_eq!(rows.len(), 500);
        assert_eq!(rows[3].transaction_date, day(3));
        assert_eq!(rows[3].description.as_str(), description("x", 3));
        assert!(rows[3].category.is_some() && rows[3].merchant_name.is_some() && rows[3].payment_method.is_some());
        let mut prints: Vec<_> = rows.iter().map(|row| row.fingerprint).collect();
        prints.sort();
        prints.dedup();
        assert_eq!(prints.len(), 500);
    }
}
