//! Byte ranges (RFC 9110, section 14), one at a time.

use std::ops::Range;

/// What a `Range` header asks of a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Everything: no header, one that is not understood, or several ranges.
    Whole,
    /// These bytes, never none.
    Part(Range<u64>),
    /// Nothing of it is there.
    Unsatisfiable,
}

/// Reads a `Range` header for a blob of `size` bytes.
pub(super) fn parse(header: Option<&str>, size: u64) -> Wanted {
    let Some(spec) = header.and_then(|header| header.strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::Whole };
    let (first, last) = (first.trim(), last.trim());
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return Wanted::Whole;
    }
    // A number beyond u64 is beyond every blob.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let range = match (first, last) {
        ("", "") => return Wanted::Whole,
        ("", suffix) => size.saturating_sub(number(suffix))..size,
        (first, "") => number(first)..size,
        (first, last) if number(last) < number(first) => return Wanted::Whole,
        (first, last) => number(first)..number(last).saturating_add(1).min(size),
    };
    if range.is_empty() { Wanted::Unsatisfiable } else { Wanted::Part(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        use Wanted::{Part, Unsatisfiable, Whole};
        for (header, expected) in [
            ("bytes=0-9", Part(0..10)),
            ("bytes=90-", Part(90..100)),
            ("bytes=90-1000", Part(90..100)),
            ("bytes=-10", Part(90..100)),
            ("bytes=-1000", Part(0..100)),
            ("bytes=99-99", Part(99..100)),
            ("bytes=100-", Unsatisfiable),
            ("bytes=100-200", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=0-99999999999999999999999", Part(0..100)),
            ("bytes=9-0", Whole),
            ("bytes=0-1,5-6", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=+1-5", Whole),
            ("lines=0-9", Whole),
            ("", Whole),
        ] {
            assert_eq!(parse(Some(header), 100), expected, "{header}");
        }
        assert_eq!(parse(None, 100), Whole);
        assert_eq!(parse(Some("bytes=0-"), 0), Unsatisfiable);
    }
}
