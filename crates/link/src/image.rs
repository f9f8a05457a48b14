//! What is asked of a node about its images.

use async_trait::async_trait;
use model::image::Image;
use model::instance::{FirmwareKind, PullPolicy};
use model::{Bytes, Result};
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
    /// What comes is a disk, which becomes the image of a machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskImport>,
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

    /// Removes images without a name, or with `all` every one that no instance uses. With `plan` it
    /// says which would go.
    async fn image_prune(&self, all: bool, plan: bool) -> Result<Removed>;

    /// Checks a login with its registry and keeps it on the node, readable by root only.
    async fn registry_login(&self, login: Login) -> Result<()>;

    /// Forgets a login.
    async fn registry_logout(&self, registry: String) -> Result<()>;
}
