//! Processors plugged in while the machine runs.

use std::collections::BTreeMap;

use model::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Qmp;

/// A place for processors.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ProcessorSlot {
    /// QEMU's type of processor that fits.
    #[serde(rename = "type")]
    pub kind: String,
    /// Processors one of them brings.
    pub vcpus_count: u32,
    /// Where it is: `socket-id`, `core-id`, `thread-id`…
    pub props: BTreeMap<String, Value>,
    /// The processor in it; absent when it is free.
    pub qom_path: Option<String>,
}

impl ProcessorSlot {
    /// Slots are filled in the order of their sockets, dies, cores and threads.
    fn order(&self) -> [u64; 6] {
        ["node-id", "socket-id", "die-id", "cluster-id", "core-id", "thread-id"]
            .map(|name| self.props.get(name).and_then(Value::as_u64).unwrap_or_default())
    }
}

/// Processors a machine has, and those it has room for.
pub fn processors(slots: &[ProcessorSlot]) -> (u32, u32) {
    let used = slots.iter().filter(|slot| slot.qom_path.is_some());
    let count = |slot: &ProcessorSlot| slot.vcpus_count;
    (used.map(count).sum(), slots.iter().map(count).sum())
}

impl Qmp {
    /// All places for processors, those in use and those that are free.
    ///
    /// # Errors
    ///
    /// `Unsupported` when the kind of machine has none.
    pub async fn query_hotpluggable_cpus(&self) -> Result<Vec<ProcessorSlot>> {
        let mut slots: Vec<ProcessorSlot> =
            self.query("query-hotpluggable-cpus", Value::Null).await?;
        slots.sort_by_key(ProcessorSlot::order);
        Ok(slots)
    }

    /// Plugs processors in until the machine has `count`; more are left as they are. Says how many it
    /// has now.
    ///
    /// # Errors
    ///
    /// `Conflict` when the machine was started with room for fewer.
    pub async fn plug_processors(&self, count: u32) -> Result<u32> {
        let slots = self.query_hotpluggable_cpus().await?;
        let (mut has, room) = processors(&slots);
        if count > room {
            return Err(Error::conflict(format!(
                "the machine was started with room for {room} processors, not {count}"
            )));
        }
        for slot in slots.into_iter().filter(|slot| slot.qom_path.is_none()) {
            if has >= count {
                break;
            }
            self.plug(&slot).await?;
            has += slot.vcpus_count;
        }
        Ok(has)
    }

    async fn plug(&self, slot: &ProcessorSlot) -> Result<()> {
        let place: Vec<String> = slot.order().iter().map(u64::to_string).collect();
        let mut device = json!({"driver": slot.kind, "id": format!("cpu-{}", place.join("-"))});
        for (name, value) in &slot.props {
            device[name.as_str()] = value.clone();
        }
        self.device_add(device).await
    }
}
