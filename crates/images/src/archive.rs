//! Images in files: Docker's archives, OCI's archives and directories, root file systems.

use model::image::{ImageConfig, Reference};

use crate::platform::Platform;

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

mod budget;
mod compression;
pub(crate) mod layer;
mod tar;

pub(crate) async fn import(
    images: &crate::Images,
    source: impl tokio::io::AsyncRead + Send + Unpin,
    options: ImportOptions,
) -> model::Result<Vec<model::image::Image>> {
    let _ = (images, source, options);
    Err(model::Error::unsupported("not built yet"))
}

pub(crate) async fn import_directory(
    images: &crate::Images,
    path: &std::path::Path,
    options: ImportOptions,
) -> model::Result<Vec<model::image::Image>> {
    let _ = (images, path, options);
    Err(model::Error::unsupported("not built yet"))
}

pub(crate) async fn save(
    images: &crate::Images,
    names: &[String],
    platform: Platform,
) -> model::Result<crate::ByteStream> {
    let _ = (images, names, platform);
    Err(model::Error::unsupported("not built yet"))
}
