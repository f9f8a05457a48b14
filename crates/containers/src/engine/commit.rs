//! Images made from containers.

use model::image::ImageConfig;

/// How an image is made of a container.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CommitConfig {
    /// Full name the image gets; none when empty.
    pub name: String,
    /// Digest of the manifest the container was created from; empty for one made from nothing.
    pub base: String,
    /// What the image shall say about how to run it.
    pub config: ImageConfig,
    /// Who made it.
    pub author: String,
    /// A remark, kept in its history.
    pub message: String,
}

/// The image made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Digest of its manifest.
    pub digest: String,
    /// Digest of its configuration: what Docker calls the image's id.
    pub id: String,
}
