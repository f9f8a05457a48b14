//! All storage of a node as one driver: its own, and that of plugins.
//!
//! Which of them has a volume is chosen when it is made, by its storage's name, and known afterwards.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use model::volume::LOCAL;
use model::{Bytes, Result};

use crate::driver::{
    Capacity, CreateSnapshot, CreateVolume, Driver, Expanded, Info, Populate, Populated, Publish,
    SnapshotInfo, Stats, VolumeId, VolumeInfo,
};
use crate::plugin::PluginVolumes;

/// All storage of a node.
#[derive(Clone)]
pub struct Services {
    local: Arc<dyn Driver>,
    plugins: PluginVolumes,
}

impl Services {
    /// The node's own storage, and that of plugins.
    pub fn new(local: Arc<dyn Driver>, plugins: PluginVolumes) -> Self {
        Self { local, plugins }
    }

    /// The plugins.
    pub fn plugins(&self) -> &PluginVolumes {
        &self.plugins
    }

    fn of(&self, id: &VolumeId) -> &dyn Driver {
        if self.plugins.has(id) { &self.plugins } else { &*self.local }
    }
}

#[async_trait]
impl Driver for Services {
    fn info(&self) -> Info {
        self.local.info()
    }

    async fn create(&self, request: CreateVolume) -> Result<VolumeInfo> {
        match request.storage == LOCAL {
            true => self.local.create(request).await,
            false => self.plugins.create(request).await,
        }
    }

    async fn delete(&self, id: &VolumeId) -> Result<()> {
        self.of(id).delete(id).await
    }

    async fn expand(&self, id: &VolumeId, size: Bytes) -> Result<Expanded> {
        self.of(id).expand(id, size).await
    }

    async fn show(&self, id: &VolumeId) -> Result<VolumeInfo> {
        self.of(id).show(id).await
    }

    async fn list(&self) -> Result<Vec<VolumeInfo>> {
        let mut all = self.local.list().await?;
        all.extend(self.plugins.list().await?);
        all.sort_by(|one, two| one.id.cmp(&two.id));
        Ok(all)
    }

    async fn capacity(&self) -> Result<Capacity> {
        self.local.capacity().await
    }

    async fn create_snapshot(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        self.of(&request.volume).create_snapshot(request).await
    }

    async fn delete_snapshot(&self, id: &VolumeId) -> Result<()> {
        self.local.delete_snapshot(id).await
    }

    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        self.local.list_snapshots().await
    }

    async fn node_stage(&self, id: &VolumeId) -> Result<()> {
        self.of(id).node_stage(id).await
    }

    async fn node_claim(&self, request: &Publish) -> Result<PathBuf> {
        self.of(&request.volume).node_claim(request).await
    }

    async fn node_publish(&self, request: Publish) -> Result<PathBuf> {
        self.of(&request.volume).node_publish(request).await
    }

    async fn node_unpublish(&self, id: &VolumeId, consumer: &str) -> Result<()> {
        self.of(id).node_unpublish(id, consumer).await
    }

    async fn node_unstage(&self, id: &VolumeId) -> Result<()> {
        self.of(id).node_unstage(id).await
    }

    async fn node_expand(&self, id: &VolumeId) -> Result<()> {
        self.of(id).node_expand(id).await
    }

    async fn stats(&self, id: &VolumeId) -> Result<Stats> {
        self.of(id).stats(id).await
    }

    async fn populate(&self, id: &VolumeId, source: Populate) -> Result<Populated> {
        self.of(id).populate(id, source).await
    }

    async fn trim(&self, id: &VolumeId) -> Result<Bytes> {
        self.of(id).trim(id).await
    }
}
