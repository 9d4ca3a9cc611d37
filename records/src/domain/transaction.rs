//! A transaction, and what makes two of them the same.

use std::io;

use ring::digest;
use scale_clock::Timestamp;
use serde_json::Value;
use time::{Date, Duration};

use super::{CategorySlug, Invalid, Money, TransactionId, UserId, one_of};

/// Which way the money went, seen from the person's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// In: income.
    Credit,
    /// Out: an expense.
    Debit,
}

impl Direction {
    /// `credit` or `debit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Debit => "debit",
        }
    }

    /// Also from `income` and `expense`, which some clients say.
    ///
    /// # Errors
    /// If it is none of the four.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let words =
            [("credit", Self::Credit), ("debit", Self::Debit), ("income", Self::Credit), ("expense", Self::Debit)];
        one_of("direction", text, &words)
    }
}

/// How far the bank is with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Status {
    /// Announced, and may still change.
    Pending,
    /// Booked.
    #[default]
    Completed,
    /// Did not happen.
    Failed,
    /// Taken back.
    Cancelled,
}

impl Status {
    /// Its name in rows and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// From its name.
    ///
    /// # Errors
    /// If there is no such status.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let all = [Self::Pending, Self::Completed, Self::Failed, Self::Cancelled];
        one_of("status", text, &all.map(|status| (status.as_str(), status)))
    }
}

/// Who chose the category. The order is who wins: a person's choice is never replaced by a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CategorySource {
    /// The file that was imported.
    Import,
    /// A model.
    Prediction,
    /// The person.
    Person,
}

impl CategorySource {
    /// Its name in rows and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Prediction => "prediction",
            Self::Person => "person",
        }
    }

    /// From its name.
    ///
    /// # Errors
    /// If there is no such source.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let all = [Self::Import, Self::Prediction, Self::Person];
        one_of("category_source", text, &all.map(|source| (source.as_str(), source)))
    }
}

/// Text from outside, trimmed, not empty, without control characters, at most `MAX` characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text<const MAX: usize>(String);

impl<const MAX: usize> Text<MAX> {
    /// Trims and checks it; `field` names it in an error.
    ///
    /// # Errors
    /// If it is empty, too long, or has a control character.
    pub fn new(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::new(field, format!("empty; write 1 to {MAX} characters")));
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::new(field, "has a line break, a tab or another control character; leave them out"));
        }
        // A text of few enough bytes has few enough characters: most are never counted.
        if text.len() > MAX && text.chars().nth(MAX).is_some() {
            return Err(Invalid::new(field, format!("too long; write at most {MAX} characters")));
        }
        Ok(Self(text.to_owned()))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// SHA-256 over what makes a transaction the same one: date, direction, amount, currency, normalized description, and
/// which of several equal ones of one day it is. Unique per person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Of the transaction that is the `ordinal`th (from 0) of all equal ones of its day. Two descriptions are equal if
    /// they differ in nothing but the case of letters and the width of gaps.
    pub fn of(date: Date, direction: Direction, money: Money, description: &str, ordinal: u32) -> Self {
        Self::hash(date, direction, money, description, b'n', &ordinal.to_be_bytes())
    }

    /// Of the transaction that the bank has given this reference. The rest counts too: some banks write the same
    /// reference, such as a contract's number, on many transactions.
    pub fn with_reference(date: Date, direction: Direction, money: Money, description: &str, reference: &str) -> Self {
        Self::hash(date, direction, money, description, b'r', reference.trim().as_bytes())
    }

    /// Fields of fixed length first, then both variable ones with the first one's length before it: no two different
    /// transactions give the same bytes.
    fn hash(date: Date, direction: Direction, money: Money, description: &str, kind: u8, which: &[u8]) -> Self {
        let description = normalized(description);
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(b"scale-fl transaction v1\0");
        hash.update(&date.to_julian_day().to_be_bytes());
        hash.update(&direction.as_str().as_bytes()[..1]);
        hash.update(money.currency.code().as_bytes());
        hash.update(&money.minor.to_be_bytes());
        hash.update(&(description.len() as u64).to_be_bytes());
        hash.update(description.as_bytes());
        hash.update(&[kind]);
        hash.update(which);
        Self(super::bytes_of(hash.finish()))
    }
}

