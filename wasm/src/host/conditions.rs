//! What the page and the browser report about the device.

use scale_client_core::host::{Conditions, DeviceConditions};

use crate::platform::Platform;

#[derive(Debug)]
pub(crate) struct PageConditions(pub(crate) Platform);

impl Conditions for PageConditions {
    async fn current(&self) -> DeviceConditions {
        let known = self.0.conditions();
        DeviceConditions {
            online: known.online(),
            charging: known.charging(),
            battery_fine: known.battery_fine(),
            unmetered: known.unmetered(),
            idle: known.idle(),
            saving: known.saving(),
        }
    }
}
