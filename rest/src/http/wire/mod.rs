//! The JSON of the API: what comes in is checked here once and becomes a value of [`scale_records::domain`]; what goes out is
//! written here.
//!
//! A type here says in its schema exactly what is accepted: what fits the schema is accepted, what does not is refused.

mod category;
mod device;
mod job;
mod model;
mod transaction;
mod upload;

pub(super) use category::{Categories, Category, NewCategory};
pub(super) use device::{EnrollmentToken, GivenToken};
pub(super) use job::{CreatedJob, Job, Jobs, NewJob};
pub(super) use model::Model;
pub(super) use transaction::{
    ChangeCategory, ListQuery, NewTransaction, Transaction, Transactions, new_transaction_cases,
};
pub(super) use upload::{ImportOptions, ImportQuery, Imported, Upload, Uploads};

use scale_clock::Timestamp;
use scale_records::domain::{Invalid, Text};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, UtcDateTime};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};

use super::problem::{Fault, Problem};

/// Text without control characters that is not blank.
pub(super) const TEXT: &str =
    "^[^\\u0000-\\u001f\\u007f-\\u009f]*[^\\s\\u0000-\\u001f\\u007f-\\u009f][^\\u0000-\\u001f\\u007f-\\u009f]*$";

/// RFC 3339, in UTC, to the millisecond.
pub(super) fn moment(at: Timestamp) -> String {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    // Beyond the year 9999 there is no RFC 3339; clocks are not there yet.
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.format(&Rfc3339).unwrap_or_default()
}

/// The day that it is.
pub(super) fn today(now: Timestamp) -> Date {
    let seconds = i64::try_from(now.as_millis() / 1_000).unwrap_or(i64::MAX);
    UtcDateTime::from_unix_timestamp(seconds).map_or(Date::MAX, UtcDateTime::date)
}

/// A day as `YYYY-MM-DD`, and in no other way.
fn day(text: &str) -> Option<Date> {
    const FORM: &[time::format_description::BorrowedFormatItem<'_>] =
        time::macros::format_description!("[year]-[month]-[day]");
    let plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    Date::parse(text, FORM).ok().filter(|date| plain && date.year() >= 1)
}

fn write_day(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// As the schema says: counted before it is trimmed, and no control characters at its ends either.
fn text<const MAX: usize>(field: &'static str, text: &str) -> Result<Text<MAX>, Invalid> {
    let problem = if text.chars().nth(MAX).is_some() {
        format!("too long; write at most {MAX} characters")
    } else if text.chars().any(char::is_control) {
        "has a line break, a tab or another control character; leave them out".to_owned()
    } else {
        return Text::new(field, text);
    };
    Err(Invalid { field, problem })
}

/// Collects what is wrong with a body, so that its sender hears everything at once.
#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn take<T>(&mut self, result: Result<T, Invalid>) -> Option<T> {
        result.map_err(|invalid| self.0.push(invalid.into())).ok()
    }

    fn add(&mut self, field: &str, problem: impl Into<String>) {
        self.0.push(Fault { field: Some(field.to_owned()), line: None, problem: problem.into() });
    }

    fn into_problem(self) -> Problem {
        Problem::invalid(self.0)
    }
}

fn string(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(description))
}

pub(super) fn moment_schema() -> RefOr<Schema> {
    string("RFC 3339, UTC").format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).into()
}

pub(super) fn uuid_schema() -> RefOr<Schema> {
    string("A UUID").format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid))).into()
}
