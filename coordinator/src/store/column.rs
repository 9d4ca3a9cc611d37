//! Between columns and domain types.

use bytes::Bytes;
use scale_proto::ids::{DeviceId, Digest, ModelVersion, RoundId, SessionId, TaskId};
use scale_proto::time::Timestamp;
use scale_sql::{Row, Value};

use super::StoreError;

/// Bytes, an id or a digest as a column.
pub(super) fn bytes(bytes: &[u8]) -> Value {
    bytes.to_vec().into()
}

/// Devices as a list, for `IN` and `ANY`.
pub(super) fn ids(devices: &[DeviceId]) -> Value {
    Value::bytes_list(devices.iter().map(|device| device.as_bytes().to_vec()))
}

/// A moment as a column.
pub(super) fn moment(moment: Timestamp) -> Value {
    moment.as_millis().into()
}

/// A type that has a column form.
pub(super) trait Stored: Sized {
    /// Reads column `name`.
    fn get(row: &Row, name: &str) -> Result<Self, StoreError>;
}

/// Column `name` of `row`.
pub(super) fn get<T: Stored>(row: &Row, name: &str) -> Result<T, StoreError> {
    T::get(row, name)
}

/// Column `name`, if it is not NULL.
pub(super) fn maybe<T: Stored>(row: &Row, name: &str) -> Result<Option<T>, StoreError> {
    if row.is_null(name)? { Ok(None) } else { T::get(row, name).map(Some) }
}

/// Column `name` as one of the words of an enumeration.
pub(super) fn word<T>(row: &Row, name: &str, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: String = row.get(name)?;
    parse(&text).ok_or_else(|| StoreError::corrupt(name, format!("unknown word {text:?}")))
}

impl Stored for u64 {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        Self::try_from(row.get::<i64>(name)?).map_err(|error| StoreError::corrupt(name, error))
    }
}

impl Stored for u32 {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        Self::try_from(row.get::<i64>(name)?).map_err(|error| StoreError::corrupt(name, error))
    }
}

impl Stored for u8 {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        Self::try_from(row.get::<i64>(name)?).map_err(|error| StoreError::corrupt(name, error))
    }
}

impl Stored for f64 {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        row.get(name)
    }
}

impl Stored for String {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        row.get(name)
    }
}

impl Stored for Bytes {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        row.get::<Vec<u8>>(name).map(Self::from)
    }
}

impl Stored for Timestamp {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        get::<u64>(row, name).map(Self::from_millis)
    }
}

impl Stored for ModelVersion {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        get::<u64>(row, name).map(Self)
    }
}

impl Stored for TaskId {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        Self::try_from(row.get::<String>(name)?).map_err(|error| StoreError::corrupt(name, error))
    }
}

impl<const N: usize> Stored for [u8; N] {
    fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
        let bytes: Vec<u8> = row.get(name)?;
        let found = bytes.len();
        bytes.try_into().map_err(|_| StoreError::corrupt(name, format!("{found} bytes instead of {N}")))
    }
}

macro_rules! from_bytes {
    ($($id:ty),*) => {$(
        impl Stored for $id {
            fn get(row: &Row, name: &str) -> Result<Self, StoreError> {
                Self::try_from(&row.get::<Vec<u8>>(name)?[..]).map_err(|error| StoreError::corrupt(name, error))
            }
        }
    )*};
}

from_bytes!(DeviceId, RoundId, SessionId, Digest);
