//! Between columns and domain types. SQLite knows 64-bit signed integers, texts and byte strings.

use bytes::Bytes;
use scale_proto::ids::{DeviceId, Digest, RoundId, SessionId, TaskId};
use scale_proto::time::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row, Sqlite, Type};

use super::StoreError;

/// An unsigned number as a column. Values above `i64::MAX` saturate: only times at the end of days get there.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A moment as a column.
pub(super) fn moment(value: Timestamp) -> i64 {
    int(value.as_millis())
}

/// An id or digest as a column.
pub(super) fn blob(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

/// A raw column.
pub(super) fn raw<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(row: &'r SqliteRow, name: &str) -> Result<T, StoreError> {
    row.try_get(name).map_err(|error| StoreError::corrupt(name, error))
}

/// A type that has a column form.
pub(super) trait Column: Sized {
    /// Reads column `name`.
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError>;
}

/// Column `name` of `row`.
pub(super) fn get<T: Column>(row: &SqliteRow, name: &str) -> Result<T, StoreError> {
    T::get(row, name)
}

/// Column `name` as one of the words of an enumeration.
pub(super) fn word<T>(row: &SqliteRow, name: &str, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: &str = raw(row, name)?;
    parse(text).ok_or_else(|| StoreError::corrupt(name, format!("unknown word {text:?}")))
}

impl Column for u64 {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        Self::try_from(raw::<i64>(row, name)?).map_err(|error| StoreError::corrupt(name, error))
    }
}

impl Column for u32 {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        Self::try_from(raw::<i64>(row, name)?).map_err(|error| StoreError::corrupt(name, error))
    }
}

impl Column for String {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        raw(row, name)
    }
}

impl Column for Bytes {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        raw::<Vec<u8>>(row, name).map(Self::from)
    }
}

impl Column for Timestamp {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        get::<u64>(row, name).map(Self::from_millis)
    }
}

impl Column for TaskId {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        Self::try_from(raw::<String>(row, name)?).map_err(|error| StoreError::corrupt(name, error))
    }
}

impl Column for [u8; 32] {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        let bytes: &[u8] = raw(row, name)?;
        bytes.try_into().map_err(|_| StoreError::corrupt(name, format!("{} bytes instead of 32", bytes.len())))
    }
}

macro_rules! from_bytes {
    ($($id:ty),*) => {$(
        impl Column for $id {
            fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
                Self::try_from(raw::<&[u8]>(row, name)?).map_err(|error| StoreError::corrupt(name, error))
            }
        }
    )*};
}

from_bytes!(DeviceId, RoundId, SessionId, Digest);

impl Column for scale_proto::ids::ModelVersion {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        get::<u64>(row, name).map(Self)
    }
}

impl<T: Column> Column for Option<T> {
    fn get(row: &SqliteRow, name: &str) -> Result<Self, StoreError> {
        use sqlx::ValueRef as _;
        let absent = row.try_get_raw(name).map_err(|error| StoreError::corrupt(name, error))?.is_null();
        if absent { Ok(None) } else { T::get(row, name).map(Some) }
    }
}
