//! Into which sessions a cohort divides (docs/protocol.md): one on a complete graph, one on a sparse graph, or groups
//! on complete graphs whose sums are added.

use scale_proto::task::Sessions;
use scale_secagg::params::{N_MAX, Profile};

use super::Rules;

/// Whether a cohort makes one session, however large it is.
///
/// Noise that devices add is sized for each sum that the coordinator sees, so groups would cost the square root of their
/// number in noise. The malicious profile has no sparse graphs: its cohorts divide, unless the operator has asked for
/// one session and the task's check found that it fits.
pub fn one_session(profile: Profile, wanted: Sessions, noise_is_distributed: bool) -> bool {
    match (profile, wanted) {
        (_, Sessions::One) => true,
        (Profile::Standard, Sessions::Auto) => noise_is_distributed,
        (Profile::Malicious, Sessions::Auto) => false,
    }
}

impl Rules {
    /// Devices in each session of a cohort of `members`, at least the floor: they differ by one at most.
    pub(super) fn session_sizes(&self, members: u32) -> Vec<u32> {
        let count = members.div_ceil(self.largest_session()).min(members / self.floor).max(1);
        (0..count).map(|ordinal| members / count + u32::from(ordinal < members % count)).collect()
    }

    /// Most devices of one session.
    pub fn largest_session(&self) -> u32 {
        if self.one_session { N_MAX } else { self.session_max }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rules;
    use super::*;

    #[test]
    fn who_makes_one_session() {
        for (profile, wanted, noise, one) in [
            (Profile::Standard, Sessions::Auto, false, false),
            (Profile::Standard, Sessions::Auto, true, true),
            (Profile::Standard, Sessions::One, false, true),
            (Profile::Standard, Sessions::One, true, true),
            (Profile::Malicious, Sessions::Auto, false, false),
            (Profile::Malicious, Sessions::Auto, true, false),
            (Profile::Malicious, Sessions::One, false, true),
        ] {
            assert_eq!(one_session(profile, wanted, noise), one, "{profile:?}, {wanted:?}, noise {noise}");
        }
    }

    #[test]
    fn sizes_by_the_rule() {
        let sizes = |one_session, members| Rules { one_session, session_max: 128, ..rules() }.session_sizes(members);
        for members in [10, 127, 128] {
            assert_eq!(sizes(false, members), [members], "complete");
            assert_eq!(sizes(true, members), [members], "complete");
        }
        assert_eq!(sizes(false, 129), [65, 64], "groups");
        assert_eq!(sizes(false, 1000), [125; 8]);
        assert_eq!(sizes(true, 129), [129], "sparse");
        assert_eq!(sizes(true, N_MAX), [N_MAX]);
        assert_eq!(sizes(true, N_MAX + 1), [N_MAX / 2 + 1, N_MAX / 2], "several sparse ones");
        let small = Rules { one_session: true, session_max: 20, ..rules() };
        assert_eq!(small.session_sizes(100), [100], "session_max is for groups");
    }
}
