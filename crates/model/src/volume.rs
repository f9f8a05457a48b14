//! Volume and Snapshot: named storage and its copies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::instance::{Reach, Reason};
use crate::name::check_name;
use crate::object::{Kind, Noun, Object};
use crate::quantity::Bytes;
use crate::time::Time;

/// The storage service every node has.
pub const LOCAL: &str = "local";

/// The name of a volume that nobody gave one: half of an identity, which is enough
pub fn anonymous_name(id: &crate::Uid) -> &str {
    &id.as_str()[..32]
}

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeNoun;

/// A volume.
pub type Volume = Object<VolumeNoun>;

/// What was asked of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeSpec {
    /// The storage service that has it; `local` unless given.
    pub storage: String,
    /// Most it holds, enforced; as much as the disk when absent. Can grow, not shrink.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// What it begins with; empty when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<VolumeSource>,
    /// Options of the storage service.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// It was made for one instance and goes with it.
    pub anonymous: bool,
    /// The node that has it; written by control for storage that is a node's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

impl Default for VolumeSpec {
    fn default() -> Self {
        Self {
            storage: LOCAL.to_owned(),
            size: None,
            source: None,
            options: BTreeMap::new(),
            anonymous: false,
            node: None,
        }
    }
}

impl VolumeSpec {
    /// What of the host it may ask for: what options mean to a storage that is not the platform's own, which runs
    /// as root, nobody knows.
    #[must_use]
    pub fn reach(&self) -> Option<Reach> {
        let told = self.storage != LOCAL && !self.options.is_empty();
        let field = "options".to_owned();
        told.then_some(Reach { field, what: "options of a storage plugin" })
    }
}

/// What a new volume begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum VolumeSource {
    /// A snapshot's contents, by the snapshot's name.
    Snapshot(String),
    /// Another volume's contents, by its name (a clone).
    Volume(String),
}

/// Where a volume or snapshot is in its life.
///
/// ```text
/// Pending ──> Ready ──deleted──> Removing ──> (gone)
///    └──> Failed ──tried again──> Ready
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum VolumePhase {
    /// Asked for.
    #[default]
    Pending,
    /// It exists.
    Ready,
    /// It could not be made; `reason` says why.
    Failed,
    /// It is being removed.
    Removing,
}

/// What was seen of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeStatus {
    /// Where it is in its life.
    pub phase: VolumePhase,
    /// Why it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The generation of the spec that was acted on.
    pub observed_generation: u64,
    /// How its size is enforced: `btrfs`, `projectQuota`, `image`, `plugin`, or `none`.
    pub format: String,
    /// Where its contents are on the node, while mounted.
    pub path: String,
    /// The size in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// Size of the largest disk that a machine had in it; written by control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// How its first contents were copied, when it has a source: `btrfs`, `reflink` or `copy`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// Names of the instances that use it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub used_by: Vec<String>,
}

impl Noun for VolumeNoun {
    const KIND: Kind = Kind::Volume;
    const IN_PROJECT: bool = true;
    type Spec = VolumeSpec;
    type Status = VolumeStatus;

    fn validate(spec: &VolumeSpec) -> Result<()> {
        check_name(&spec.storage).map_err(|error| error.at("storage"))?;
        if spec.size.is_some_and(|size| size < Bytes::mib(8)) {
            return Err(Error::invalid("a volume has 8 MiB at least").at("size"));
        }
        Ok(())
    }
}

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotNoun;

/// A snapshot.
pub type Snapshot = Object<SnapshotNoun>;

/// What was asked of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotSpec {
    /// The volume's name.
    pub volume: String,
    /// The volume's identity; written by control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_id: Option<crate::Uid>,
    /// The node that has it; written by control.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Snapshots that are made together and have the same word here show one moment, where the node can hold
    /// still those that write meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// What was seen of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotStatus {
    /// Where it is in its life.
    pub phase: VolumePhase,
    /// Why it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// How it was made: `btrfs`, `reflink` or `copy`.
    pub method: String,
    /// When the copy was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken: Option<Time>,
    /// Bytes it would take to restore.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// It shows the moment that all of its group show.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub together: bool,
}

impl Noun for SnapshotNoun {
    const KIND: Kind = Kind::Snapshot;
    const IN_PROJECT: bool = true;
    type Spec = SnapshotSpec;
    type Status = SnapshotStatus;

    fn validate(spec: &SnapshotSpec) -> Result<()> {
        check_name(&spec.volume).map_err(|error| error.at("volume"))
    }
}
