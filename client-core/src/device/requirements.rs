//! The rule that decides from the device's conditions whether it joins a round now.

use crate::host::DeviceConditions;

/// Conditions that must hold before the device joins a round. A round that has begun continues when they no longer
/// hold.
///
/// Two rules always apply: a device that is offline does not join, and a device in a low-power or data-saver mode joins
/// only while it is charging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requirements {
    /// Requires an unmetered network, one that is not billed by traffic.
    pub unmetered: bool,
    /// Required power supply.
    pub power: Power,
    /// Requires that the device is not in use.
    pub idle: bool,
    /// If true, a condition that the platform does not know counts as not met. If false it counts as met, so that
    /// platforms that cannot report a condition can take part.
    pub strict: bool,
}

/// The power supply that a round requires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Power {
    /// No requirement.
    Any,
    /// External power, or a battery that is not low.
    #[default]
    ChargingOrBatteryFine,
    /// External power.
    Charging,
}

impl Default for Requirements {
    /// An unmetered network, and external power or a battery that is not low.
    fn default() -> Self {
        Self { unmetered: true, power: Power::default(), idle: false, strict: false }
    }
}

impl Requirements {
    /// Only the two rules that always apply.
    pub const NONE: Self = Self { unmetered: false, power: Power::Any, idle: false, strict: false };

    /// The conditions that are not met, in a fixed order. Empty: the device may join.
    pub fn missing(&self, now: &DeviceConditions) -> Vec<Condition> {
        // A low-power or data-saver mode counts unless the device is known to be charging.
        let not_saving = if now.charging == Some(true) { Some(true) } else { now.saving.map(|saving| !saving) };
        let power = match self.power {
            Power::Any => Some(true),
            Power::ChargingOrBatteryFine => either(now.charging, now.battery_fine),
            Power::Charging => now.charging,
        };
        [
            (Condition::Online, true, now.online),
            (Condition::Unmetered, self.unmetered, now.unmetered),
            (Condition::Power, true, power),
            (Condition::Idle, self.idle, now.idle),
            (Condition::NotSaving, true, not_saving),
        ]
        .into_iter()
        .filter(|(_, wanted, met)| *wanted && !met.unwrap_or(!self.strict))
        .map(|(condition, ..)| condition)
        .collect()
    }
}

/// Whether at least one of the two holds; `None` if that is unknown.
const fn either(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// A condition that a device may be waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// A connection to the internet.
    Online,
    /// An unmetered network, one that is not billed by traffic.
    Unmetered,
    /// External power, or a battery that is not low.
    Power,
    /// The device is not in use.
    Idle,
    /// The end of a low-power or data-saver mode, or external power.
    NotSaving,
}

impl Condition {
    /// Stable machine-readable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Unmetered => "unmetered",
            Self::Power => "power",
            Self::Idle => "idle",
            Self::NotSaving => "not_saving",
        }
    }

    /// A sentence for the user.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Online => "Waiting for a connection to the internet",
            Self::Unmetered => "Waiting for an unmetered network, such as Wi-Fi",
            Self::Power => "Waiting for power: charge the device",
            Self::Idle => "Waiting until the device is not in use",
            Self::NotSaving => "Waiting until the device is charging, or its low-power and data-saver modes are off",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Condition::{Idle, NotSaving, Online, Power as Charge, Unmetered};
    use super::*;
    #[cfg(target_arch = "wasm32")]
    use crate::single_thread::test;

    const FINE: DeviceConditions = DeviceConditions::FINE;
    const UNKNOWN: DeviceConditions = DeviceConditions::UNKNOWN;
    const NO: Option<bool> = Some(false);
    const YES: Option<bool> = Some(true);

    #[test]
    fn what_is_missing() {
        let usual = Requirements::default();
        let strict = Requirements { strict: true, ..usual };
        let charging = Requirements { power: Power::Charging, ..usual };
        let idle = Requirements { idle: true, ..usual };
        let none = Requirements::NONE;
        let on_battery = DeviceConditions { charging: NO, ..FINE };
        let low = DeviceConditions { battery_fine: NO, ..on_battery };
        let saving = DeviceConditions { saving: YES, ..FINE };
        for (name, wanted, now, missing) in [
            ("all is well", usual, FINE, vec![]),
            ("on a good battery", usual, on_battery, vec![]),
            ("a low battery that is being charged", usual, DeviceConditions { charging: YES, ..low }, vec![]),
            ("a low battery", usual, low, vec![Charge]),
            ("a battery, and the charger is wanted", charging, on_battery, vec![Charge]),
            ("a low battery, and nothing is wanted", none, low, vec![]),
            ("in use", usual, DeviceConditions { idle: NO, ..FINE }, vec![]),
            ("in use, and it must not be", idle, DeviceConditions { idle: NO, ..FINE }, vec![Idle]),
            ("metered", usual, DeviceConditions { unmetered: NO, ..FINE }, vec![Unmetered]),
            ("metered, and nothing is wanted", none, DeviceConditions { unmetered: NO, ..FINE }, vec![]),
            ("offline", usual, DeviceConditions { online: NO, ..FINE }, vec![Online]),
            ("offline always counts", none, DeviceConditions { online: NO, ..FINE }, vec![Online]),
            ("saving while it charges", usual, saving, vec![]),
            ("saving", usual, DeviceConditions { charging: NO, ..saving }, vec![NotSaving]),
            ("saving always counts", none, DeviceConditions { charging: NO, ..saving }, vec![NotSaving]),
            ("nothing is known", usual, UNKNOWN, vec![]),
            ("nothing is known, strictly", strict, UNKNOWN, vec![Online, Unmetered, Charge, NotSaving]),
            (
                "strictly, idle",
                Requirements { strict: true, ..idle },
                DeviceConditions { idle: None, ..FINE },
                vec![Idle],
            ),
            ("strictly, and all is well", strict, FINE, vec![]),
            ("strictly, a good battery", strict, DeviceConditions { charging: None, ..FINE }, vec![]),
            ("only the battery is known", usual, DeviceConditions { charging: None, ..low }, vec![]),
            ("the same, strictly", strict, DeviceConditions { charging: None, ..low }, vec![Charge]),
            ("strictly, charging whatever the mode", strict, DeviceConditions { saving: None, ..FINE }, vec![]),
            (
                "all at once",
                idle,
                DeviceConditions { online: NO, unmetered: NO, idle: NO, saving: YES, ..low },
                vec![Online, Unmetered, Charge, Idle, NotSaving],
            ),
        ] {
            assert_eq!(wanted.missing(&now), missing, "{name}");
        }
    }

    /// The person chose it; nothing is known that would outweigh it.
    #[test]
    fn a_mode_that_is_known_counts_against_a_charger_that_is_not() {
        let now = DeviceConditions { saving: YES, charging: None, ..FINE };
        assert_eq!(Requirements::default().missing(&now), [NotSaving]);
    }

    #[test]
    fn every_condition_has_words_of_its_own() {
        let all = [Online, Unmetered, Charge, Idle, NotSaving];
        for words in [all.map(Condition::code), all.map(Condition::sentence)] {
            let distinct: std::collections::BTreeSet<_> = words.into_iter().collect();
            assert_eq!(distinct.len(), all.len(), "{words:?}");
        }
    }
}
