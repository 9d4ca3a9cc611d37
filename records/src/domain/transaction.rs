//! A transaction, and what makes two of them the same.

use scale_proto::time::Timestamp;
use time::Date;

use super::{CategorySlug, Invalid, Money, TransactionId, UserId};

/// Which way the money went, seen from the person's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// In: income.
    Credit,
    /// Out: an expense.
    Debit,
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

/// Text from outside, trimmed, not empty, without control characters, at most `MAX` characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text<const MAX: usize>(String);

/// SHA-256 over what makes a transaction the same one: date, direction, amount, currency, normalised description, and
/// which of several equal ones of one day it is. Unique per person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

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
    pub raw_data: Option<serde_json::Value>,
}

impl NewTransaction {
    /// Largest `raw_data`, as JSON.
    pub const MAX_RAW_BYTES: usize = 8 << 10;
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
