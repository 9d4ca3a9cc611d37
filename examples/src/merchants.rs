//! Real merchants with their spending category (data/README.md), and their split into seen and held out.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use crate::random::Random;

/// The data that comes with the examples.
const MERCHANTS: &str = include_str!("../data/merchants.csv");

/// One merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merchant {
    /// Name of the brand, in any script.
    pub name: String,
    /// Spending category, one of [`categories`].
    pub category: String,
    /// Index of the category.
    pub label: u32,
    /// ISO codes of the countries in which it trades, in lower case; empty: worldwide.
    pub countries: Vec<String>,
}

impl Merchant {
    /// Whether it trades in a country, or worldwide.
    pub fn trades_in(&self, country: &str) -> bool {
        self.countries.is_empty() || self.countries.iter().any(|own| own == country)
    }
}

/// Merchants to learn from and merchants that no device ever sees.
#[derive(Clone, Debug)]
pub struct Split {
    /// Seen by devices.
    pub train: Vec<Merchant>,
    /// Held out, to measure on.
    pub held_out: Vec<Merchant>,
}

/// The spending categories, in the order of the model's labels.
pub const CATEGORIES: [&str; 18] = [
    "auto",
    "clothing",
    "dining",
    "education",
    "electronics",
    "entertainment",
    "financial",
    "fitness",
    "fuel",
    "groceries",
    "health",
    "home",
    "personal_care",
    "services",
    "shopping",
    "telecom",
    "transport",
    "travel",
];

/// The categories as a model's labels.
pub fn categories() -> Vec<String> {
    CATEGORIES.map(String::from).to_vec()
}

/// The merchants that come with the examples.
///
/// # Errors
/// The data was damaged.
pub fn embedded() -> anyhow::Result<Vec<Merchant>> {
    read(MERCHANTS.as_bytes()).context("the merchants that come with the examples")
}

/// Merchants of a CSV file with the columns `merchant` and `category`; `countries` is optional, others are ignored.
///
/// # Errors
/// The file cannot be read, lacks a column, or names a category that is not one of [`CATEGORIES`].
pub fn from_file(path: &Path) -> anyhow::Result<Vec<Merchant>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    read(&bytes).with_context(|| format!("{}", path.display()))
}

#[derive(Deserialize)]
struct Row {
    merchant: String,
    category: String,
    #[serde(default)]
    countries: String,
}

fn read(bytes: &[u8]) -> anyhow::Result<Vec<Merchant>> {
    let mut out = Vec::new();
    for (index, row) in csv::Reader::from_reader(bytes).deserialize::<Row>().enumerate() {
        // The first line holds the names of the columns.
        let line = index + 2;
        let row = row.with_context(|| format!("record {line}"))?;
        let label = CATEGORIES.iter().position(|category| *category == row.category.trim());
        let label = label.with_context(|| format!("record {line}: unknown category `{}`", row.category))?;
        let countries = row.countries.split(';').map(str::trim).filter(|code| !code.is_empty());
        out.push(Merchant {
            name: row.merchant,
            category: CATEGORIES[label].to_owned(),
            label: u32::try_from(label)?,
            countries: countries.map(str::to_lowercase).collect(),
        });
    }
    ensure!(!out.is_empty(), "no merchants in it");
    Ok(out)
}

/// Holds out a share of the merchants. A name that occurs with several categories falls on one side as a whole,
/// whatever its capitals, so a held-out name has never been seen.
pub fn split(merchants: &[Merchant], held_out: f64, seed: u64) -> Split {
    let mut names: Vec<String> = merchants.iter().map(|merchant| merchant.name.to_lowercase()).collect();
    names.sort_unstable();
    names.dedup();
    Random::new(seed, "held-out merchants").shuffle(&mut names);
    names.truncate((names.len() as f64 * held_out).round() as usize);
    let hidden: HashSet<String> = names.into_iter().collect();
    let (held_out, train) =
        merchants.iter().cloned().partition(|merchant| hidden.contains(&merchant.name.to_lowercase()));
    Split { train, held_out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_merchants_are_all_there() {
        let merchants = embedded().expect("the data is in the repository");
        assert_eq!(merchants.len(), 12_574);
        for category in CATEGORIES {
            assert!(merchants.iter().filter(|merchant| merchant.category == category).count() > 100, "{category}");
        }
    }

    #[test]
    fn no_name_is_on_both_sides() {
        let merchants = embedded().expect("the data is in the repository");
        let Split { train, held_out } = split(&merchants, 0.15, 7);
        assert_eq!(train.len() + held_out.len(), merchants.len());
        assert!((0.13..0.17).contains(&(held_out.len() as f64 / merchants.len() as f64)));
        let seen: HashSet<String> = train.iter().map(|merchant| merchant.name.to_lowercase()).collect();
        assert!(held_out.iter().all(|merchant| !seen.contains(&merchant.name.to_lowercase())));
        assert_eq!(split(&merchants, 0.15, 7).held_out, held_out, "a seed makes one split");
        assert_ne!(split(&merchants, 0.15, 8).held_out, held_out, "another seed makes another");
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (name, text) in [
            ("unknown category", "merchant,category\nShell,petrol\n"),
            ("missing column", "merchant,tag\nShell,amenity/fuel\n"),
            ("empty", "merchant,category\n"),
        ] {
            assert!(read(text.as_bytes()).is_err(), "{name}");
        }
        let read = read(b"merchant,category,extra\n\"Shell, Ltd\",fuel,1\n").expect("other columns are ignored");
        assert_eq!((read[0].name.as_str(), read[0].category.as_str()), ("Shell, Ltd", "fuel"));
    }
}
