//! How much an image may be before it is refused.

use model::Bytes;
use serde::{Deserialize, Serialize};

/// Bounds on what is taken in. They protect this machine's memory and disk from hostile input; every
/// published image known to us lies far below.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// A manifest or index. The distribution specification asks registries to take 4 MiB.
    pub manifest: Bytes,
    /// An image configuration.
    pub config: Bytes,
    /// Layers of one image. overlayfs mounts 500 at most.
    pub layers: usize,
    /// Bytes a layer, or a whole archive, unpacks to.
    pub unpacked: Bytes,
    /// How many times its size a layer or archive may unpack to, once past `ratio_floor`.
    pub ratio: u64,
    /// What unpacks to less than this may have any ratio.
    pub ratio_floor: Bytes,
    /// Entries in one layer, or members in one archive.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: Bytes::mib(4),
            config: Bytes::mib(8),
            layers: 500,
            unpacked: Bytes::gib(256),
            ratio: 200,
            ratio_floor: Bytes::gib(1),
            entries: 10_000_000,
        }
    }
}
