//! Disks.

use model::Result;
use serde_json::{Value, json};

use super::Qmp;

impl Qmp {
    /// Opens a disk image, as `blockdev-add` takes it.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn blockdev_add(&self, node: Value) -> Result<()> {
        self.command("blockdev-add", node).await
    }

    /// Closes a disk image that no device uses.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn blockdev_del(&self, node: &str) -> Result<()> {
        self.command("blockdev-del", json!({"node-name": node})).await
    }

    /// Makes a disk `bytes` long. The guest is told.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn block_resize(&self, node: &str, bytes: u64) -> Result<()> {
        self.command("block_resize", json!({"node-name": node, "size": bytes})).await
    }

    /// Bounds a device's disk: operations and bytes in a second, reads and writes together; 0 for no
    /// bound.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn block_throttle(&self, device: &str, iops: u64, bps: u64) -> Result<()> {
        let limits = json!({
            "id": device,
            "iops": iops, "iops_rd": 0, "iops_wr": 0,
            "bps": bps, "bps_rd": 0, "bps_wr": 0,
        });
        self.command("block_set_io_throttle", limits).await
    }
}
