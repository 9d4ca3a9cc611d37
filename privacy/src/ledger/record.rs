//! The bytes of one record. Little-endian, exact; what does not decode to the last byte is refused.
//!
//! ```text
//! frame  = 0xD9 ‖ kind u8 ‖ len(body) u16 ‖ not len(body) u16 ‖ body ‖ mac [32]
//! text   = len u8, 1 to 255 ‖ UTF-8
//! limits = round ‖ period ‖ lifetime (each aggregate, local, example f64) ‖ period_ms u64 ‖ delta f64
//! charge = aggregate u64 ‖ local u64 ‖ 16 × u64, one per order
//! ```

use super::charge::{Charge, ExampleCost};
use crate::accounting::dp_sgd::DpSgd;
use crate::accounting::zcdp::Rho;
use crate::distributed::Mechanism;
use crate::guardrails::{Caps, Limits};
use crate::plan::Trust;

/// First byte of every frame.
pub(super) const MARK: u8 = 0xD9;
/// Bytes before the body.
pub(super) const HEADER: usize = 6;
/// Bytes of a MAC.
pub(super) const MAC: usize = 32;
/// Longest body: two texts of 255 bytes and every option of a reservation.
pub(super) const BODY_MAX: usize = 1024;
/// Longest frame.
pub(super) const FRAME_MAX: usize = HEADER + BODY_MAX + MAC;
/// The only version.
const VERSION: u8 = 1;

/// What happened, as it stands in the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    /// The first record: whose log this is and what it may spend.
    Opened { epoch: u64, past_known: bool, limits: Limits, time_ms: u64 },
    /// Stricter limits from here on.
    Tightened { limits: Limits, time_ms: u64 },
    /// Spent, whatever happens next.
    Reserved(Reservation),
    /// The one payload of a reservation.
    Released { reservation: u64, digest: [u8; 32], time_ms: u64 },
    /// Bytes before this record cannot be read: they count as a whole round.
    Lost { skipped: u32, digest: [u8; 32], charge: Charge },
}

/// A round that was paid for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reservation {
    pub(super) time_ms: u64,
    pub(super) task: String,
    pub(super) round: u64,
    pub(super) policy: String,
    pub(super) trust: Trust,
    pub(super) mechanism: Option<Mechanism>,
    pub(super) examples: Option<DpSgd>,
    pub(super) charge: Charge,
}

impl Record {
    pub(super) const fn kind(&self) -> u8 {
        match self {
            Self::Opened { .. } => 0,
            Self::Tightened { .. } => 1,
            Self::Reserved(_) => 2,
            Self::Released { .. } => 3,
            Self::Lost { .. } => 4,
        }
    }

    /// Kinds are below this.
    const KINDS: u8 = 5;

