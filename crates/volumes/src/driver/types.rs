//! What the verbs take and answer.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use model::volume::LOCAL;
use model::{Bytes, Error, Result, Time, Uid};
use serde::{Deserialize, Serialize};

/// Identity of a volume or snapshot at its driver: 1 to 128 of `A-Z a-z 0-9 . _ -`, beginning with
/// a letter or digit, so that it can be a file name. 128 bytes is CSI's limit ("Size Limits").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeId(String);

impl VolumeId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VolumeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
        let first = text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric());
        if first && text.len() <= 128 && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!("{text:?} is not the id of a volume"))
                .next("use 1 to 128 letters, digits, dots, dashes and underscores"))
        }
    }
}

impl TryFrom<String> for VolumeId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<VolumeId> for String {
    fn from(id: VolumeId) -> Self {
        id.0
    }
}

impl From<&Uid> for VolumeId {
    fn from(uid: &Uid) -> Self {
        Self(uid.as_str().to_owned())
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who a driver is and what it can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    /// The driver's name, e.g. `local`.
    pub name: String,
    /// The driver's own version.
    pub version: String,
    /// What it can do.
    pub capabilities: Vec<Capability>,
}

impl Info {
    /// Whether it can do this.
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

/// One ability of a driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Capability {
    /// `CREATE_DELETE_VOLUME`.
    CreateDelete,
    /// `STAGE_UNSTAGE_VOLUME`: publish must be preceded by stage.
    Stage,
    /// `CREATE_DELETE_SNAPSHOT`.
    Snapshot,
    /// `CLONE_VOLUME`: a volume can be a volume's source.
    Clone,
    /// `EXPAND_VOLUME`, online.
    Expand,
    /// `GET_VOLUME_STATS`.
    Stats,
    /// `LIST_VOLUMES`.
    List,
    /// `GET_CAPACITY`.
    Capacity,
    /// A size is really enforced, not only remembered.
    EnforcedSize,
    /// Freed space can be given back.
    Trim,
}

/// A volume to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateVolume {
    /// Its identity, chosen by the caller: asking twice makes one.
    pub id: VolumeId,
    /// What people call it; only errors and listings use it.
    pub name: String,
    /// The storage that is to have it, where a driver has several.
    #[serde(default = "local")]
    pub storage: String,
    /// Most it holds, enforced; unlimited when absent, or the source's when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// What it begins with; empty when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Options of the driver (CSI `parameters`); one that it does not know is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl CreateVolume {
    /// An empty volume of the node's own storage with no limit and no options.
    pub fn new(id: VolumeId, name: impl Into<String>) -> Self {
        let (size, source, options) = (None, None, BTreeMap::new());
        Self { id, name: name.into(), storage: local(), size, source, options }
    }
}

fn local() -> String {
    LOCAL.to_owned()
}

/// What a new volume begins with (CSI `VolumeContentSource`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The contents of a snapshot: a restore.
    Snapshot(VolumeId),
    /// The contents another volume has now: a clone.
    Volume(VolumeId),
}

/// How a volume's size is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// Not at all: it has as much as the disk.
    None,
    /// A btrfs subvolume with a quota group.
    Btrfs,
    /// A project quota of xfs or ext4.
    ProjectQuota,
    /// A file system of its own in one sparse file.
    Image,
    /// A plugin's own affair.
    Plugin,
}

impl Format {
    /// The word in `VolumeStatus::format`.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::None => "none",
            Format::Btrfs => "btrfs",
            Format::ProjectQuota => "projectQuota",
            Format::Image => "image",
            Format::Plugin => "plugin",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a snapshot or clone was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// A btrfs snapshot: at once, shares what is equal.
    Btrfs,
    /// Reflinks (`FICLONE`): at once, shares what is equal.
    Reflink,
    /// Every byte was copied.
    Copy,
}

