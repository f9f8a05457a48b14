//! Images in files: Docker's archives, OCI's archives and directories, root file systems.

use model::image::{ImageConfig, Reference};

use crate::platform::Platform;

mod assemble;
mod budget;
pub(crate) mod compression;
mod contents;
mod directory;
mod import;
mod intake;
pub(crate) mod layer;
mod rootfs;
mod save;
mod sniff;
pub(crate) mod tar;

pub(crate) use assemble::manifest_of;
pub(crate) use directory::import_directory;
pub use import::{decompressed, is_compressed};
pub(crate) use import::{import, unpacked};
pub(crate) use save::save;

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ImportKind {
    /// Told by the first members.
    #[default]
    Auto,
    /// What `docker save` or an OCI tool wrote.
    Archive,
    /// A root file system, which becomes an image of one layer.
    RootFs,
}

/// How something is imported.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// What it is.
    pub kind: ImportKind,
    /// Name for an image that brings none, or for a root file system.
    pub name: Option<Reference>,
    /// For which machine; this one unless given.
    pub platform: Option<Platform>,
    /// Configuration of a root file system's image.
    pub config: ImageConfig,
    /// Remark in the history of a root file system's image.
    pub comment: String,
}
