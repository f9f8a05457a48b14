//! Memory, more and less of it.

use model::Result;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Qmp;

/// How much memory the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MemorySize {
    /// Bytes it started with.
    pub base_memory: u64,
    /// Bytes plugged in since.
    pub plugged_memory: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Balloon {
    actual: u64,
}

impl Qmp {
    /// Asks the guest to make do with `bytes`: what it gives up goes back to the host. It comes to
    /// that when and as far as the guest can; [`Event::BalloonChange`](super::Event) tells.
    ///
    /// # Errors
    ///
    /// `Conflict` or `NotFound` when the machine has no balloon.
    pub async fn balloon(&self, bytes: u64) -> Result<()> {
        self.command("balloon", json!({"value": bytes})).await
    }

    /// Bytes the guest has, without what the balloon took.
    ///
    /// # Errors
    ///
    /// As [`Qmp::balloon`].
    pub async fn query_balloon(&self) -> Result<u64> {
        let balloon: Balloon = self.query("query-balloon", Value::Null).await?;
        Ok(balloon.actual)
    }

    /// How much memory the machine has.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn query_memory(&self) -> Result<MemorySize> {
        self.query("query-memory-size-summary", Value::Null).await
    }

    /// Plugs in `bytes` more, a multiple of 128 MiB on x86. `backend` is what `object-add` takes,
    /// without id and size: `{"qom-type": "memory-backend-ram"}`. Changes nothing when it fails.
    ///
    /// # Errors
    ///
    /// `Conflict` when the machine was started without room for it.
    pub async fn add_memory(&self, id: &str, bytes: u64, backend: Value) -> Result<()> {
        let mut object = backend;
        let memory = format!("{id}-memory");
        object["id"] = memory.as_str().into();
        object["size"] = bytes.into();
        // Of a try that was cut short; one that is used stays.
        let _ = self.object_del(&memory).await;
        self.object_add(object).await?;
        let device = json!({"driver": "pc-dimm", "id": id, "memdev": memory});
        if let Err(error) = self.device_add(device).await {
            let _ = self.object_del(&memory).await;
            return Err(error);
        }
        Ok(())
    }
}
