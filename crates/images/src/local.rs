//! Images that are here.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::image::{Image, ImageHistory, Reference};
use model::{Bytes, Error, Result, Time};
use tokio::io::AsyncRead;

use crate::archive::ImportOptions;
use crate::content::{ByteStream, ContentStore, Labels, Layer};
use crate::digest::Digest;
use crate::limits::Limits;
use crate::locks::Locks;
use crate::platform::Platform;

mod detail;
mod disk;
mod find;
mod kept;
mod opened;
mod remove;
mod serve;
mod stored;
mod summary;
mod usage;

pub use detail::Detail;
pub(crate) use opened::Opened;
pub use serve::ServedManifest;
pub(crate) use stored::{open_ingest, put_document, put_small, read_small};
pub(crate) use summary::Group;

/// Says who uses an image, if anyone does: `Some("instance web-1")`.
pub type InUse<'a> = &'a (dyn Fn(&Image) -> Option<String> + Send + Sync);

/// How an image is removed.
#[derive(Clone, Copy)]
pub struct RemoveOptions<'a> {
    /// Also if it has several names and was named by its id.
    pub force: bool,
    /// Say only what would go.
    pub plan: bool,
    /// Who uses it; such an image keeps its last name, forced or not.
    pub in_use: InUse<'a>,
}

/// How images are pruned.
#[derive(Clone)]
pub struct PruneOptions<'a> {
    /// All that are not in use, not only those without a tag.
    pub all: bool,
    /// Say only what would go.
    pub plan: bool,
    /// Only those made before.
    pub until: Option<Time>,
    /// Only those with all of these labels; an empty value asks for the key alone.
    pub labels: BTreeMap<String, String>,
    /// Only those without any of these; an empty value means the key alone.
    pub unlabelled: BTreeMap<String, String>,
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
    /// Blobs that no image in use needs.
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
    pub(crate) store: Arc<dyn ContentStore>,
    pub(crate) limits: Limits,
    kept: kept::Kept,
    sizes: detail::Sizes,
    unpacking: Arc<Locks>,
}

impl Images {
    /// The images of `store`.
    pub fn new(store: Arc<dyn ContentStore>, limits: Limits) -> Self {
        let (kept, sizes) = (kept::Kept::default(), detail::Sizes::default());
        Self { store, limits, kept, sizes, unpacking: Arc::default() }
    }

    /// All images, newest first.
    pub async fn list(&self) -> Result<Vec<Image>> {
        let mut images: Vec<Image> =
            self.all().await?.iter().map(|group| group.summary()).collect();
        images.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        Ok(images)
    }

    /// The image called `name`: a name, an id, or the beginning of an id.
    pub async fn show(&self, name: &str) -> Result<Image> {
        self.group(name).await.map(|group| group.summary())
    }

    /// The same, `None` if there is none.
    pub async fn find(&self, name: &str) -> Result<Option<Image>> {
        Ok(self.try_group(name).await?.map(|group| group.summary()))
    }

    /// Its configuration as it is stored, unknown fields included.
    pub async fn raw_config(&self, name: &str) -> Result<serde_json::Value> {
        let group = self.group(name).await?;
        group.opened.raw_config()
    }

    /// Digest of the manifest it is made by: where its name points at an index, the one chosen there.
    pub async fn manifest_digest(&self, name: &str) -> Result<Digest> {
        Ok(self.group(name).await?.opened.manifest_at.digest)
    }

    /// Its layers, lowest first. [`crate::chain_id`] of their diff ids names what is unpacked.
    pub async fn layers(&self, name: &str) -> Result<Vec<Layer>> {
        self.group(name).await?.opened.layers()
    }

    /// Unpacks what is not unpacked; for images whose unpacked layers were lost.
    pub async fn unpack(&self, name: &str) -> Result<()> {
        let group = self.group(name).await?;
        self.unpack_opened(&group.opened).await
    }

    /// Gives the image `source` the further name `target`. With `plan`, only says whether it could.
    pub async fn tag(&self, source: &str, target: &Reference, plan: bool) -> Result<()> {
        let (Some(tag), None) = (&target.tag, &target.digest) else {
            return Err(Error::invalid(format!("{target} is not a name with a tag"))
                .next("give a tag and no digest: app:1.0"));
        };
        let group = self.group(source).await?;
        if plan {
            return Ok(());
        }
        let name = format!("{}:{tag}", target.name());
        self.store.put_image(&name, &group.opened.target, Labels::new()).await
    }

    /// Takes the name away, and the image with its last name.
    pub async fn remove(&self, name: &str, options: RemoveOptions<'_>) -> Result<Removed> {
        remove::remove(self, name, options).await
    }

    /// Removes images nobody uses.
    pub async fn prune(&self, options: PruneOptions<'_>) -> Result<Removed> {
        remove::prune(self, options).await
    }

    /// How the image came about, newest first.
    pub async fn history(&self, name: &str) -> Result<Vec<ImageHistory>> {
        let mut history = self.show(name).await?.history;
        history.reverse();
        Ok(history)
    }

    /// What images take on the disk.
    pub async fn usage(&self, in_use: InUse<'_>) -> Result<Usage> {
        usage::usage(self, in_use).await
    }

    /// Takes in an archive or a root file system, compressed (gzip, zstd) or not. All of it, or
    /// nothing is left behind. Of each image's names, those are returned that it was given now.
    pub async fn import(
        &self,
        source: impl AsyncRead + Send + Unpin,
        options: ImportOptions,
    ) -> Result<Vec<Image>> {
        crate::archive::import(self, source, options).await
    }

    /// Takes in an OCI layout directory.
    pub async fn import_directory(
        &self,
        path: &Path,
        options: ImportOptions,
    ) -> Result<Vec<Image>> {
        crate::archive::import_directory(self, path, options).await
    }

    /// One tar of these images that is an OCI layout and a Docker archive at once.
    pub async fn save(&self, names: &[String], platform: Option<Platform>) -> Result<ByteStream> {
        crate::archive::save(self, names, platform.unwrap_or_else(Platform::host)).await
    }
}
