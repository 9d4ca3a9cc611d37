//! The conditions of the device on which joining a round depends.

use std::future::Future;

use super::{MaybeSend, MaybeSync};

/// The conditions of the device as far as the platform knows them; `None`: unknown. Browsers, for example, do not
/// report all of them. [`crate::device::Requirements`] decides what follows from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceConditions {
    /// Connected to the internet.
    pub online: Option<bool>,
    /// On external power.
    pub charging: Option<bool>,
    /// The battery is not low, or there is none.
    pub battery_fine: Option<bool>,
    /// On an unmetered network, one that is not billed by traffic.
    pub unmetered: Option<bool>,
    /// The user is not using the device.
    pub idle: Option<bool>,
    /// In a low-power mode or a data-saver mode.
    pub saving: Option<bool>,
}

impl DeviceConditions {
    /// The conditions of a platform that reports nothing.
    pub const UNKNOWN: Self =
        Self { online: None, charging: None, battery_fine: None, unmetered: None, idle: None, saving: None };

    /// Conditions under which a device may always join.
    pub const FINE: Self = Self {
        online: Some(true),
        charging: Some(true),
        battery_fine: Some(true),
        unmetered: Some(true),
        idle: Some(true),
        saving: Some(false),
    };
}

/// Reports the device's conditions before it joins a round.
pub trait Conditions: MaybeSend + MaybeSync {
    /// The current conditions.
    fn current(&self) -> impl Future<Output = DeviceConditions> + MaybeSend;
}
