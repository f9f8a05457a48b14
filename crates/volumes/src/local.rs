//! The storage every node has: volumes under one directory of its own disk.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use model::{Bytes, Error, Result};

use crate::driver::{
    Capacity, CreateSnapshot, CreateVolume, Driver, Expanded, Info, Populate, Populated, Publish,
    SnapshotInfo, Stats, VolumeId, VolumeInfo,
};

/// The local driver.
#[derive(Debug)]
pub struct LocalDriver {
    _dir: PathBuf,
}

impl LocalDriver {
    /// Takes possession of `dir` (made when absent), completes or clears what an earlier process
    /// left half done, and recognises what is mounted. Waits on the disk: call it from a thread that
    /// may block.
    ///
    /// # Errors
    /// `Conflict` when another process has the directory; `Unavailable` when it cannot be used.
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self { _dir: dir.to_owned() })
    }
}

fn later<T>() -> Result<T> {
    Err(Error::unsupported("local volumes are not built yet"))
}

#[async_trait]
impl Driver for LocalDriver {
    fn info(&self) -> Info {
        Info { name: "local".to_owned(), version: String::new(), capabilities: Vec::new() }
    }
    async fn create(&self, _: CreateVolume) -> Result<VolumeInfo> {
        later()
    }
    async fn delete(&self, _: &VolumeId) -> Result<()> {
        later()
    }
    async fn expand(&self, _: &VolumeId, _: Bytes) -> Result<Expanded> {
        later()
    }
    async fn show(&self, _: &VolumeId) -> Result<VolumeInfo> {
        later()
    }
    async fn list(&self) -> Result<Vec<VolumeInfo>> {
        later()
    }
    async fn capacity(&self) -> Result<Capacity> {
        later()
    }
    async fn create_snapshot(&self, _: CreateSnapshot) -> Result<SnapshotInfo> {
        later()
    }
    async fn delete_snapshot(&self, _: &VolumeId) -> Result<()> {
        later()
    }
    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        later()
    }
    async fn node_stage(&self, _: &VolumeId) -> Result<()> {
        later()
    }
    async fn node_publish(&self, _: Publish) -> Result<PathBuf> {
        later()
    }
    async fn node_unpublish(&self, _: &VolumeId, _: &str) -> Result<()> {
        later()
    }
    async fn node_unstage(&self, _: &VolumeId) -> Result<()> {
        later()
    }
    async fn node_expand(&self, _: &VolumeId) -> Result<()> {
        later()
    }
    async fn stats(&self, _: &VolumeId) -> Result<Stats> {
        later()
    }
    async fn populate(&self, _: &VolumeId, _: Populate) -> Result<Populated> {
        later()
    }
    async fn trim(&self, _: &VolumeId) -> Result<Bytes> {
        later()
    }
}
