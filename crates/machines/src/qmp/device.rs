//! Devices plugged and unplugged while the machine runs.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use model::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::event::Events;
use super::{Event, Qmp};
use crate::qemu::PORT;

impl Qmp {
    /// Plugs a device in, as `device_add` takes it.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn device_add(&self, device: Value) -> Result<()> {
        self.command("device_add", device).await
    }

    /// Asks the guest to give a device up and waits until it has, at most `bound`.
    ///
    /// # Errors
    ///
    /// `NotFound` when there is none, `Conflict` when the guest refuses, `Unavailable` when it takes
    /// too long; the device then stays, and may still go later.
    pub async fn device_del(&self, id: &str, bound: Duration) -> Result<()> {
        let mut events = self.listen();
        self.command("device_del", json!({"id": id})).await?;
        match tokio::time::timeout(bound, deleted(id, &mut events)).await {
            Ok(ended) => ended,
            Err(_) => Err(Error::unavailable(format!(
                "the guest has not given up device {id} for {} seconds",
                bound.as_secs()
            ))
            .next("see that the guest has started and does not use it, then try again")),
        }
    }

    /// What is plugged in where.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn query_slots(&self) -> Result<Slots> {
        let buses: Vec<Bus> = self.query("query-pci", Value::Null).await?;
        let mut slots = Slots::default();
        buses.iter().for_each(|bus| slots.take(&bus.devices));
        Ok(slots)
    }

    /// Gives QEMU the tap of a network card and plugs the network in; the card is a device of its own.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn netdev_add(&self, id: &str, tap: OwnedFd) -> Result<()> {
        self.execute_with("getfd", json!({"fdname": id}), tap).await?;
        self.command("netdev_add", json!({"type": "tap", "id": id, "fd": id})).await
    }

    /// Takes away the network behind a card that is gone.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn netdev_del(&self, id: &str) -> Result<()> {
        self.command("netdev_del", json!({"id": id})).await
    }

    /// Makes an object, as `object-add` takes it.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn object_add(&self, object: Value) -> Result<()> {
        self.command("object-add", object).await
    }

    /// Removes an object.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn object_del(&self, id: &str) -> Result<()> {
        self.command("object-del", json!({"id": id})).await
    }
}

/// What is plugged in, by its name, and the ports that nothing is in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    /// Devices that are there.
    pub devices: BTreeSet<String>,
    /// Ports without a device, in the order of the bus.
    pub free: Vec<String>,
}

impl Slots {
    fn take(&mut self, devices: &[PciDevice]) {
        for device in devices {
            if let Some(bridge) = &device.pci_bridge {
                if bridge.devices.is_empty() && device.qdev_id.starts_with(PORT) {
                    self.free.push(device.qdev_id.clone());
                }
                self.take(&bridge.devices);
            }
            self.devices.insert(device.qdev_id.clone());
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Bus {
    devices: Vec<PciDevice>,
}

/// As deep as QEMU's own tree, which is bounded by the line it came in.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PciDevice {
    qdev_id: String,
    pci_bridge: Option<Bus>,
}

async fn deleted(id: &str, events: &mut Events) -> Result<()> {
    loop {
        match events.recv().await {
            Some(Event::DeviceDeleted { device }) if device == id => return Ok(()),
            Some(Event::DeviceUnplugError { device }) if device == id => {
                return Err(Error::conflict(format!("the guest does not give up device {id}"))
                    .next("stop using it in the guest, then try again"));
            }
            Some(_) => {}
            None => return Err(Error::unavailable(format!("QEMU ended before device {id} went"))),
        }
    }
}
