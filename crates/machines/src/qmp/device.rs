//! Devices plugged and unplugged while the machine runs.

use std::time::Duration;

use model::{Error, Result};
use serde_json::{Value, json};

use super::event::Events;
use super::{Event, Qmp};

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
