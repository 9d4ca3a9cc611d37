//! The device that ships as a victim.

use bytes::Bytes;
use scale_client_core::device::{Cause, Event, State};
use scale_client_core::testing::{self, Sent, Silence, session};
use scale_proto::answer::StageDown;
use scale_proto::ids::Digest;
use scale_proto::time::Timestamp;

use super::setting::Offer;
use super::victim::{Habits, Message, Refused, Victim};

/// The kit's device, and what the judge knows of it.
pub struct Device {
    kit: testing::Device,
    trained_on: [u8; 32],
    /// Killed before everything that it is told.
    restarts: bool,
}

impl Device {
    /// Device number `number`.
    pub fn new(number: u32, habits: Habits) -> Self {
        let mut kit = testing::Device::new(number);
        kit.rules.guardrails.cohort_min = habits.cohort_min;
        if let Some(authority) = habits.authority() {
            kit.certify(&authority, u64::MAX);
        }
        Self { kit, trained_on: [0; 32], restarts: false }
    }

    /// The same device, which loses its memory before everything that it is told: only what it has stored can refuse a lie.
    pub fn restarting(number: u32, habits: Habits) -> Self {
        Self { restarts: true, ..Self::new(number, habits) }
    }

    /// Every message that has left the device in this round.
    pub fn sent(&self) -> &[Sent] {
        self.kit.sent()
    }

    /// Gives the machine something that happened; the bytes that it sends, if it sends any.
    ///
    /// # Errors
    /// Why the device has left.
    pub fn happen(&mut self, event: Event, now_ms: u64) -> Result<Option<Bytes>, Refused> {
        self.kit.now = Timestamp::from_millis(now_ms);
        self.kit.happen(event).map_err(|silence| self.refused(silence))
    }

    fn refused(&self, silence: Silence) -> Refused {
        let left = |cause: Cause| Refused {
            check: cause.check().map_or_else(String::new, |check| check.to_string()),
            code: cause.code().to_owned(),
        };
        match silence {
            Silence::Left(cause) => left(cause),
            _ => Refused { check: String::new(), code: self.kit.state().name().into() },
        }
    }
}

impl Victim for Device {
    fn identity(&self) -> [u8; 32] {
        self.kit.identity.public()
    }

    fn offer(&mut self, offer: &Offer, now_ms: u64) -> Result<Vec<u8>, Refused> {
        self.kit.now = Timestamp::from_millis(now_ms);
        let keys = self.kit.take(offer.manifest(), &offer.model).map_err(|silence| self.refused(silence))?;
        // The machine has compared the bytes with the signed digest; the judge looks at the bytes themselves.
        self.trained_on = Digest::of(&offer.model).0;
        Ok(keys.to_vec())
    }

    fn handle(&mut self, message: Message<'_>, now_ms: u64) -> Result<Vec<u8>, Refused> {
        let (payload, roster) = match message {
            Message::Roster { form, bytes } => (bytes, Some(form)),
            Message::Shares(bytes) | Message::Survivors(bytes) | Message::Signatures(bytes) => (bytes, None),
        };
        self.kit.now = Timestamp::from_millis(now_ms);
        if self.restarts
            && let Err(left @ Silence::Left(_)) = self.kit.restart()
        {
            return Err(self.refused(left));
        }
        let payload = Bytes::copy_from_slice(payload);
        let down = StageDown { session: session(), stage: message.stage(), payload, roster };
        // A wait is no answer either.
        Ok(self.happen(Event::Down(down), now_ms)?.unwrap_or_default().to_vec())
    }

    fn input(&self) -> Vec<Vec<u32>> {
        // Residues modulo 2^32.
        let residues = |vector: &Vec<i64>| vector.iter().map(|&entry| entry as u32).collect();
        self.kit.summand().iter().map(residues).collect()
    }

    fn trained_on(&self) -> [u8; 32] {
        self.trained_on
    }

    fn is_over(&self) -> bool {
        // What is being sent again until it is accepted is all that a revealing device still has.
        let state = self.kit.state();
        matches!(state, State::Revealing(..)) || state.is_over() && self.kit.stored().is_none()
    }

    fn restart(&mut self) -> Option<Vec<u8>> {
        Some(self.kit.restart().ok()?.to_vec())
    }
}
