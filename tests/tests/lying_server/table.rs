//! The form of one lie, and how it is judged.

use std::fmt;

use scale_secagg::params::Profile;
use scale_tests::liar::{Crew, Habits, Liar, Report};

/// Seed of the authority that certifies devices in profile M.
pub(crate) const AUTHORITY: [u8; 32] = [88; 32];

/// What a device says of every message out of turn: the checks C15, C19 and C22 are one word of its machine.
pub(crate) const OUT_OF_TURN: (&str, &str) = ("C22", "stage_order");
/// A second, different request for an input or a signature.
pub(crate) const SECOND_INPUT: (&str, &str) = ("C15", "second_input");
pub(crate) const SECOND_STATEMENT: (&str, &str) = ("C19", "second_statement");

/// A lie, the client-side check that has to stop it, and the word that it is refused with.
pub(crate) struct Lie {
    pub(crate) name: &'static str,
    /// Which of C01 to C26 this is a case of.
    pub(crate) checks: &'static [&'static str],
    /// Check and word of the first refusal; none: the lie changes nothing.
    pub(crate) refused: Option<(&'static str, &'static str)>,
    pub(crate) victims: usize,
    pub(crate) puppets: usize,
    pub(crate) habits: Habits,
    /// Told in profile M too.
    pub(crate) certified: bool,
    /// Clients that check nothing, who must lose something to this lie.
    pub(crate) control: Option<Crew>,
    pub(crate) tell: fn(&mut Liar),
}

/// A lie to twelve victims, with two made-up devices among them: as many corrupt ones as the class allows at 14.
pub(crate) fn lie(
    name: &'static str,
    checks: &'static [&'static str],
    refused: (&'static str, &'static str),
    tell: fn(&mut Liar),
) -> Lie {
    let habits = Habits::default();
    let refused = Some(refused);
    Lie { name, checks, refused, victims: 12, puppets: 2, habits, certified: true, control: None, tell }
}

/// Something that needs no refusal: it teaches nothing as it is.
pub(crate) fn harmless(name: &'static str, checks: &'static [&'static str], tell: fn(&mut Liar)) -> Lie {
    Lie { refused: None, ..lie(name, checks, ("", ""), tell) }
}

impl Lie {
    pub(crate) fn among(self, victims: usize, puppets: usize) -> Self {
        Self { victims, puppets, ..self }
    }

    pub(crate) fn with(self, habits: Habits) -> Self {
        Self { habits, ..self }
    }

    /// For profile S alone: profile M has no rings, or the lie has its own certificates.
    pub(crate) fn in_profile_s(self) -> Self {
        Self { certified: false, ..self }
    }

    /// Clients that check nothing lose something to it.
    pub(crate) fn would_leak(self) -> Self {
        Self { control: Some(Crew::Gullible(None)), ..self }
    }

    /// Likewise, if they also believe this threshold.
    pub(crate) fn would_leak_at(self, threshold: u32) -> Self {
        Self { control: Some(Crew::Gullible(Some(threshold))), ..self }
    }

    pub(crate) fn run(&self, crew: Crew, profile: Profile) -> Report {
        let certified = profile == Profile::Malicious;
        let authority = if certified { Some(AUTHORITY) } else { self.habits.authority };
        let mut liar = Liar::new(crew, self.victims, self.puppets, Habits { authority, ..self.habits });
        if certified {
            liar.malicious(&AUTHORITY);
        }
        (self.tell)(&mut liar);
        liar.finish()
    }

    /// What is wrong about how the lie went with real devices; empty if nothing is.
    pub(crate) fn faults(&self, crew: Crew, profile: Profile) -> Vec<String> {
        let report = self.run(crew, profile);
        let mut faults = vec![];
        if !report.leaks.is_empty() {
            faults.push(format!("LEAK: {:?}", report.leaks));
        }
        let first = report.refusals.first().map(|refusal| (refusal.why.check.as_str(), refusal.why.code.as_str()));
        if first != self.refused {
            faults.push(format!("first refusal {first:?}, expected {:?}", self.refused));
        }
        faults
    }

    /// What is wrong about the control: it must leak.
    pub(crate) fn control_faults(&self) -> Vec<String> {
        let Some(crew) = self.control else { return vec![] };
        let report = self.run(crew, Profile::Standard);
        if report.leaks.is_empty() {
            return vec![format!(
                "told to clients that check nothing it leaks nothing; refusals {:?}",
                report.refusals
            )];
        }
        vec![]
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (check, word) = self.refused.unwrap_or(("-", "changes nothing"));
        let control = if self.control.is_some() { "leaks without checks" } else { "" };
        write!(f, "{:<13} {:<58} {check:<4} {word:<20} {control}", self.checks.join(" "), self.name)
    }
}
