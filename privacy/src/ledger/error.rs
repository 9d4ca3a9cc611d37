//! Why the ledger does not open, and why it lets nothing be spent.

use super::charge::Claim;
use crate::accounting::AccountingError;
use crate::distributed::MechanismError;

/// The log cannot be trusted: nothing may leave the device. Only a reset by the user helps ([`super::Ledger::reset`]), and
/// from then on the past exposure is unknown, which the user must be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Locked {
    /// There is no log, or not even its first record was written to the end. If the key store has never counted a record there was none, and one may be created.
    #[error("the privacy ledger is missing: it must be restored, or reset by the user")]
    Missing,
    /// A record was changed, is not this device's, or was written by a newer version.
    #[error("the privacy ledger is damaged at byte {at}: it must be reset by the user")]
    Damaged {
        /// Where the first unreadable record begins.
        at: u64,
    },
    /// The log is older than the key store remembers.
    #[error("the privacy ledger was set back from {expected} records to {found}: it must be reset by the user")]
    RolledBack {
        /// Records that are there.
        found: u64,
        /// Records that were there.
        expected: u64,
    },
}

impl Locked {
    /// The stable word for the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "ledger_missing",
            Self::Damaged { .. } => "ledger_damaged",
            Self::RolledBack { .. } => "ledger_rolled_back",
        }
    }
}

/// Nothing was spent, and nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The last record was never confirmed as written. Open the ledger again from what is stored.
    #[error("the last record was never confirmed: open the privacy ledger again")]
    Unconfirmed,
    /// This one round costs more than a round or a whole period may.
    #[error("this round costs more than the {} limit of a round allows: leave it out", claim.code())]
    TooCostly {
        /// The promise that it would break.
        claim: Claim,
    },
    /// The budget is used up.
    #[error("the {} budget is used up; it refills {}", claim.code(), refills(*refills_ms))]
    Exhausted {
        /// The promise that another round would break.
        claim: Claim,
        /// When the next period begins, Unix milliseconds; `None` for the lifetime's budget, which never refills.
        refills_ms: Option<u64>,
    },
    /// This round was paid for already: its own bytes may be sent again, nothing else.
    #[error("this round was paid for already: send the same bytes again, or leave it")]
    AlreadyReserved,
    /// No such reservation, or it has released its payload.
    #[error("no reservation of this round waits for a payload")]
    NothingToRelease,
    /// The payload is not the one that was released: fresh noise on the same data costs again.
    #[error("these are not the bytes that were paid for: leave the round")]
    DifferentBytes,
    /// The clock is behind the last record. Periods would refill twice.
    #[error("the clock is behind the last record, at {last_ms} ms: set it right")]
    ClockBack {
        /// Time of the last record, Unix milliseconds.
        last_ms: u64,
    },
    /// A name of the round has no bytes, or more than 255.
    #[error("the name of the {0} must have 1 to 255 bytes")]
    Name(&'static str),
    /// Neither noise on the update nor on gradients: there is nothing that a budget could pay for.
    #[error("a round without noise has no cost that could be accounted for")]
    NoNoise,
    /// The cost cannot be worked out.
    #[error(transparent)]
    Mechanism(#[from] MechanismError),
    /// A limit or a cost is no usable number.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
}

impl Refusal {
    /// The stable word for the cause.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unconfirmed => "ledger_unconfirmed",
            Self::TooCostly { .. } => "round_too_costly",
            Self::Exhausted { .. } => "budget_exhausted",
            Self::AlreadyReserved => "already_reserved",
            Self::NothingToRelease => "nothing_to_release",
            Self::DifferentBytes => "different_bytes",
            Self::ClockBack { .. } => "clock_back",
            Self::Name(_) => "name",
            Self::NoNoise => "no_noise",
            Self::Mechanism(error) => error.code(),
            Self::Accounting(error) => error.code(),
        }
    }
}

fn refills(at_ms: Option<u64>) -> String {
    at_ms.map_or_else(|| "never".to_owned(), |ms| format!("at {ms} ms since 1970"))
}
