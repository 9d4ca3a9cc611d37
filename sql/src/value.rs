//! Values as both engines keep them.

use bytes::Bytes;
use scale_clock::Timestamp;
use time::Date;
use uuid::Uuid;

/// A value of a statement. The type counts even where there is no value: Postgres wants to know it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `BIGINT` in Postgres, `INTEGER` in SQLite.
    Int(Option<i64>),
    /// `DOUBLE PRECISION`, `REAL`.
    Real(Option<f64>),
    /// `BOOLEAN`, 0 or 1.
    Bool(Option<bool>),
    /// `TEXT`.
    Text(Option<String>),
    /// `BYTEA`, `BLOB`.
    Bytes(Option<Vec<u8>>),
    /// `UUID`, a `BLOB` of 16 bytes.
    Uuid(Option<Uuid>),
    /// `DATE`, a text such as 2026-02-28.
    Day(Option<Date>),
    /// Milliseconds since 1970 in either engine: `BIGINT`, `INTEGER`.
    Millis(Option<Timestamp>),
    /// `TIMESTAMPTZ`, milliseconds.
    Moment(Option<Timestamp>),
    /// `JSONB`, text.
    Json(Option<serde_json::Value>),
    /// See [`Value::ints`].
    Ints(Vec<i64>),
    /// See [`Value::texts`].
    Texts(Vec<String>),
    /// See [`Value::bytes_list`].
    BytesList(Vec<Vec<u8>>),
}

/// A moment in a column of moments: `TIMESTAMPTZ` in Postgres, milliseconds in SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Timestamp);

impl Value {
    /// Many numbers for one statement: `bigint[]` in Postgres, for `unnest($1)` or `= ANY($1)`; in SQLite a JSON text, for
    /// `SELECT value FROM json_each($1)`.
    pub fn ints(list: impl IntoIterator<Item = i64>) -> Self {
        Self::Ints(list.into_iter().collect())
    }

    /// Many texts for one statement, as [`Value::ints`]: `text[]` in Postgres.
    pub fn texts<T: Into<String>>(list: impl IntoIterator<Item = T>) -> Self {
        Self::Texts(list.into_iter().map(|text| storable(text.into())).collect())
    }

    /// Many byte strings for one statement: `bytea[]` in Postgres; in SQLite a JSON text of hexadecimal digits, for
    /// `SELECT unhex(value) FROM json_each($1)`.
    pub fn bytes_list<T: Into<Vec<u8>>>(list: impl IntoIterator<Item = T>) -> Self {
        Self::BytesList(list.into_iter().map(Into::into).collect())
    }

    /// What SQLite takes for a list.
    pub(crate) fn json_of<T: Into<serde_json::Value>>(list: impl IntoIterator<Item = T>) -> String {
        serde_json::Value::Array(list.into_iter().map(Into::into).collect()).to_string()
    }
}

/// Postgres keeps no zero character, and SQLite stops reading at one.
fn storable(text: String) -> String {
    if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text }
}

macro_rules! from {
    ($($type:ty => $variant:ident($value:ident) $body:expr),* $(,)?) => {$(
        impl From<$type> for Value {
            fn from($value: $type) -> Self {
                Self::$variant(Some($body))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value.map(|$value| $body))
            }
        }
    )*};
}

from! {
    i64 => Int(value) value,
    i32 => Int(value) value.into(),
    u16 => Int(value) value.into(),
    u32 => Int(value) value.into(),
    // Saturates: only counts that nobody reaches, and times at the end of days, get there.
    u64 => Int(value) i64::try_from(value).unwrap_or(i64::MAX),
    f64 => Real(value) value,
    bool => Bool(value) value,
    &str => Text(value) storable(value.to_owned()),
    &String => Text(value) storable(value.clone()),
    String => Text(value) storable(value),
    &[u8] => Bytes(value) value.to_vec(),
    &Vec<u8> => Bytes(value) value.clone(),
    Vec<u8> => Bytes(value) value,
    Bytes => Bytes(value) value.into(),
    &Bytes => Bytes(value) value.to_vec(),
    Uuid => Uuid(value) value,
    Date => Day(value) value,
    Timestamp => Millis(value) value,
    Moment => Moment(value) value.0,
    serde_json::Value => Json(value) value,
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(value: &[u8; N]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl<const N: usize> From<Option<&[u8; N]>> for Value {
    fn from(value: Option<&[u8; N]>) -> Self {
        Self::Bytes(value.map(|bytes| bytes.to_vec()))
    }
}

impl<const N: usize> From<Option<[u8; N]>> for Value {
    fn from(value: Option<[u8; N]>) -> Self {
        Self::Bytes(value.map(|bytes| bytes.to_vec()))
    }
}