/// Lower case, one space for every gap.
fn normalized(description: &str) -> String {
    let mut out = String::with_capacity(description.len());
    for word in description.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
    out
}

/// A transaction that is not stored yet.
#[derive(Clone, Debug, PartialEq)]
pub struct NewTransaction {
    /// The day it counts for.
    pub transaction_date: Date,
    /// Which way.
    pub direction: Direction,
    /// How much.
    pub money: Money,
    /// As the bank wrote it.
    pub description: Text<500>,
    /// The other side.
    pub merchant_name: Option<Text<200>>,
    /// What it was for, and who says so.
    pub category: Option<(CategorySlug, CategorySource)>,
    /// Card, transfer, and so on, as the bank calls it.
    pub payment_method: Option<Text<64>>,
    /// How far the bank is.
    pub status: Status,
    /// What makes it the same as another.
    pub fingerprint: Fingerprint,
    /// What came in, for the person's own use; never read by us. At most [`NewTransaction::MAX_RAW_BYTES`] of JSON.
    pub raw_data: Option<Value>,
}

impl NewTransaction {
    /// Largest `raw_data`, as JSON.
    pub const MAX_RAW_BYTES: usize = 8 << 10;

    /// Checks a date: from 1900 until a year after `today`.
    ///
    /// # Errors
    /// If it is outside.
    pub fn check_date(date: Date, today: Date) -> Result<(), Invalid> {
        let latest = today.saturating_add(Duration::days(366));
        if date.year() < 1900 || date > latest {
            let problem = format!("out of range; give a day from 1900-01-01 to {latest}");
            return Err(Invalid::new("transaction_date", problem));
        }
        Ok(())
    }

    /// Checks `raw_data`: at most [`NewTransaction::MAX_RAW_BYTES`], and no zero character, which Postgres cannot keep.
    ///
    /// # Errors
    /// If it is larger or has one.
    pub fn check_raw_data(raw: &Value) -> Result<(), Invalid> {
        if has_zero(raw) {
            return Err(Invalid::new("raw_data", "has a zero character (\\u0000); leave it out"));
        }
        let mut room = Room(Self::MAX_RAW_BYTES);
        serde_json::to_writer(&mut room, raw).map_err(|_full| {
            Invalid::new("raw_data", format!("too large; at most {} bytes of JSON", Self::MAX_RAW_BYTES))
        })
    }
}

