//! Images that are here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::image::{Image, ImageHistory, Reference};
use model::{Bytes, Error, Result, Time};
use tokio::io::AsyncRead;

use crate::archive::ImportOptions;
use crate::content::{ByteStream, ContentStore, Layer};
use crate::limits::Limits;
use crate::platform::Platform;

/// Says who uses an image, if anyone does: `Some("instance web-1")`.
pub type InUse<'a> = &'a (dyn Fn(&Image) -> Option<String> + Send + Sync);

/// How an image is removed.
#[derive(Clone, Copy)]
pub struct RemoveOptions<'a> {
    /// Also if it has several names and was named by its id.
    pub force: bool,
    /// Who uses it; such an image keeps its last name, forced or not.
    pub in_use: InUse<'a>,
}

/// How images are pruned.
#[derive(Clone)]
pub struct PruneOptions<'a> {
    /// All that are not in use, not only those without a tag.
    pub all: bool,
    /// Only those made before.
    pub until: Option<Time>,
    /// Only those with all of these labels; an empty value asks for the key alone.
    pub labels: BTreeMap<String, String>,
    /// Who uses an image.
    pub in_use: InUse<'a>,
}

/// What removing did.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Names that were taken away, in full.
    pub untagged: Vec<String>,
    /// Ids of images that are gone.
    pub deleted: Vec<String>,
    /// Bytes that are free again, without those of unpacked layers.
    pub reclaimed: Bytes,
}

/// What images take on the disk.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// All blobs.
    pub total: Bytes,
    /// Blobs of images that are not in use.
    pub reclaimable: Bytes,
    /// By image.
    pub images: Vec<UsageRow>,
}

/// What one image takes.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageRow {
    /// Its id.
    pub id: String,
    /// Its names.
    pub names: Vec<String>,
    /// Bytes of its blobs.
    pub size: Bytes,
    /// Bytes of its blobs that other images have too.
    pub shared: Bytes,
    /// It is in use.
    pub in_use: bool,
}

/// The local verbs. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    store: Arc<dyn ContentStore>,
    limits: Limits,
}

impl Images {
    /// The images of `store`.
    pub fn new(store: Arc<dyn ContentStore>, limits: Limits) -> Self {
        Self { store, limits }
    }

    /// All images, newest first.
    pub async fn list(&self) -> Result<Vec<Image>> {
        let _ = (&self.store, &self.limits);
        Err(not_built())
    }

    /// The image called `name`: a name, an id, or the beginning of an id.
    pub async fn show(&self, name: &str) -> Result<Image> {
        let _ = name;
        Err(not_built())
    }

    /// The same, `None` if there is none.
    pub async fn find(&self, name: &str) -> Result<Option<Image>> {
        let _ = name;
        Err(not_built())
    }

    /// Its configuration as it is stored, unknown fields included.
    pub async fn raw_config(&self, name: &str) -> Result<serde_json::Value> {
        let _ = name;
        Err(not_built())
    }

    /// Its layers, lowest first. [`crate::chain_id`] of their diff ids names what is unpacked.
    pub async fn layers(&self, name: &str) -> Result<Vec<Layer>> {
        let _ = name;
        Err(not_built())
    }

    /// Unpacks what is not unpacked; for images whose unpacked layers were lost.
    pub async fn unpack(&self, name: &str) -> Result<()> {
        let _ = name;
        Err(not_built())
    }

    /// Gives the image `source` the further name `target`.
    pub async fn tag(&self, source: &str, target: &Reference) -> Result<()> {
        let _ = (source, target);
        Err(not_built())
    }

    /// Takes the name away, and the image with its last name.
    pub async fn remove(&self, name: &str, options: RemoveOptions<'_>) -> Result<Removed> {
        let _ = (name, options);
        Err(not_built())
    }

    /// Removes images nobody uses.
    pub async fn prune(&self, options: PruneOptions<'_>) -> Result<Removed> {
        let _ = options;
        Err(not_built())
    }

    /// How the image came about, newest first.
    pub async fn history(&self, name: &str) -> Result<Vec<ImageHistory>> {
        let _ = name;
        Err(not_built())
    }

    /// What images take on the disk.
    pub async fn usage(&self, in_use: InUse<'_>) -> Result<Usage> {
        let _ = in_use;
        Err(not_built())
    }

    /// Takes in an archive or a root file system, compressed (gzip, zstd) or not. All of it, or
    /// nothing is left behind.
    pub async fn import(
        &self,
        source: impl AsyncRead + Send + Unpin,
        options: ImportOptions,
    ) -> Result<Vec<Image>> {
        let _ = (source, options);
        Err(not_built())
    }

    /// Takes in an OCI layout directory.
    pub async fn import_directory(
        &self,
        path: &Path,
        options: ImportOptions,
    ) -> Result<Vec<Image>> {
        let _ = (path, options);
        Err(not_built())
    }

    /// One tar of these images that is an OCI layout and a Docker archive at once.
    pub async fn save(&self, names: &[String], platform: Option<Platform>) -> Result<ByteStream> {
        let _ = (names, platform);
        Err(not_built())
    }
}

fn not_built() -> Error {
    Error::unsupported("not built yet")
}
