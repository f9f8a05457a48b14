//! A driver on plain directories, with faults on demand, for tests of whoever uses one.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use model::{Bytes, Error, Result};

use crate::driver::{
    Capacity, CreateSnapshot, CreateVolume, Driver, Expanded, Info, Populate, Populated, Publish,
    SnapshotInfo, Stats, VolumeId, VolumeInfo,
};

/// The fake driver.
#[derive(Debug)]
pub struct FakeDriver {
    _dir: PathBuf,
}

impl FakeDriver {
    /// Keeps its volumes under `dir`, made when absent. Needs no privilege; sizes are remembered, not
    /// enforced.
    ///
    /// # Errors
    /// `Unavailable` when the directory cannot be made.
    pub fn new(dir: &Path) -> Result<Self> {
        Ok(Self { _dir: dir.to_owned() })
    }

    /// Makes the next call of `verb` (the method's name, e.g. `node_stage`) fail with this error.
    pub fn fail_next(&self, _verb: &str, _error: Error) {}

    /// The verbs called so far, each with the id it was called for, e.g. `create data`.
    pub fn calls(&self) -> Vec<String> {
        Vec::new()
    }
}

fn later<T>() -> Result<T> {
    Err(Error::unsupported("local volumes are not built yet"))
}

#[async_trait]
impl Driver for FakeDriver {
    fn info(&self) -> Info {
        Info { name: "fake".to_owned(), version: String::new(), capabilities: Vec::new() }
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
