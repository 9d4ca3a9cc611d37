//! Money as an integer number of minor units: no float ever holds an amount.

use rust_decimal::Decimal;

use super::Invalid;

/// A currency by its ISO 4217 code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

/// An amount, never negative: which way it went is the transaction's [`Direction`](super::Direction).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// In the currency's minor unit: cents of a euro, whole yen, thousandths of a Kuwaiti dinar.
    pub minor: i64,
    /// Which currency.
    pub currency: Currency,
}

impl Money {
    /// Largest amount kept, in minor units: every JSON reader holds it exactly.
    pub const MAX_MINOR: i64 = 1 << 53;
}
