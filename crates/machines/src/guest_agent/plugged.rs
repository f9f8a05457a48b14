//! Processors and memory that were plugged in while the guest ran: many systems leave them unused until
//! somebody puts them to use (Linux: `online` and `state` in sysfs).

use model::{Bytes, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::GuestAgent;

/// What a guest uses of what it has been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InUse {
    /// What is put to use: processors, or bytes.
    pub online: u64,
    /// What the guest sees and leaves unused.
    pub offline: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Processor {
    logical_id: i64,
    online: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Block {
    phys_index: u64,
    online: bool,
}

#[derive(Deserialize)]
struct BlockInfo {
    size: u64,
}

impl InUse {
    /// All there is.
    #[must_use]
    pub fn total(self) -> u64 {
        self.online.saturating_add(self.offline)
    }

    fn count(online: impl Iterator<Item = bool>, each: u64) -> Self {
        online.fold(Self::default(), |sum, online| match online {
            true => Self { online: sum.online.saturating_add(each), ..sum },
            false => Self { offline: sum.offline.saturating_add(each), ..sum },
        })
    }
}

impl GuestAgent {
    /// Has the guest use all processors that it sees; says how many it uses then.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn use_processors(&self) -> Result<InUse> {
        let seen: Vec<Processor> = self.query("guest-get-vcpus", Value::Null).await?;
        let idle = seen.iter().filter(|it| !it.online);
        let idle: Vec<Value> =
            idle.map(|it| json!({ "logical-id": it.logical_id, "online": true })).collect();
        if idle.is_empty() {
            return Ok(InUse::count(seen.iter().map(|it| it.online), 1));
        }
        self.call("guest-set-vcpus", json!({ "vcpus": idle })).await?;
        let seen: Vec<Processor> = self.query("guest-get-vcpus", Value::Null).await?;
        Ok(InUse::count(seen.iter().map(|it| it.online), 1))
    }

    /// Has the guest use all memory that it sees; says how many bytes it uses then.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn use_memory(&self) -> Result<InUse> {
        let size = self.query::<BlockInfo>("guest-get-memory-block-info", Value::Null).await?.size;
        let seen: Vec<Block> = self.query("guest-get-memory-blocks", Value::Null).await?;
        let idle = seen.iter().filter(|it| !it.online);
        let idle: Vec<Value> =
            idle.map(|it| json!({ "phys-index": it.phys_index, "online": true })).collect();
        if idle.is_empty() {
            return Ok(InUse::count(seen.iter().map(|it| it.online), size));
        }
        self.call("guest-set-memory-blocks", json!({ "mem-blks": idle })).await?;
        let seen: Vec<Block> = self.query("guest-get-memory-blocks", Value::Null).await?;
        let used = InUse::count(seen.iter().map(|it| it.online), size);
        tracing::debug!(online = %Bytes(used.online), offline = %Bytes(used.offline), "memory of a guest put to use");
        Ok(used)
    }
}
