//! The checks that a device makes, by their numbers in docs/protocol/ and docs/threat-model.md.

/// One of the device's checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The configuration is signed by the pinned task key.
    C01,
    /// The digest of the model bytes that are trained on.
    C02,
    /// The number is higher than any joined before.
    C03,
    /// Devices, sharers and survivors are at least ten, and what the app asks for.
    C04,
    /// Bounds of the configuration, noise for honest survivors, the pinned authority.
    C05,
    /// The own keys are in the roster once, in their place.
    C06,
    /// Every signature, and every certificate in the malicious profile.
    C07,
    /// No key twice, none of low order, one spelling of each.
    C08,
    /// Root and session id are computed, not told.
    C09,
    /// Neighbours and threshold come from the compiled table.
    C10,
    /// The neighbours are the ring's.
    C11,
    /// Sharers are listed, neighbours are enough, and every share opens.
    C12,
    /// Words are wide enough, and the grid is fine enough.
    C13,
    /// The round is paid for in the privacy ledger before noise is drawn.
    C14,
    /// One masked input; a retry repeats its bytes.
    C15,
    /// The own input is in the sum, and survivors are sharers.
    C16,
    /// As many neighbours as the threshold have survived.
    C17,
    /// No hole in the ring that loss does not make.
    C18,
    /// One statement.
    C19,
    /// As many neighbours as the threshold signed the same sets.
    C20,
    /// One share for each peer, of the kind that the own sets give.
    C21,
    /// The order of the stages, and nothing after the end.
    C22,
    /// Keys are fresh, and wiped at the end.
    C23,
    /// One session for each update.
    C24,
    /// The signed closing times.
    C25,
    /// The plan's vectors.
    C26,
}

impl Check {
    /// Every check, in order.
    pub const ALL: [Self; 26] = [
        Self::C01,
        Self::C02,
        Self::C03,
        Self::C04,
        Self::C05,
        Self::C06,
        Self::C07,
        Self::C08,
        Self::C09,
        Self::C10,
        Self::C11,
        Self::C12,
        Self::C13,
        Self::C14,
        Self::C15,
        Self::C16,
        Self::C17,
        Self::C18,
        Self::C19,
        Self::C20,
        Self::C21,
        Self::C22,
        Self::C23,
        Self::C24,
        Self::C25,
        Self::C26,
    ];

    /// The number as the documents write it, such as `C05`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::C01 => "C01",
            Self::C02 => "C02",
            Self::C03 => "C03",
            Self::C04 => "C04",
            Self::C05 => "C05",
            Self::C06 => "C06",
            Self::C07 => "C07",
            Self::C08 => "C08",
            Self::C09 => "C09",
            Self::C10 => "C10",
            Self::C11 => "C11",
            Self::C12 => "C12",
            Self::C13 => "C13",
            Self::C14 => "C14",
            Self::C15 => "C15",
            Self::C16 => "C16",
            Self::C17 => "C17",
            Self::C18 => "C18",
            Self::C19 => "C19",
            Self::C20 => "C20",
            Self::C21 => "C21",
            Self::C22 => "C22",
            Self::C23 => "C23",
            Self::C24 => "C24",
            Self::C25 => "C25",
            Self::C26 => "C26",
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_run_from_1_to_26() {
        for (number, check) in (1..).zip(Check::ALL) {
            assert_eq!(check.name(), format!("C{number:02}"));
        }
    }
}
