//! The storage every node has: volumes under one directory of its own disk.
//!
//! Where a volume's contents are depends on the disk and on whether it has a size, and is told in its
//! format:
//!
//! | disk | no size | size |
//! |---|---|---|
//! | btrfs | subvolume | subvolume with a quota group |
//! | xfs, ext4 with project quota on | directory | directory with a project quota |
//! | any other | directory | file system in a sparse file, on a loop device |
//!
//! Each verb is a file: [`create`], [`delete`], [`expand`], [`snapshot`], [`stage`], [`publish`],
//! [`populate`], [`stats`]. What lies where, and why a verb can be interrupted anywhere, stands in
//! [`shelf`]; what a new process does first in [`recover`].

mod core;
mod create;
mod delete;
mod expand;
mod ground;
mod image;
mod options;
mod origin;
mod populate;
mod publish;
mod record;
mod recover;
mod shelf;
mod snapshot;
mod stage;
mod stats;
mod steps;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use model::{Bytes, Error, Result};

use crate::driver::{
    Capability, Capacity, CreateSnapshot, CreateVolume, Driver, Expanded, Info, Populate,
    Populated, Publish, SnapshotInfo, Source, Stats, VolumeId, VolumeInfo,
};
use crate::turns::Turns;
use core::Core;
pub use steps::Steps;

/// The local driver. Verbs on one volume wait for each other; those on different volumes do not.
#[derive(Debug, Clone)]
pub struct LocalDriver {
    core: Arc<Core>,
    turns: Arc<Turns>,
}

impl LocalDriver {
    /// Takes possession of `dir` (made when absent), completes or clears what an earlier process
    /// left half done, and recognises what is mounted. Waits on the disk: call it from a thread that
    /// may block.
    ///
    /// # Errors
    /// `Conflict` when another process has the directory; `Unavailable` when it cannot be used.
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_watched(dir, Steps::default())
    }

    /// As [`LocalDriver::open`]; `steps` is told of each durable step of every verb.
    ///
    /// # Errors
    /// As [`LocalDriver::open`].
    pub fn open_watched(dir: &Path, steps: Steps) -> Result<Self> {
        Ok(Self { core: Arc::new(Core::open(dir, steps)?), turns: Arc::default() })
    }

    /// Runs `work` on a thread that may block, when it is the turn of all `ids`. It is carried to its
    /// end even when the caller no longer waits.
    async fn turn<T: Send + 'static>(
        &self,
        ids: &[&VolumeId],
        work: impl FnOnce(&Core) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let turn = self.turns.wait(ids).await;
        let core = Arc::clone(&self.core);
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&core);
            drop(turn);
            done
        });
        done.await.map_err(|error| Error::internal("a storage task was lost").caused_by(error))?
    }
}

#[async_trait]
impl Driver for LocalDriver {
    fn info(&self) -> Info {
        Info {
            name: model::volume::LOCAL.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: vec![
                Capability::CreateDelete,
                Capability::Stage,
                Capability::Snapshot,
                Capability::Clone,
                Capability::Expand,
                Capability::Stats,
                Capability::List,
                Capability::Capacity,
                Capability::EnforcedSize,
                Capability::Trim,
            ],
        }
    }

    async fn create(&self, request: CreateVolume) -> Result<VolumeInfo> {
        let id = request.id.clone();
        let source = match &request.source {
            Some(Source::Snapshot(source) | Source::Volume(source)) => source.clone(),
            None => id.clone(),
        };
        self.turn(&[&id, &source], move |core| core.create(request)).await
    }

    async fn delete(&self, id: &VolumeId) -> Result<()> {
        let name = id.clone();
        self.turn(&[id], move |core| core.delete(&name)).await
    }

    async fn expand(&self, id: &VolumeId, size: Bytes) -> Result<Expanded> {
        let name = id.clone();
        self.turn(&[id], move |core| core.expand(&name, size)).await
    }

    async fn show(&self, id: &VolumeId) -> Result<VolumeInfo> {
        let name = id.clone();
        self.turn(&[], move |core| core.show(&name)).await
    }

    async fn list(&self) -> Result<Vec<VolumeInfo>> {
        self.turn(&[], Core::list).await
    }

    async fn capacity(&self) -> Result<Capacity> {
        self.turn(&[], Core::capacity).await
    }

    async fn create_snapshot(&self, request: CreateSnapshot) -> Result<SnapshotInfo> {
        let (id, volume) = (request.id.clone(), request.volume.clone());
        self.turn(&[&id, &volume], move |core| core.create_snapshot(request)).await
    }

    async fn delete_snapshot(&self, id: &VolumeId) -> Result<()> {
        let name = id.clone();
        self.turn(&[id], move |core| core.delete_snapshot(&name)).await
    }

    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        self.turn(&[], Core::list_snapshots).await
    }

    async fn node_stage(&self, id: &VolumeId) -> Result<()> {
        let name = id.clone();
        self.turn(&[id], move |core| core.stage(&name)).await
    }

    async fn node_publish(&self, request: Publish) -> Result<PathBuf> {
        let id = request.volume.clone();
        self.turn(&[&id], move |core| core.publish(&request)).await
    }

    async fn node_unpublish(&self, id: &VolumeId, consumer: &str) -> Result<()> {
        let (name, consumer) = (id.clone(), consumer.to_owned());
        self.turn(&[id], move |core| core.unpublish(&name, &consumer)).await
    }

    async fn node_unstage(&self, id: &VolumeId) -> Result<()> {
        let name = id.clone();
        self.turn(&[id], move |core| core.unstage(&name)).await
    }

    async fn node_expand(&self, id: &VolumeId) -> Result<()> {
        let name = id.clone();
        self.turn(&[id], move |core| core.expand_staged(&name)).await
    }

    async fn stats(&self, id: &VolumeId) -> Result<Stats> {
        let name = id.clone();
        self.turn(&[], move |core| core.stats(&name)).await
    }

    async fn populate(&self, id: &VolumeId, source: Populate) -> Result<Populated> {
        let name = id.clone();
        self.turn(&[id], move |core| core.populate(&name, &source)).await
    }

    async fn trim(&self, id: &VolumeId) -> Result<Bytes> {
        let name = id.clone();
        self.turn(&[id], move |core| core.trim(&name)).await
    }
}
