//! The state of the device, as far as joining a round depends on it.

use std::future::Future;

use super::{MaybeSend, MaybeSync};

/// What a platform knows of the device's state; `None`: it does not know. Browsers, for one, do not tell everything.
/// [`crate::device::Requirements`] says what follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceConditions {
    /// Connected to the internet.
    pub online: Option<bool>,
    /// On external power.
    pub charging: Option<bool>,
    /// The battery is not low, or there is none.
    pub battery_fine: Option<bool>,
    /// On a network that does not cost by the byte.
    pub unmetered: Option<bool>,
    /// Not in use by a person.
    pub idle: Option<bool>,
    /// In a low-power mode or a data-saver mode.
    pub saving: Option<bool>,
}

impl DeviceConditions {
    /// Of a platform that tells nothing.
    pub const UNKNOWN: Self =
        Self { online: None, charging: None, battery_fine: None, unmetered: None, idle: None, saving: None };

    /// Nothing against joining.
    pub const FINE: Self = Self {
        online: Some(true),
        charging: Some(true),
        battery_fine: Some(true),
        unmetered: Some(true),
        idle: Some(true),
        saving: Some(false),
    };
}

/// Asked before a device joins a round.
pub trait Conditions: MaybeSend + MaybeSync {
    /// The present state.
    fn current(&self) -> impl Future<Output = DeviceConditions> + MaybeSend;
}
