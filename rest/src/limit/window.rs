//! The rule: of the minute before this one, the part that a window of a minute ending now still covers, and all of this one.
//!
//! `weighted = ceil(previous × (WINDOW − elapsed) / WINDOW)`, and a call is allowed while `weighted + current < limit`.
//! Two counters per key, exact at the borders, at most one call too strict in between. The Lua script of [`super::shared`]
//! has the same line; one table of tests runs against both.

use std::net::IpAddr;
use std::time::Duration;

use super::Bucket;

/// Length of the window.
pub const WINDOW: Duration = Duration::from_secs(60);
pub(super) const WINDOW_MS: u64 = 60_000;

/// What became of a call, and what the headers say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may go on.
    pub allowed: bool,
    /// Calls a window; 0: this bucket is not limited.
    pub limit: u32,
    /// Calls left now.
    pub remaining: u32,
    /// Refused: until a call will be allowed. Allowed: until this window ends.
    pub reset: Duration,
}

impl Decision {
    /// Of a bucket without a limit.
    pub const UNLIMITED: Self = Self { allowed: true, limit: 0, remaining: u32::MAX, reset: Duration::ZERO };
}

/// What has been counted of one key, at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    /// Calls in the window before.
    pub(super) previous: u32,
    /// Calls in this one.
    pub(super) current: u32,
    /// How much of this one has passed, ms, less than [`WINDOW_MS`].
    pub(super) elapsed: u64,
}

impl Counts {
    /// How many calls the sliding window holds.
    pub(super) fn used(self) -> u64 {
        (u64::from(self.previous) * (WINDOW_MS - self.elapsed)).div_ceil(WINDOW_MS) + u64::from(self.current)
    }

    /// The answer to a call after which these are the counts; it is among them if it was `allowed`.
    pub(super) fn decision(self, allowed: bool, limit: u32) -> Decision {
        let left_in_window = WINDOW_MS - self.elapsed;
        let reset = if allowed { left_in_window } else { self.wait(limit) };
        let remaining = u32::try_from(u64::from(limit).saturating_sub(self.used())).unwrap_or(u32::MAX);
        Decision { allowed, limit, remaining, reset: Duration::from_millis(reset) }
    }

    /// Milliseconds until `used() < limit`, if nobody calls meanwhile.
    fn wait(self, limit: u32) -> u64 {
        let left_in_window = WINDOW_MS - self.elapsed;
        let most = u64::from(limit.saturating_sub(1));
        // Until `count` calls of a window, `ms` before they are forgotten, weigh no more than `room`.
        let until = |count: u32, ms: u64, room: u64| match count {
            0 => 0,
            count => ms.saturating_sub(room * WINDOW_MS / u64::from(count)),
        };
        match most.checked_sub(u64::from(self.current)) {
            Some(room) => until(self.previous, left_in_window, room),
            None => left_in_window + until(self.current, WINDOW_MS, most),
        }
    }
}

/// A bucket's name: 17 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// An IPv4 address.
    Ip4([u8; 4]),
    /// The first 64 bits of an IPv6 address.
    Ip6([u8; 8]),
    /// A person.
    User([u8; 16]),
    /// A person's imports.
    Import([u8; 16]),
}

impl From<Bucket> for Key {
    fn from(bucket: Bucket) -> Self {
        match bucket {
            Bucket::Ip(address) => match address.to_canonical() {
                IpAddr::V4(address) => Self::Ip4(address.octets()),
                IpAddr::V6(address) => {
                    let [a, b, c, d, e, f, g, h, ..] = address.octets();
                    Self::Ip6([a, b, c, d, e, f, g, h])
                }
            },
            Bucket::User(user) => Self::User(user.0.into_bytes()),
            Bucket::Import(user) => Self::Import(user.0.into_bytes()),
        }
    }
}

/// The part of a Redis key between the braces, which decides where in a cluster it lives.
impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip4(bytes) => write!(f, "ip:{}", hex::encode(bytes)),
            Self::Ip6(bytes) => write!(f, "ip6:{}", hex::encode(bytes)),
            Self::User(bytes) => write!(f, "user:{}", hex::encode(bytes)),
            Self::Import(bytes) => write!(f, "import:{}", hex::encode(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_as_long_as_it_must_be_and_no_longer() {
        // Every state that refuses: after the wait a call is allowed, a millisecond earlier it is not.
        let later = |counts: Counts, ms: u64| {
            let elapsed = counts.elapsed + ms;
            match elapsed / WINDOW_MS {
                0 => Counts { elapsed, ..counts },
                1 => Counts { previous: counts.current, current: 0, elapsed: elapsed - WINDOW_MS },
                _ => Counts { previous: 0, current: 0, elapsed: 0 },
            }
        };
        for limit in [1, 2, 3, 10, 300] {
            for previous in [0, 1, limit / 2, limit] {
                for current in [0, 1, limit / 2, limit] {
                    for elapsed in [0, 1, 29_999, 59_999] {
                        let counts = Counts { previous, current, elapsed };
                        if counts.used() < u64::from(limit) {
                            continue;
                        }
                        let wait = counts.wait(limit);
                        assert!(later(counts, wait).used() < u64::from(limit), "{counts:?} {limit} {wait}");
                        assert!(later(counts, wait - 1).used() >= u64::from(limit), "{counts:?} {limit} {wait}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_address_is_counted_by_what_a_subscriber_has() {
        let key = |text: &str| Key::from(Bucket::Ip(text.parse().unwrap()));
        for (left, right, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("2001:db8::1", "2001:db8::", true),
        ] {
            assert_eq!(key(left) == key(right), same, "{left} {right}");
            assert_eq!(key(left).to_string() == key(right).to_string(), same, "{left} {right}");
        }
    }
}
