//! Objects of an array, one after the other, without a tree of all of them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::cells::{Cells, Content, MAX_CELL_BYTES};
use super::columns::Columns;
use super::{FileError, RowError};

/// The member that holds the rows, if the file is an object: the API's own lists and other tools' names for them.
const LISTS: [&str; 3] = ["transactions", "items", "data"];

/// A place in an array of objects.
#[derive(Clone, Debug)]
pub(super) struct Objects<'a> {
    text: &'a str,
    at: usize,
    line: u64,
    state: State,
    /// Whether the array is a member of an object.
    wrapped: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    First,
    Later,
    Ended,
}

impl<'a> Objects<'a> {
    pub(super) fn open(text: &'a str) -> Result<Self, FileError> {
        let mut objects = Self { text, at: 0, line: 1, state: State::First, wrapped: false };
        if objects.peek().is_none() {
            return Err(FileError::Empty);
        }
        if objects.take('[') {
            return Ok(objects);
        }
        objects.wrapped = objects.take('{');
        let mut more = objects.wrapped && !objects.take('}');
        while more {
            if LISTS.contains(&objects.member()?.as_ref()) && objects.take('[') {
                return Ok(objects);
            }
            objects.value()?;
            more = objects.take(',');
        }
        Err(objects.error("no list of transactions; write [{...}, ...] or {\"transactions\": [{...}, ...]}"))
    }

    /// The next object; `false` after the last one, when the rest of the file is sound too.
    pub(super) fn read(&mut self, cells: &mut Cells<'a>, columns: &mut Columns) -> Result<bool, FileError> {
        let state = self.state;
        match state {
            State::Ended => return Ok(false),
            _ if self.take(']') => return self.end().map(|()| false),
            State::First => self.state = State::Later,
            State::Later => self.expect(',')?,
        }
        // A comma before the bracket is met here, as a value that is none.
        self.peek();
        cells.line = self.line;
        let raw = self.value()?;
        if !matches!(cells.content, Content::Json(_)) {
            cells.content = Content::Json(Vec::new());
        }
        let Content::Json(values) = &mut cells.content else { return Ok(false) };
        values.clear();
        cells.refused = if raw.starts_with('{') {
            let mut refused = None;
            let Members(members) = serde_json::from_str(raw).map_err(|error| json_error(&error, cells.line))?;
            for (name, value) in members {
                let place = columns.place(&name)?;
                if values.len() <= place {
                    values.resize(place + 1, "");
                }
                let value = value.get();
                if value.len() > MAX_CELL_BYTES {
                    let problem = format!("a value of {} bytes; at most {MAX_CELL_BYTES}", value.len());
                    refused = Some(RowError::new(columns.name(place), problem));
                } else if value.contains("\\u") && serde_json::from_str::<Value>(value).is_err() {
                    refused = Some(RowError::new(columns.name(place), "has half a character, such as \\ud800"));
                } else if !values[place].is_empty() {
                    refused = Some(RowError::new(columns.name(place), "appears twice; write it once"));
                }
                values[place] = value;
            }
            refused
        } else {
            Some(RowError::new("row", "not an object; write {\"transaction_date\": ..., \"amount\": ...}"))
        };
        Ok(true)
    }

    /// What stands behind the array.
    fn end(&mut self) -> Result<(), FileError> {
        if self.wrapped {
            while self.take(',') {
                self.member()?;
                self.value()?;
            }
            self.expect('}')?;
        }
        if self.peek().is_some() {
            return Err(self.error("more text behind the end of the list"));
        }
        self.state = State::Ended;
        Ok(())
    }

    /// A member's name and the colon behind it.
    fn member(&mut self) -> Result<Cow<'a, str>, FileError> {
        self.peek();
        let line = self.line;
        let name = self.value()?;
        let name: String = serde_json::from_str(name).map_err(|error| json_error(&error, line))?;
        self.expect(':')?;
        Ok(name.into())
    }

    /// Any one value's text.
    fn value(&mut self) -> Result<&'a str, FileError> {
        self.peek();
        let mut deserializer = serde_json::Deserializer::from_str(&self.text[self.at..]);
        let raw = <&RawValue>::deserialize(&mut deserializer).map_err(|error| json_error(&error, self.line))?.get();
        self.pass(raw.len());
        Ok(raw)
    }

    fn expect(&mut self, sign: char) -> Result<(), FileError> {
        if self.take(sign) { Ok(()) } else { Err(self.error(&format!("not JSON: expected `{sign}`"))) }
    }

    /// Passes over a sign if it comes next.
    fn take(&mut self, sign: char) -> bool {
        let found = self.peek() == Some(sign);
        if found {
            self.pass(1);
        }
        found
    }

    /// The next sign that is no gap.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        let gap = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        self.pass(gap);
        self.text[self.at..].chars().next()
    }

    fn pass(&mut self, bytes: usize) {
        self.line += self.text[self.at..self.at + bytes].matches('\n').count() as u64;
        self.at += bytes;
    }

    fn error(&self, problem: &str) -> FileError {
        FileError::Json { line: self.line, problem: problem.to_owned() }
    }
}

/// serde counts lines from where it began.
fn json_error(error: &serde_json::Error, first: u64) -> FileError {
    let line = first + (error.line() as u64).saturating_sub(1);
    // Its sentence ends with " at line 1 column 7", of its own count.
    let problem = error.to_string();
    let problem = problem.split(" at line ").next().unwrap_or_default();
    FileError::Json { line, problem: format!("not JSON: {problem}") }
}

/// An object's members in their order, values as they stand.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A member's name, copied only if it has escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value's text: a string's characters, a number's digits without an exponent; empty for nothing and null.
pub(super) fn text(value: &str) -> Cow<'_, str> {
    match value.as_bytes().first() {
        None | Some(b'n') => "".into(),
        Some(b'"') if !value.contains('\\') => value.trim_matches('"').trim().into(),
        // Invariant: rows with strings that cannot be decoded are refused.
        Some(b'"') => serde_json::from_str::<String>(value).unwrap_or_default().trim().to_owned().into(),
        Some(b'-' | b'0'..=b'9') => without_exponent(value),
        Some(_) => value.into(),
    }
}

/// `1.5e3` as 1500. A number whose exponent no amount has is left as it is, and refused where an amount is read.
fn without_exponent(number: &str) -> Cow<'_, str> {
    let Some((mantissa, exponent)) = number.split_once(['e', 'E']) else { return number.into() };
    let Some(exponent) = exponent.parse::<i32>().ok().filter(|exponent| exponent.abs() <= 40) else {
        return number.into();
    };
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", mantissa),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = [whole, decimals].concat();
    let point = whole.len() as i64 + i64::from(exponent);
    let plain = match usize::try_from(point) {
        Ok(point) if point > 0 && point < digits.len() => format!("{sign}{}.{}", &digits[..point], &digits[point..]),
        Ok(point) if point > 0 => format!("{sign}{digits}{}", "0".repeat(point - digits.len())),
        _ => format!("{sign}0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
    };
    plain.into()
}
