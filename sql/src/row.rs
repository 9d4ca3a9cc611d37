//! Rows and their columns.

use bytes::Bytes;
use scale_clock::Timestamp;
use sqlx::postgres::{PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type, ValueRef as _};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{Error, Moment};

/// A row of either engine.
pub struct Row(pub(crate) Found);

pub(crate) enum Found {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

/// A type that has a column form. Other crates give it to theirs by [`Row::int`], [`Row::text`] and [`Row::bytes`].
pub trait Column: Sized {
    /// Reads column `name`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is none, or it holds something else.
    fn get(row: &Row, name: &str) -> Result<Self, Error>;
}

impl Row {
    /// Column `name`.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is none, or it holds something else.
    pub fn get<T: Column>(&self, name: &str) -> Result<T, Error> {
        T::get(self, name)
    }

    /// Column `name` as one of the words of an enumeration.
    ///
    /// # Errors
    /// As [`Self::get`], and for a word that `parse` does not know.
    pub fn word<T>(&self, name: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Error> {
        let text = self.text(name)?;
        parse(text).ok_or_else(|| Error::corrupt(name, format_args!("unknown word {text:?}")))
    }

    /// A whole number.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn int(&self, name: &str) -> Result<i64, Error> {
        self.refuse_null(name)?;
        match &self.0 {
            Found::Sqlite(row) => row.try_get(name),
            Found::Postgres(row) => {
                row.try_get(name).or_else(|error| row.try_get(name).map(i32::into).map_err(|_| error))
            }
        }
        .map_err(|error| Error::corrupt(name, error))
    }

    /// A number.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn real(&self, name: &str) -> Result<f64, Error> {
        self.raw(name)
    }

    /// A text.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn text(&self, name: &str) -> Result<&str, Error> {
        self.raw(name)
    }

    /// A byte string.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn bytes(&self, name: &str) -> Result<&[u8], Error> {
        self.raw(name)
    }

    /// Whether column `name` is NULL.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if there is no such column.
    pub fn is_null(&self, name: &str) -> Result<bool, Error> {
        match &self.0 {
            Found::Sqlite(row) => row.try_get_raw(name).map(|value| value.is_null()),
            Found::Postgres(row) => row.try_get_raw(name).map(|value| value.is_null()),
        }
        .map_err(|error| Error::corrupt(name, error))
    }

    /// SQLite's driver reads NULL as 0, or as nothing, where a value is asked for.
    fn refuse_null(&self, name: &str) -> Result<(), Error> {
        if self.is_null(name)? { Err(Error::corrupt(name, "NULL instead of a value")) } else { Ok(()) }
    }

    fn raw<'r, T>(&'r self, name: &str) -> Result<T, Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        self.refuse_null(name)?;
        match &self.0 {
            Found::Sqlite(row) => row.try_get(name),
            Found::Postgres(row) => row.try_get(name),
        }
        .map_err(|error| Error::corrupt(name, error))
    }
}

impl std::fmt::Debug for Row {
    /// Without what it holds.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").finish_non_exhaustive()
    }
}

impl<T: Column> Column for Option<T> {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        if row.is_null(name)? { Ok(None) } else { T::get(row, name).map(Some) }
    }
}

impl Column for i64 {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.int(name)
    }
}

macro_rules! narrower {
    ($($number:ty),*) => {$(
        impl Column for $number {
            fn get(row: &Row, name: &str) -> Result<Self, Error> {
                Self::try_from(row.int(name)?).map_err(|error| Error::corrupt(name, error))
            }
        }
    )*};
}

narrower!(u64, u32, u16, i32);

impl Column for f64 {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.real(name)
    }
}

impl Column for bool {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        match &row.0 {
            Found::Sqlite(_) => match row.int(name)? {
                0 => Ok(false),
                1 => Ok(true),
                other => Err(Error::corrupt(name, format_args!("{other} instead of 0 or 1"))),
            },
            Found::Postgres(found) => found.try_get(name).map_err(|error| Error::corrupt(name, error)),
        }
    }
}

impl Column for String {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.text(name).map(str::to_owned)
    }
}

impl Column for Vec<u8> {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.bytes(name).map(<[u8]>::to_vec)
    }
}

impl Column for Bytes {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.bytes(name).map(Self::copy_from_slice)
    }
}

impl<const N: usize> Column for [u8; N] {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        let bytes = row.bytes(name)?;
        bytes.try_into().map_err(|_| Error::corrupt(name, format_args!("{} bytes instead of {N}", bytes.len())))
    }
}

impl Column for Uuid {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.raw(name)
    }
}

impl Column for Date {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.raw(name)
    }
}

impl Column for Timestamp {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.get::<u64>(name).map(Self::from_millis)
    }
}

impl Column for Moment {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        let Found::Postgres(found) = &row.0 else { return row.get(name).map(Self) };
        let moment: OffsetDateTime = found.try_get(name).map_err(|error| Error::corrupt(name, error))?;
        let millis = u64::try_from(moment.unix_timestamp_nanos() / 1_000_000);
        Ok(Self(Timestamp::from_millis(millis.map_err(|error| Error::corrupt(name, error))?)))
    }
}

impl Column for serde_json::Value {
    fn get(row: &Row, name: &str) -> Result<Self, Error> {
        row.raw::<sqlx::types::Json<Self>>(name).map(|json| json.0)
    }
}
