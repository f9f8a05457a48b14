//! The interface of a storage driver, shaped as the Container Storage Interface.
//!
//! Names in brackets are the RPCs of the CSI specification (v1.11,
//! `github.com/container-storage-interface/spec/blob/master/spec.md`) that a verb stands for. The
//! life of a volume on a node is the specification's:
//!
//! ```text
//!           create                 node_stage              node_publish
//!   (none) ───────> Created ─────────────────> Staged ────────────────────> Published
//!          <───────         <─────────────────        <────────────────────
//!           delete                node_unstage              node_unpublish
//! ```
//!
//! Every verb is **idempotent by id**: repeated with the same arguments it answers as the first
//! time; a verb that takes something away succeeds when the thing is not there. A verb whose process
//! died half way leaves a state from which the same verb, or its opposite, succeeds.

mod attach;
mod types;

pub use attach::{Attachment, attach, detach};
pub use types::{
    Capability, Capacity, CreateSnapshot, CreateVolume, Expanded, Format, Info, Method, Populate,
    Populated, Publish, SnapshotInfo, Source, Stats, VolumeId, VolumeInfo,
};

use std::path::PathBuf;

use async_trait::async_trait;
use model::{Bytes, Error, Result};

/// A storage driver: CSI's Identity, Controller and Node services in one.
///
/// # Errors
/// All verbs speak of the volume by the name it was created with. Besides what each says:
/// `Exhausted` when the disk is full (nothing half done is left), `Unavailable` when the storage
/// does not answer, `Unsupported` for a verb whose [`Capability`] is not in [`Driver::info`].
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Name and abilities (`GetPluginInfo`, `GetPluginCapabilities`, `ControllerGetCapabilities`,
    /// `NodeGetCapabilities`). Does not wait.
    fn info(&self) -> Info;

    /// Makes a volume (`CreateVolume`), empty or with the contents of [`CreateVolume::source`].
    ///
    /// # Errors
    /// `Exists` when `id` exists with other parameters, `NotFound` when the source does not exist,
    /// `Invalid` (with the field) for a size or option that cannot be.
    async fn create(&self, request: CreateVolume) -> Result<VolumeInfo>;

    /// Removes a volume and its contents (`DeleteVolume`). Snapshots of it stay.
    ///
    /// # Errors
    /// `Conflict` while it is published.
    async fn delete(&self, id: &VolumeId) -> Result<()>;

    /// Raises the size (`ControllerExpandVolume`); also while in use. When the answer says so,
    /// [`Driver::node_expand`] must follow on the node that has it staged.
    ///
    /// # Errors
    /// `Invalid` for less than it has, `NotFound`.
    async fn expand(&self, id: &VolumeId, size: Bytes) -> Result<Expanded>;

    /// One volume (`ControllerGetVolume`).
    ///
    /// # Errors
    /// `NotFound`.
    async fn show(&self, id: &VolumeId) -> Result<VolumeInfo>;

    /// All volumes (`ListVolumes`), in the order of their ids.
    async fn list(&self) -> Result<Vec<VolumeInfo>>;

    /// What is left of the storage (`GetCapacity`).
    async fn capacity(&self) -> Result<Capacity>;

    /// Takes a copy of a volume as it is now (`CreateSnapshot`), also while in use.
    ///
    /// # Errors
    /// `NotFound` for the volume, `Exists` when `id` is a snapshot of another volume.
    async fn create_snapshot(&self, request: CreateSnapshot) -> Result<SnapshotInfo>;

    /// Removes a snapshot (`DeleteSnapshot`). Volumes made from it stay.
    async fn delete_snapshot(&self, id: &VolumeId) -> Result<()>;

    /// All snapshots (`ListSnapshots`), in the order of their ids.
    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>>;

    /// Makes the volume ready on this node (`NodeStageVolume`): mounted, grown to its size.
    ///
    /// # Errors
    /// `NotFound`.
    async fn node_stage(&self, id: &VolumeId) -> Result<()>;

    /// Where a staged volume's contents are for this consumer, before it is published to him. Storage
    /// that wants to know each of its users hears of this one here, until
    /// [`Driver::node_unpublish`]. No counterpart in CSI; Docker's volume plugins have it as `Mount`.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it is not staged.
    async fn node_claim(&self, request: &Publish) -> Result<PathBuf> {
        let info = self.show(&request.volume).await?;
        info.path.ok_or_else(|| {
            Error::conflict(format!("volume {:?} is not mounted", info.name)).next("stage it first")
        })
    }

    /// Gives a consumer the path of the volume's contents (`NodePublishVolume`) and counts it as a
    /// user until [`Driver::node_unpublish`]. The answer survives restarts of this process.
    ///
    /// # Errors
    /// `Conflict` when it is not staged, or when [`Driver::populate`] was interrupted and has not
    /// been repeated; `NotFound`.
    async fn node_publish(&self, request: Publish) -> Result<PathBuf>;

    /// Takes a consumer away (`NodeUnpublishVolume`).
    async fn node_unpublish(&self, id: &VolumeId, consumer: &str) -> Result<()>;

    /// Undoes [`Driver::node_stage`] (`NodeUnstageVolume`).
    ///
    /// # Errors
    /// `Conflict` while it is published or a process still holds it.
    async fn node_unstage(&self, id: &VolumeId) -> Result<()>;

    /// Completes [`Driver::expand`] on the node (`NodeExpandVolume`).
    ///
    /// # Errors
    /// `NotFound`.
    async fn node_expand(&self, id: &VolumeId) -> Result<()>;

    /// How full it is (`NodeGetVolumeStats`).
    ///
    /// # Errors
    /// `NotFound`; `Conflict` when it must be staged first.
    async fn stats(&self, id: &VolumeId) -> Result<Stats>;

    /// Fills a staged, **empty** volume from a directory of an image, once in its life: ownership,
    /// modes, extended attributes, times, links, devices and holes are kept, symbolic links are
    /// never followed. Interrupted, it is begun anew by the next call, and the volume is refused to
    /// consumers until then. No counterpart in CSI: container engines do this, and CSI drivers get
    /// it from [`Driver::node_stage`] and a plain copy.
    ///
    /// # Errors
    /// `Conflict` when it is not staged; `Exhausted` when the contents do not fit (the volume is
    /// empty again then).
    async fn populate(&self, id: &VolumeId, source: Populate) -> Result<Populated>;

    /// Gives freed space back to the storage below; the bytes given back. No counterpart in CSI.
    ///
    /// # Errors
    /// `NotFound`.
    async fn trim(&self, id: &VolumeId) -> Result<Bytes>;
}