    /// Header and body, without the MAC.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Writer(vec![]);
        match self {
            Self::Opened { epoch, past_known, limits, time_ms } => {
                body.bytes(&[VERSION, u8::from(*past_known)]).u64(*epoch).limits(limits).u64(*time_ms);
            }
            Self::Tightened { limits, time_ms } => {
                body.limits(limits).u64(*time_ms);
            }
            Self::Reserved(reservation) => body.reservation(reservation),
            Self::Released { reservation, digest, time_ms } => {
                body.u64(*reservation).bytes(digest).u64(*time_ms);
            }
            Self::Lost { skipped, digest, charge } => {
                body.bytes(&skipped.to_le_bytes()).bytes(digest).charge(charge);
            }
        }
        // Texts are at most 255 bytes long, so no body comes near `BODY_MAX`.
        let length = body.0.len() as u16;
        let mut frame = vec![MARK, self.kind()];
        frame.extend_from_slice(&length.to_le_bytes());
        frame.extend_from_slice(&(!length).to_le_bytes());
        frame.append(&mut body.0);
        frame
    }

    /// Kind and length of the body; `None` if this is no header. A flipped bit does not make another length of it.
    pub(super) fn header(header: &[u8; HEADER]) -> Option<(u8, usize)> {
        let &[mark, kind, a, b, c, d] = header;
        let (length, check) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        let fine = mark == MARK && kind < Self::KINDS && length == !check && usize::from(length) <= BODY_MAX;
        fine.then_some((kind, length.into()))
    }

    /// Reads a body back; `None` for anything that [`Self::encode`] does not write.
    pub(super) fn decode(kind: u8, body: &[u8]) -> Option<Self> {
        let mut r = Reader(body);
        let record = match kind {
            0 => {
                let [VERSION, past_known @ 0..=1] = r.array()? else { return None };
                let (epoch, limits, time_ms) = (r.u64()?, r.limits()?, r.u64()?);
                Self::Opened { epoch, past_known: past_known == 1, limits, time_ms }
            }
            1 => Self::Tightened { limits: r.limits()?, time_ms: r.u64()? },
            2 => Self::Reserved(r.reservation()?),
            3 => Self::Released { reservation: r.u64()?, digest: r.array()?, time_ms: r.u64()? },
            4 => Self::Lost { skipped: r.u32()?, digest: r.array()?, charge: r.charge()? },
            _ => return None,
        };
        r.0.is_empty().then_some(record)
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn f64(&mut self, value: f64) -> &mut Self {
        self.u64(value.to_bits())
    }

    /// `text` has 1 to 255 bytes; the ledger checked it.
    fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(&[text.len() as u8]).bytes(text.as_bytes())
    }

    fn limits(&mut self, limits: &Limits) -> &mut Self {
        for caps in [&limits.round, &limits.period, &limits.lifetime] {
            self.f64(caps.aggregate).f64(caps.local).f64(caps.example);
        }
        self.u64(limits.period_ms).f64(limits.delta)
    }

    fn charge(&mut self, charge: &Charge) -> &mut Self {
        self.u64(charge.aggregate.units()).u64(charge.local.units());
        for units in charge.example.units() {
            self.u64(*units);
        }
        self
    }

    fn reservation(&mut self, reservation: &Reservation) {
        self.u64(reservation.time_ms).text(&reservation.task).u64(reservation.round).text(&reservation.policy);
        self.bytes(&[match reservation.trust {
            Trust::Distributed => 0,
            Trust::Local => 1,
        }]);
        self.bytes(&[u8::from(reservation.mechanism.is_some())]);
        if let Some(mechanism) = &reservation.mechanism {
            self.bytes(&mechanism.grid().to_le_bytes()).u64(mechanism.dim()).u64(mechanism.local_variance());
            self.bytes(&mechanism.n_honest().to_le_bytes());
        }
        self.bytes(&[u8::from(reservation.examples.is_some())]);
        if let Some(examples) = &reservation.examples {
            self.f64(examples.noise_multiplier()).f64(examples.rate()).bytes(&examples.steps().to_le_bytes());
        }
        self.charge(&reservation.charge);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn f64(&mut self) -> Option<f64> {
        self.u64().map(f64::from_bits)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.array()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn text(&mut self) -> Option<String> {
        let [length] = self.array()?;
        let (text, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        if text.is_empty() { None } else { Some(std::str::from_utf8(text).ok()?.to_owned()) }
    }

    fn limits(&mut self) -> Option<Limits> {
        let mut caps = || Some(Caps { aggregate: self.f64()?, local: self.f64()?, example: self.f64()? });
        let (round, period, lifetime) = (caps()?, caps()?, caps()?);
        Some(Limits { round, period, lifetime, period_ms: self.u64()?, delta: self.f64()? })
    }

    fn charge(&mut self) -> Option<Charge> {
        let (aggregate, local) = (Rho::from_units(self.u64()?), Rho::from_units(self.u64()?));
        let mut example = *ExampleCost::ZERO.units();
        for units in &mut example {
            *units = self.u64()?;
        }
        Some(Charge { aggregate, local, example: ExampleCost::from_units(example) })
    }

    fn reservation(&mut self) -> Option<Reservation> {
        let (time_ms, task, round, policy) = (self.u64()?, self.text()?, self.u64()?, self.text()?);
        let trust = if self.flag()? { Trust::Local } else { Trust::Distributed };
        let mechanism = if self.flag()? {
            Some(Mechanism::new(self.u32()?, self.u64()?, self.u64()?, self.u32()?).ok()?)
        } else {
            None
        };
        let examples = if self.flag()? { Some(DpSgd::new(self.f64()?, self.f64()?, self.u32()?).ok()?) } else { None };
        Some(Reservation { time_ms, task, round, policy, trust, mechanism, examples, charge: self.charge()? })
    }
}
