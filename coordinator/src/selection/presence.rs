//! Devices that wait for the end of selection at this moment. Their rows hear of it now and then, so that every process
//! can tell who is absent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use scale_proto::ids::{DeviceId, RoundId};

use crate::context::guard;

/// How often each device waits here, by round.
#[derive(Default)]
pub(super) struct Presence(Mutex<HashMap<RoundId, HashMap<DeviceId, u32>>>);

/// A check-in that is on the line, until it is dropped.
pub(super) struct Waiting {
    presence: Arc<Presence>,
    round: RoundId,
    device: DeviceId,
}

impl Presence {
    /// The device waits from now on.
    pub(super) fn wait(self: &Arc<Self>, round: RoundId, device: DeviceId) -> Waiting {
        *guard(&self.0).entry(round).or_default().entry(device).or_default() += 1;
        Waiting { presence: Arc::clone(self), round, device }
    }

    /// Devices that wait for this round here.
    pub(super) fn of(&self, round: RoundId) -> Vec<DeviceId> {
        guard(&self.0).get(&round).map(|devices| devices.keys().copied().collect()).unwrap_or_default()
    }

    /// Rounds that devices wait for here.
    pub(super) fn rounds(&self) -> Vec<RoundId> {
        guard(&self.0).keys().copied().collect()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut rounds = guard(&self.presence.0);
        let Some(devices) = rounds.get_mut(&self.round) else { return };
        if let Some(count) = devices.get_mut(&self.device) {
            *count -= 1;
            if *count == 0 {
                devices.remove(&self.device);
            }
        }
        if devices.is_empty() {
            rounds.remove(&self.round);
        }
    }
}