impl Method {
    /// The word in `SnapshotStatus::method`.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Btrfs => "btrfs",
            Method::Reflink => "reflink",
            Method::Copy => "copy",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A volume as its driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeInfo {
    /// Its identity.
    pub id: VolumeId,
    /// What people call it.
    pub name: String,
    /// The size in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// How its size is enforced.
    pub format: Format,
    /// Where its contents are on this node, while staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Its consumers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub published: Vec<String>,
    /// How its first contents were copied, when it has a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// When it was made.
    pub created: Time,
}

impl VolumeInfo {
    /// Whether it is ready on this node.
    pub fn staged(&self) -> bool {
        self.path.is_some()
    }
}

/// The answer to [`Driver::expand`](super::Driver::expand).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Expanded {
    /// The size it has now.
    pub size: Bytes,
    /// [`Driver::node_expand`](super::Driver::node_expand) must follow.
    pub node_expansion_required: bool,
}

/// A snapshot to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateSnapshot {
    /// Its identity, chosen by the caller: asking twice takes one.
    pub id: VolumeId,
    /// What people call it.
    pub name: String,
    /// The volume it is of.
    pub volume: VolumeId,
}

/// A snapshot as its driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotInfo {
    /// Its identity.
    pub id: VolumeId,
    /// What people call it.
    pub name: String,
    /// The volume it is of.
    pub volume: VolumeId,
    /// How it was made.
    pub method: Method,
    /// It shows one moment (as after a power cut), not a copy taken while files were written.
    /// False only for a plain directory copied while it was published.
    pub consistent: bool,
    /// When it was taken.
    pub taken: Time,
    /// Bytes a volume needs to hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
}

/// A volume to give to a consumer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Publish {
    /// The volume.
    pub volume: VolumeId,
    /// Who uses it, e.g. an instance's id; same rules as [`VolumeId`].
    pub consumer: String,
}

/// How full a volume is (CSI `VolumeUsage`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Most it can hold; the disk's, when it has no limit of its own.
    pub total: Bytes,
    /// What its contents take.
    pub used: Bytes,
    /// What can still be written.
    pub available: Bytes,
    /// Files and directories it can hold; 0 when there is no such limit.
    pub inodes: u64,
    /// Files and directories it has.
    pub inodes_used: u64,
    /// Bytes of the storage below that it occupies, holes not counted.
    pub allocated: Bytes,
    /// What is wrong with it (CSI `VolumeCondition`), when something is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl Stats {
    /// What a file system says of itself (POSIX `statvfs`), which takes no storage below that is known.
    pub fn of(found: &rustix::fs::StatVfs) -> Self {
        let bytes = |blocks: u64| Bytes(blocks.saturating_mul(found.f_frsize));
        Self {
            total: bytes(found.f_blocks),
            used: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
            available: bytes(found.f_bavail),
            inodes: found.f_files,
            inodes_used: found.f_files.saturating_sub(found.f_ffree),
            allocated: Bytes(0),
            fault: None,
        }
    }
}

/// What is left of a driver's storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// All of it.
    pub total: Bytes,
    /// What can still be written.
    pub available: Bytes,
}

/// A directory of an image to fill a volume from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Populate {
    /// The image's root file system, mounted on this node.
    pub root: PathBuf,
    /// The directory inside it. Symbolic links on the way are resolved inside `root` and cannot
    /// lead out of it.
    pub path: PathBuf,
    /// User and group of this node who are to own the volume if it is empty and stays so: root of
    /// the container, where that is another than the node's.
    #[serde(default)]
    pub owner: Option<(u32, u32)>,
}

/// What [`Driver::populate`](super::Driver::populate) did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Populated {
    /// It was empty and is filled now.
    Filled {
        /// Files, directories, links and devices made.
        files: u64,
        /// Bytes of contents.
        bytes: Bytes,
    },
    /// It has contents of its own, or was filled before; left as it is.
    InUse,
    /// The image has no such directory, or an empty one; ownership and mode were taken over from an
    /// empty one.
    NothingToCopy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_be_a_file_name() {
        for text in ["a", "0b", "default.data-1_x", &"f".repeat(128)] {
            assert!(text.parse::<VolumeId>().is_ok(), "{text}");
        }
        for text in ["", ".", "..", ".a", "-a", "a/b", "a b", "ä", &"f".repeat(129), "a\0"] {
            assert!(text.parse::<VolumeId>().is_err(), "{text:?}");
        }
    }
}
