//! Small rules that several families share. Each names the field and says what would be right.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::error::Invalid;
use crate::limits;

/// `value` lies in `range`.
pub(crate) fn within<T: PartialOrd + Display>(
    field: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), Invalid> {
    if range.contains(&value) {
        Ok(())
    } else {
        Err(Invalid::new(field, format!("{value}; it lies between {} and {}", range.start(), range.end())))
    }
}

/// `value` is 1 or more.
pub(crate) fn at_least_one(field: &'static str, value: u32) -> Result<(), Invalid> {
    if value == 0 { Err(Invalid::new(field, "0; it is at least 1")) } else { Ok(()) }
}

/// `value` is a number above 0.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<(), Invalid> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(Invalid::new(field, format!("{value}; it is a finite number above 0")))
    }
}

/// `value` is a number, 0 or above.
pub(crate) fn not_negative(field: &'static str, value: f64) -> Result<(), Invalid> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(Invalid::new(field, format!("{value}; it is a finite number, 0 or above")))
    }
}

/// `value` is a decay factor: 0 or above, below 1.
pub(crate) fn decay(field: &'static str, value: f32) -> Result<(), Invalid> {
    if (0.0..1.0).contains(&value) {
        Ok(())
    } else {
        Err(Invalid::new(field, format!("{value}; it is 0 or above, and below 1")))
    }
}

/// `text` is not empty and has at most `most` bytes.
pub(crate) fn text(field: &'static str, text: &str, most: usize) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new(field, "empty"));
    }
    at_most_bytes(field, text.len(), most)
}

/// At most `most` bytes.
pub(crate) fn at_most_bytes(field: &'static str, len: usize, most: usize) -> Result<(), Invalid> {
    if len <= most { Ok(()) } else { Err(Invalid::new(field, format!("{len} bytes; it has at most {most}"))) }
}

/// `code` is one word: visible ASCII, no spaces.
pub(crate) fn code(field: &'static str, code: &str) -> Result<(), Invalid> {
    text(field, code, limits::CODE_BYTES)?;
    if code.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Invalid::new(field, "a code is one word of visible ASCII characters"))
    }
}

/// Canonical bytes of the protocol: any content, of a size that one message holds.
pub(crate) fn payload(field: &'static str, bytes: &[u8]) -> Result<(), Invalid> {
    at_most_bytes(field, bytes.len(), limits::MESSAGE_BYTES)
}

/// The size of a model file.
pub(crate) fn model_bytes(field: &'static str, bytes: u64) -> Result<(), Invalid> {
    within(field, bytes, 1..=limits::MODEL_BYTES)
}

/// Byte strings of a fixed size: keys and signatures.
pub(crate) fn fixed<const N: usize>(field: &'static str, bytes: &[u8]) -> Result<[u8; N], Invalid> {
    bytes.try_into().map_err(|_| Invalid::new(field, format!("{} bytes; it has {N}", bytes.len())))
}

/// The same refusal under the name that the enclosing message has for the field.
pub(crate) fn rename(field: &'static str) -> impl Fn(Invalid) -> Invalid {
    move |refused| Invalid { field, problem: refused.problem }
}

/// A message within a message, or a oneof, that has to be there.
pub(crate) fn present<T>(field: &'static str, value: Option<T>) -> Result<T, Invalid> {
    value.ok_or_else(|| Invalid::new(field, "missing"))
}
