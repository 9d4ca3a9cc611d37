//! Neighbours, threshold and window limit of a session: functions of its size, compiled into both sides, never taken from
//! the server (docs/protocol/graph.md).

use crate::check::Check;
use crate::error::{Reason, Refusal};

#[rustfmt::skip]
mod table;

/// No set of participants is ever smaller.
pub const FLOOR: u32 = 10;
/// The largest session with a complete graph, unless the profile asks for one.
pub const COMPLETE_UP_TO: u32 = 128;
/// The largest session of [`Profile::Malicious`].
pub const MALICIOUS_UP_TO: u32 = 256;
/// The largest session.
pub const N_MAX: u32 = 100_000;

/// What the server is assumed to do (docs/threat-model.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// S: follows the protocol, may be curious and collude with a fraction of the devices.
    Standard,
    /// M: may do anything, and collude with a bounded number of devices of the session.
    Malicious,
}

impl TryFrom<u8> for Profile {
    type Error = Refusal;

    fn try_from(byte: u8) -> Result<Self, Refusal> {
        match byte {
            0 => Ok(Self::Standard),
            1 => Ok(Self::Malicious),
            _ => Err(Reason::Malformed.into()),
        }
    }
}

impl From<Profile> for u8 {
    fn from(profile: Profile) -> Self {
        match profile {
            Profile::Standard => 0,
            Profile::Malicious => 1,
        }
    }
}

/// How many devices may be corrupt and how many may drop out, as fractions of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// 10 % corrupt, 10 % dropped.
    Default,
    /// 33 % corrupt, 10 % dropped.
    Paranoid,
}

impl TryFrom<u8> for Class {
    type Error = Refusal;

    fn try_from(byte: u8) -> Result<Self, Refusal> {
        match byte {
            0 => Ok(Self::Default),
            1 => Ok(Self::Paranoid),
            _ => Err(Reason::Malformed.into()),
        }
    }
}

impl From<Class> for u8 {
    fn from(class: Class) -> Self {
        match class {
            Class::Default => 0,
            Class::Paranoid => 1,
        }
    }
}

/// The two shapes a session's graph can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GraphKind {
    /// Everybody is everybody's neighbour.
    Complete,
    /// A ring in an order that the session id gives; neighbours are the nearest on both sides.
    Sparse,
}

/// What follows from a session's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parameters {
    /// Neighbours of each participant.
    pub k: u32,
    /// Shares that rebuild a secret.
    pub t: u32,
    /// The graph.
    pub graph: GraphKind,
    /// How many of `k / 2` ring positions in a row may be missing from the survivors; see [`window_limit`].
    pub window: u32,
}

/// The parameters of a session of `n` participants.
///
/// # Errors
/// C10 [`Reason::Parameters`] when no session of this size exists in this profile.
pub fn parameters(n: u32, profile: Profile, class: Class) -> Result<Parameters, Refusal> {
    let refused = Refusal::by(Check::C10, Reason::Parameters);
    let most = match profile {
        Profile::Standard => N_MAX,
        Profile::Malicious => MALICIOUS_UP_TO,
    };
    if !(FLOOR..=most).contains(&n) {
        return Err(refused);
    }
    if profile == Profile::Malicious || n <= COMPLETE_UP_TO {
        let k = n - 1;
        // Two-sided in both profiles: 2 t > k + c.
        let t = (k + corrupt(n, class)) / 2 + 1;
        if t > k - dropped(n, class) {
            return Err(refused);
        }
        return Ok(Parameters { k, t, graph: GraphKind::Complete, window: n });
    }
    let runs = match class {
        Class::Default => table::K_T_DEFAULT,
        Class::Paranoid => table::K_T_PARANOID,
    };
    let (_, k, t) = runs[runs.partition_point(|(first, ..)| *first <= n).checked_sub(1).ok_or(refused)?];
    Ok(Parameters { k: k.into(), t: t.into(), graph: GraphKind::Sparse, window: window_limit(n, class) })
}

