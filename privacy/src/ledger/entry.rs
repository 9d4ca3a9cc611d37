//! What the log says was spent.

use super::charge::Charge;
use super::record::Reservation;

/// One spend.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    /// A round, and the digest of what left the device.
    Round { sequence: u64, reservation: Reservation, released: Option<[u8; 32]> },
    /// Damage. Its time is that of the next record: until there is one it counts in every period.
    Lost { sequence: u64, charge: Charge, time_ms: Option<u64> },
}

impl Entry {
    pub(super) const fn sequence(&self) -> u64 {
        match self {
            Self::Round { sequence, .. } | Self::Lost { sequence, .. } => *sequence,
        }
    }

    pub(super) const fn charge(&self) -> &Charge {
        match self {
            Self::Round { reservation, .. } => &reservation.charge,
            Self::Lost { charge, .. } => charge,
        }
    }

    pub(super) const fn time_ms(&self) -> Option<u64> {
        match self {
            Self::Round { reservation, .. } => Some(reservation.time_ms),
            Self::Lost { time_ms, .. } => *time_ms,
        }
    }
}
