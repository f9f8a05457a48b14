//! What is asked of a node about its images.

use std::collections::BTreeMap;

use async_trait::async_trait;
use model::image::Image;
use model::instance::{FirmwareKind, PullPolicy};
use model::{Bytes, Result, Time};
use serde::{Deserialize, Serialize};

use crate::{ByteStream, ResultStream};

/// How far a pull, push or import is. The last item of a stream that ended well is [`Progress::Done`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum Progress {
    /// A layer (or another blob) moved on.
    #[serde(rename_all = "camelCase")]
    Layer {
        /// Its digest.
        digest: String,
        /// What is done with it.
        phase: LayerPhase,
        /// Bytes done.
        done: u64,
        /// Bytes in all; 0 while unknown.
        total: u64,
    },
    /// Something else to tell.
    #[serde(rename_all = "camelCase")]
    Message {
        /// The sentence.
        text: String,
    },
    /// The registry has it under this digest.
    #[serde(rename_all = "camelCase")]
    Pushed {
        /// Digest of the document its name means there.
        digest: String,
        /// Bytes of that document.
        size: u64,
    },
    /// It is there.
    #[serde(rename_all = "camelCase")]
    Done {
        /// The images, in full.
        images: Vec<Image>,
        /// Nothing had to be fetched.
        unchanged: bool,
    },
}

/// What is done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "plain words")]
pub enum LayerPhase {
    Waiting,
    Exists,
    Downloading,
    Uploading,
    Verifying,
    Unpacking,
    Done,
}

/// Which image is pulled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PullRequest {
    /// Its name as people write it.
    pub name: String,
    /// `linux/arm64`; the node's own when empty.
    pub platform: String,
    /// When it is fetched.
    pub policy: PullPolicy,
    /// Who pulls; the node's stored login when absent.
    pub login: Option<Login>,
}

/// A user of a registry. Never printed.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Login {
    /// The registry's host; `docker.io` when empty.
    pub registry: String,
    /// User.
    pub username: String,
    /// Password or access token.
    pub password: String,
    /// OAuth2 refresh token, instead of a password.
    pub identity_token: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("registry", &self.registry)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// How a root file system's archive becomes an image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ImportRequest {
    /// Name for an image that brings none; needed for a bare root file system.
    pub name: String,
    /// `CMD`, `ENV`, `EXPOSE` … lines applied to a bare root file system's configuration.
    pub changes: Vec<String>,
    /// A remark in the history of a bare root file system's image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// `linux/arm64`: for which machine a bare root file system is; the node's own when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// What it is.
    pub kind: ImportKind,
    /// Address of an archive that the node fetches, in place of one that comes. Not for everybody: the
    /// node reaches more than its callers.
    #[serde(skip)]
    pub source: String,
    /// What comes is a disk, which becomes the image of a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskImport>,
}

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ImportKind {
    /// Told by what is in it.
    #[default]
    Auto,
    /// Images with their documents.
    Archive,
    /// A root file system.
    RootFs,
}

/// An image with its documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageDetail {
    /// What the model knows of it.
    pub image: Image,
    /// Its configuration as it is stored, unknown fields included.
    pub file: serde_json::Value,
    /// Bytes of the files in each layer, lowest first.
    pub layers: Vec<Bytes>,
    /// Type of what its name points at.
    pub media_type: String,
    /// Bytes of that document.
    pub size: Bytes,
    /// When it was last given a name.
    pub tagged: Option<Time>,
}

/// An image and how large it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SizedImage {
    /// The image.
    pub image: Image,
    /// Bytes of the files in each layer, lowest first.
    pub layers: Vec<Bytes>,
}

/// Which images are pruned.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PruneRequest {
    /// All that no instance uses, not only those without a name.
    pub all: bool,
    /// Say only which would go.
    pub plan: bool,
    /// Only those made before.
    pub until: Option<Time>,
    /// Only those with all of these labels; an empty value asks for the key alone.
    pub labels: BTreeMap<String, String>,
    /// Only those without any of these.
    pub unlabelled: BTreeMap<String, String>,
}