/// Judges a pair (k, t) that somebody else claims to be the right one.
///
/// # Errors
/// C04 [`Reason::CohortFloor`] below [`FLOOR`] participants, else C10 [`Reason::Parameters`] for any pair but
/// [`parameters`]'.
pub fn check_threshold(n: u32, k: u32, t: u32, profile: Profile, class: Class) -> Result<(), Refusal> {
    if n < FLOOR {
        return Err(Refusal::by(Check::C04, Reason::CohortFloor));
    }
    let right = parameters(n, profile, class)?;
    if (k, t) != (right.k, right.t) {
        return Err(Refusal::by(Check::C10, Reason::Parameters));
    }
    Ok(())
}

/// How many of `k / 2` ring positions in a row may be missing from the survivors (docs/protocol/graph.md). Complete
/// graphs have no ring:
/// `n`, which is no limit.
pub fn window_limit(n: u32, class: Class) -> u32 {
    let runs = match class {
        Class::Default => table::WINDOW_DEFAULT,
        Class::Paranoid => table::WINDOW_PARANOID,
    };
    match runs.partition_point(|(first, _)| *first <= n) {
        0 => n,
        after => runs[after - 1].1.into(),
    }
}

/// Corrupt participants that a session of `n` allows for: ceil(gamma n).
pub fn corrupt(n: u32, class: Class) -> u32 {
    let percent = match class {
        Class::Default => 10,
        Class::Paranoid => 33,
    };
    (u64::from(n) * percent).div_ceil(100) as u32
}

/// Participants that a session of `n` may lose: ceil(delta n), delta 10 % in both classes.
pub fn dropped(n: u32, class: Class) -> u32 {
    let percent = match class {
        Class::Default | Class::Paranoid => 10,
    };
    (u64::from(n) * percent).div_ceil(100) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specs_table() {
        for (n, k, t) in [(10, 9, 6), (13, 12, 8), (20, 19, 11), (50, 49, 28), (100, 99, 55), (128, 127, 71)] {
            let expected = Ok(Parameters { k, t, graph: GraphKind::Complete, window: n });
            assert_eq!(parameters(n, Profile::Standard, Class::Default), expected, "n = {n}");
            assert_eq!(parameters(n, Profile::Malicious, Class::Default), expected, "n = {n}");
        }
        for (n, k, t) in [(200, 38, 20), (500, 52, 27), (1000, 58, 30), (10_000, 68, 35), (100_000, 74, 38)] {
            let expected = Ok(Parameters { k, t, graph: GraphKind::Sparse, window: window_limit(n, Class::Default) });
            assert_eq!(parameters(n, Profile::Standard, Class::Default), expected, "n = {n}");
        }
        for (n, k, t) in [(500, 104, 70), (1000, 126, 84), (10_000, 156, 103), (100_000, 168, 111)] {
            let expected = Ok(Parameters { k, t, graph: GraphKind::Sparse, window: window_limit(n, Class::Paranoid) });
            assert_eq!(parameters(n, Profile::Standard, Class::Paranoid), expected, "n = {n}");
        }
    }

    #[test]
    fn no_session_outside_the_sizes_of_its_profile() {
        let refused = Err(Refusal::by(Check::C10, Reason::Parameters));
        for n in [0, 9, 100_001, u32::MAX] {
            assert_eq!(parameters(n, Profile::Standard, Class::Default), refused, "n = {n}");
        }
        assert_eq!(parameters(257, Profile::Malicious, Class::Default), refused);
        let largest = parameters(256, Profile::Malicious, Class::Default).unwrap();
        assert_eq!((largest.graph, largest.k), (GraphKind::Complete, 255));
    }

    #[test]
    fn thresholds_hold_a_majority_and_leave_room_for_dropouts() {
        for n in FLOOR..=3000 {
            for class in [Class::Default, Class::Paranoid] {
                let Ok(Parameters { k, t, graph, window }) = parameters(n, Profile::Standard, class) else {
                    panic!("no session of {n}")
                };
                assert!(2 * t > k && t <= k && k < n, "n = {n}");
                if graph == GraphKind::Complete {
                    assert!(2 * t > k + corrupt(n, class) && t <= k - dropped(n, class), "n = {n}");
                } else {
                    assert!(window < k / 2, "n = {n}: a server could cut the ring");
                }
            }
        }
    }
}
