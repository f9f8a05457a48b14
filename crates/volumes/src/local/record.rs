//! What is remembered of a volume or snapshot beside its contents.

use std::collections::BTreeMap;

use model::{Bytes, Error, Result, Time};
use serde::{Deserialize, Serialize};

use super::options::{Filesystem, Options};
use crate::driver::{CreateVolume, Format, Method, Source, VolumeId};
use crate::filled::Filled;

/// Where the contents are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Layout {
    /// A directory of the disk.
    Directory,
    /// A directory of the disk with a project quota.
    Project,
    /// A btrfs subvolume.
    Subvolume,
    /// A file system of its own in a file.
    Image(Filesystem),
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRecord {
    /// Its identity.
    pub id: VolumeId,
    /// What people call it.
    pub name: String,
    /// The size it was created with, before it was raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Bytes>,
    /// The size in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// The size that an image's file system has been grown to; `size` is taken over when it is staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub laid: Option<Bytes>,
    /// Where the contents are.
    pub layout: Layout,
    /// What was chosen, as written.
    #[serde(default)]
    pub words: BTreeMap<String, String>,
    /// What was chosen, as understood.
    #[serde(default)]
    pub options: Options,
    /// What it began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// How that was copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// How far the copy from an image has come.
    #[serde(default)]
    pub filled: Filled,
    /// When it was made.
    pub created: Time,
}

impl VolumeRecord {
    /// How its size is enforced.
    pub fn format(&self) -> Format {
        match (self.layout, self.size) {
            (Layout::Image(_), _) => Format::Image,
            (Layout::Subvolume, Some(_)) => Format::Btrfs,
            (Layout::Project, Some(_)) => Format::ProjectQuota,
            (Layout::Directory | Layout::Subvolume | Layout::Project, _) => Format::None,
        }
    }

    /// Whether creating it again by `request` would make the same.
    ///
    /// # Errors
    /// `Exists` when it would not.
    pub fn answers(&self, request: &CreateVolume) -> Result<()> {
        let same_size = self.asked == request.size || self.size == request.size;
        if same_size && self.source == request.source && self.words == request.options {
            return Ok(());
        }
        Err(Error::exists(format!(
            "volume {:?} exists with another size, source or options",
            self.name
        ))
        .next("use another name, or remove the volume first"))
    }
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotRecord {
    /// Its identity.
    pub id: VolumeId,
    /// What people call it.
    pub name: String,
    /// The volume it is of.
    pub volume: VolumeId,
    /// Where the contents are.
    pub layout: Layout,
    /// The volume's size limit at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Bytes>,
    /// The size of an image's file system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub laid: Option<Bytes>,
    /// Bytes a volume needs to hold it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Bytes>,
    /// How it was made.
    pub method: Method,
    /// It shows one moment.
    pub consistent: bool,
    /// How far the volume's copy from an image had come.
    #[serde(default)]
    pub filled: Filled,
    /// When it was taken.
    pub taken: Time,
}
