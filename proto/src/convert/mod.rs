//! From wire messages to domain types, checked once, and back.
//!
//! `TryFrom<wire::X> for X` refuses with [`crate::error::Invalid`]; `From<&X>` and `From<X>` for `wire::X` cannot fail.
//! The rules themselves stand with the types (`ModelSpec::check` and so on), so that values from files meet the same
//! ones.

mod admin;
mod error;
mod manifest;
mod model;
mod plan;
mod stage;
mod task;

/// `From<X>` for a wire message that has `From<&X>`.
macro_rules! owned {
    ($($domain:ty => $wire:ty),+ $(,)?) => {
        $(impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                Self::from(&value)
            }
        })+
    };
}
use owned;

/// Whole milliseconds; saturates after half a billion years.
fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The beginning of `text`, at most `most` bytes, cut between two characters.
fn cut(text: &str, most: usize) -> String {
    text[..text.floor_char_boundary(most)].to_owned()
}