fn has_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_zero),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_zero(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Counts what is written, and refuses what no longer fits: nothing is kept of a text that is only measured.
struct Room(usize);

impl io::Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stored transaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Transaction {
    /// Its name.
    pub id: TransactionId,
    /// Whose.
    pub user_id: UserId,
    /// What it is.
    pub content: NewTransaction,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When its category was changed last.
    pub updated_at: Timestamp,
}

/// A new category for a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CategoryChange {
    /// The category; `None`: no category.
    pub category: Option<CategorySlug>,
    /// Who says so. A change from below the present [`CategorySource`] changes nothing.
    pub source: CategorySource,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::date;

    use super::*;
    use crate::domain::Currency;

    fn euros(minor: i64) -> Money {
        Money::new(minor, Currency::new("EUR").unwrap()).unwrap()
    }

    #[test]
    fn words_are_read_as_they_are_written() {
        for direction in [Direction::Credit, Direction::Debit] {
            assert_eq!(Direction::parse(direction.as_str()), Ok(direction));
        }
        assert_eq!(Direction::parse("income"), Ok(Direction::Credit));
        assert_eq!(Direction::parse("expense"), Ok(Direction::Debit));
        for status in [Status::Pending, Status::Completed, Status::Failed, Status::Cancelled] {
            assert_eq!(Status::parse(status.as_str()), Ok(status));
        }
        for source in [CategorySource::Import, CategorySource::Prediction, CategorySource::Person] {
            assert_eq!(CategorySource::parse(source.as_str()), Ok(source));
        }
        let refused = Direction::parse("Debit").unwrap_err();
        assert_eq!(refused.to_string(), "direction: unknown; one of credit, debit, income, expense");
        assert_eq!(Status::parse("").unwrap_err().field, "status");
        assert_eq!(CategorySource::parse("me").unwrap_err().field, "category_source");
    }

    #[test]
    fn texts_are_trimmed_and_bounded_in_characters() {
        assert_eq!(Text::<5>::new("description", "  caf\u{e9}s \n").unwrap().as_str(), "caf\u{e9}s");
        assert_eq!(Text::<3>::new("description", "\u{1f600}\u{1f600}\u{1f600}").unwrap().as_str().chars().count(), 3);
        for (text, expected) in
            [("", "empty"), (" \t ", "empty"), ("abcdef", "at most 5"), ("a\nb", "line break"), ("a\0b", "control")]
        {
            let refused = Text::<5>::new("merchant_name", text).unwrap_err();
            assert_eq!(refused.field, "merchant_name");
            assert!(refused.problem.contains(expected), "{text:?}: {refused}");
        }
    }

    /// Stored fingerprints must stay what they are: another value here means that every re-import doubles.
    #[test]
    fn fingerprints_are_known_answers() {
        let of = |description, ordinal| {
            Fingerprint::of(date!(2026 - 02 - 28), Direction::Debit, euros(1234), description, ordinal)
        };
        assert_eq!(
            hex::encode(of("Coffee Shop", 0).0),
            "b586422d7b6eeb0fba051e874a60553b0650c716b52a2eb5c27509b0255d6f40"
        );
        assert_eq!(
            hex::encode(of("Coffee Shop", 1).0),
            "a7ad64621e10026cd91c2ec4bbfcb16fdab3558a4c2c8b20bbd6938887717b12"
        );
        assert_eq!(of("  COFFEE \u{a0} shop\t", 0), of("Coffee Shop", 0));
        let referenced =
            Fingerprint::with_reference(date!(2026 - 02 - 28), Direction::Debit, euros(1234), "Coffee Shop", " A-17 ");
        assert_eq!(hex::encode(referenced.0), "34573235763eaa3fc7d0a40835a0bbf00f3d06d10718bbe0eef8f3b46e3e1886");
    }

    #[test]
    fn every_part_of_a_fingerprint_counts() {
        let day = date!(2026 - 02 - 28);
        let yen = Money::new(1234, Currency::new("JPY").unwrap()).unwrap();
        let mut all = vec![
            Fingerprint::of(day, Direction::Debit, euros(1234), "a b", 0),
            Fingerprint::of(day.next_day().unwrap(), Direction::Debit, euros(1234), "a b", 0),
            Fingerprint::of(day, Direction::Credit, euros(1234), "a b", 0),
            Fingerprint::of(day, Direction::Debit, euros(1235), "a b", 0),
            Fingerprint::of(day, Direction::Debit, yen, "a b", 0),
            Fingerprint::of(day, Direction::Debit, euros(1234), "ab", 0),
            Fingerprint::of(day, Direction::Debit, euros(1234), "a b", 1),
            Fingerprint::with_reference(day, Direction::Debit, euros(1234), "a b", "\0\0\0\0"),
            Fingerprint::with_reference(day, Direction::Debit, euros(1234), "a", "b"),
            Fingerprint::with_reference(day, Direction::Debit, euros(1234), "ab", ""),
        ];
        let made = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), made);
    }

    #[test]
    fn dates_of_no_statement_are_refused() {
        let today = date!(2026 - 03 - 01);
        for good in [date!(1900 - 01 - 01), date!(2026 - 03 - 01), date!(2027 - 03 - 02)] {
            assert_eq!(NewTransaction::check_date(good, today), Ok(()));
        }
        for bad in [date!(0001 - 01 - 01), date!(1899 - 12 - 31), date!(2027 - 03 - 03), date!(9999 - 12 - 31)] {
            let refused = NewTransaction::check_date(bad, today).unwrap_err();
            assert!(refused.problem.ends_with("from 1900-01-01 to 2027-03-02"), "{refused}");
        }
    }

    #[test]
    fn raw_data_is_small_and_has_no_zero() {
        let edge = json!("x".repeat(NewTransaction::MAX_RAW_BYTES - 2));
        for good in [json!(null), json!({"a": [1, "b", {"c": true}]}), edge] {
            assert_eq!(NewTransaction::check_raw_data(&good), Ok(()));
        }
        let over = json!("x".repeat(NewTransaction::MAX_RAW_BYTES - 1));
        for bad in [over, json!("a\0"), json!({"a\0": 1}), json!([{"a": ["\0"]}])] {
            assert_eq!(NewTransaction::check_raw_data(&bad).unwrap_err().field, "raw_data");
        }
    }
}