/// What is searched for at a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SearchRequest {
    /// The registry's host; `docker.io` when empty.
    pub registry: String,
    /// What names and descriptions have in them.
    pub term: String,
    /// Most results.
    pub limit: u32,
    /// Who asks; the node's stored login when absent.
    pub login: Option<Login>,
}

/// A repository that a search found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SearchHit {
    /// Its name.
    pub name: String,
    /// What it says of itself.
    pub description: String,
    /// People who like it.
    pub stars: i64,
    /// It is one of the registry's own.
    pub official: bool,
}

/// What a name means at its registry.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Listing {
    /// Digest of the document.
    pub digest: String,
    /// Its type.
    pub media_type: String,
    /// Its bytes.
    pub size: u64,
    /// For which platforms it is: operating system, processor, variant.
    pub platforms: Vec<(String, String, String)>,
}

/// How a disk becomes the image of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskImport {
    /// What starts before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareKind>,
    /// `qcow2`, `raw`, `vmdk`, `vhdx` or `vdi`; found out when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub format: String,
}

/// What a removal took away.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<String>,
    /// Ids of images that are gone.
    pub deleted: Vec<String>,
    /// Bytes given back.
    pub freed: Bytes,
}

/// What is asked of a node about its images. `name` is a name, an id, or the beginning of an id.
#[async_trait]
pub trait ImageCalls: Send + Sync {
    /// All images.
    async fn image_list(&self) -> Result<Vec<Image>>;

    /// One image.
    async fn image_show(&self, name: String) -> Result<Image>;

    /// Fetches an image from its registry.
    async fn image_pull(&self, request: PullRequest) -> Result<ResultStream<Progress>>;

    /// Sends an image to its registry.
    async fn image_push(
        &self,
        name: String,
        login: Option<Login>,
    ) -> Result<ResultStream<Progress>>;

    /// Reads images from an archive: `docker save`'s, an OCI layout's, or a root file system.
    async fn image_import(
        &self,
        request: ImportRequest,
        archive: ByteStream,
    ) -> Result<ResultStream<Progress>>;

    /// Writes images into one archive that is both an OCI layout and what `docker load` reads.
    async fn image_save(&self, names: Vec<String>) -> Result<ByteStream>;

    /// Writes the disk of a machine's image in a format: `qcow2`, `raw`, `vmdk`, `vhdx`, `vdi`; as it is
    /// when empty.
    async fn image_export(&self, name: String, format: String) -> Result<ByteStream>;

    /// Gives an image a further name. With `plan` it only says whether it could.
    async fn image_tag(&self, name: String, new: String, plan: bool) -> Result<()>;

    /// Takes a name away, and the image with its last name; with `force` all names of an image that
    /// is named by its id. Refused while an instance uses it. With `plan` it says what would go.
    async fn image_remove(&self, name: String, force: bool, plan: bool) -> Result<Removed>;

    /// Takes a name away and keeps the image, nameless if it was its last.
    async fn image_untag(&self, name: String) -> Result<()>;

    /// Removes images nobody uses.
    async fn image_prune(&self, request: PruneRequest) -> Result<Removed>;

    /// An image with its documents and sizes.
    async fn image_detail(&self, name: String) -> Result<ImageDetail>;

    /// All images with their sizes.
    async fn image_sizes(&self) -> Result<Vec<SizedImage>>;

    /// What a name means at its registry, without fetching it.
    async fn registry_look_up(&self, name: String, login: Option<Login>) -> Result<Listing>;

    /// All tags that a repository has at its registry.
    async fn registry_tags(&self, name: String, login: Option<Login>) -> Result<Vec<String>>;

    /// Repositories at a registry that fit a term.
    async fn registry_search(&self, request: SearchRequest) -> Result<Vec<SearchHit>>;

    /// Checks a login with its registry and keeps nothing; what is to be shown there from now on.
    async fn registry_check(&self, login: Login) -> Result<Login>;

    /// Checks a login with its registry and keeps it on the node, readable by root only.
    async fn registry_login(&self, login: Login) -> Result<()>;

    /// Forgets a login.
    async fn registry_logout(&self, registry: String) -> Result<()>;
}
