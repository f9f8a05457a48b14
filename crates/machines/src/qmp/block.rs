//! Disks.

use std::os::fd::OwnedFd;
use std::time::Duration;

use model::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Qmp;

/// Wait before a guest that has a disc locked is asked for it again.
const AGAIN: Duration = Duration::from_millis(250);

impl Qmp {
    /// Opens a disk image, as `blockdev-add` takes it.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn blockdev_add(&self, node: Value) -> Result<()> {
        self.command("blockdev-add", node).await
    }

    /// Hands QEMU a file that it cannot reach by a path of its own; returns the path it has it under.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn add_file(&self, file: OwnedFd) -> Result<String> {
        let answer = self.execute_with("add-fd", json!({}), file).await?;
        match answer["fdset-id"].as_u64() {
            Some(set) => Ok(format!("/dev/fdset/{set}")),
            None => Err(Error::unsupported("QEMU's answer to add-fd is not understood")),
        }
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

    /// Takes the disc out of a CD drive; its tray stays open. A guest that has it locked is asked to let go;
    /// after `patience` it is taken all the same.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn eject(&self, drive: &str, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        // Of a tray that the guest has locked this is a word to the guest alone, and it is answered as if it
        // were done: that the tray is open shows when the disc can be taken.
        self.open_tray(drive, false).await?;
        while let Err(error) = self.remove_medium(drive).await {
            if error.kind() == ErrorKind::Unavailable {
                return Err(error);
            }
            if Instant::now() >= deadline {
                self.open_tray(drive, true).await?;
                return self.remove_medium(drive).await;
            }
            sleep(AGAIN).await;
        }
        Ok(())
    }

    async fn remove_medium(&self, drive: &str) -> Result<()> {
        self.command("blockdev-remove-medium", json!({"id": drive})).await
    }

    async fn open_tray(&self, drive: &str, force: bool) -> Result<()> {
        self.command("blockdev-open-tray", json!({"id": drive, "force": force})).await
    }

    /// Puts a disc that QEMU has opened into a CD drive whose tray is open and empty.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn insert(&self, drive: &str, node: &str) -> Result<()> {
        self.command("blockdev-insert-medium", json!({"id": drive, "node-name": node})).await
    }

    /// Closes the tray of a CD drive.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn close_tray(&self, drive: &str) -> Result<()> {
        self.command("blockdev-close-tray", json!({"id": drive})).await
    }

    /// Bytes of a disk, as the guest sees it.
    ///
    /// # Errors
    ///
    /// `NotFound` for a node that is not there.
    pub async fn block_size(&self, node: &str) -> Result<u64> {
        let nodes: Vec<Node> = self.query("query-named-block-nodes", json!({"flat": true})).await?;
        let found = nodes.into_iter().find(|found| found.node_name == node);
        let found = found.ok_or_else(|| Error::not_found(format!("QEMU has no disk {node:?}")))?;
        Ok(found.image.virtual_size)
    }

    /// What was read from and written to all disks together since the machine was started.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn block_traffic(&self) -> Result<BlockTraffic> {
        let drives: Vec<Drive> = self.query("query-blockstats", Value::Null).await?;
        Ok(drives.into_iter().fold(BlockTraffic::default(), |sum, drive| BlockTraffic {
            read: sum.read.saturating_add(drive.stats.rd_bytes),
            written: sum.written.saturating_add(drive.stats.wr_bytes),
        }))
    }
}

/// Bytes that went between a guest and its disks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct BlockTraffic {
    /// Read by the guest.
    pub read: u64,
    /// Written by the guest.
    pub written: u64,
}

/// A device with a disk; what is below it in the chain of images is told inside it and not looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Drive {
    stats: DriveStats,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct DriveStats {
    rd_bytes: u64,
    wr_bytes: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Node {
    node_name: String,
    image: NodeImage,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct NodeImage {
    virtual_size: u64,
}
