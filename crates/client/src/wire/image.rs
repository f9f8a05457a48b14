//! Verbs of images. Names have slashes, so they stand in queries and bodies, never in paths.

use link::image::Login;
use model::instance::FirmwareKind;
use serde::{Deserialize, Serialize};

/// Whose images are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NodeQuery {
    /// The node's name; the one that answers when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// Which image is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ImageQuery {
    /// A name, an id, or the beginning of an id; all images when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The node's name; the one that answers when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// Which image is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RemoveImageQuery {
    /// Name or id.
    pub name: String,
    /// All its names, if it is named by its id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Say what would go, and remove nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// The node's name; the one that answers when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// Where images are removed together, and whether in earnest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PruneImagesQuery {
    /// Say what would go, and remove nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// The node's name; the one that answers when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// Where an image is given a further name, and whether in earnest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TagQuery {
    /// Say whether it could be, and give it none.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// The node's name; the one that answers when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// Which image is sent to its registry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PushRequest {
    /// Its name.
    pub name: String,
    /// Who pushes; the node's stored login when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
}

/// A further name for an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TagRequest {
    /// Name or id it has.
    pub name: String,
    /// Name it shall have too.
    pub new: String,
}

/// Which images are removed together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PruneRequest {
    /// Every image that no instance uses, not only those without a name.
    pub all: bool,
}

/// Which login is forgotten.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LogoutRequest {
    /// The registry's host.
    pub registry: String,
}

/// What the archive in the body becomes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ImportQuery {
    /// Name for an image that brings none; needed for a bare root file system.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `CMD`, `ENV`, `EXPOSE` … lines, separated by line feeds, applied to a bare root file system.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub changes: String,
    /// What comes is a disk, which becomes the image of a machine.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub machine: bool,
    /// What starts before the disk; the platform's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<FirmwareKind>,
    /// Format of the disk: `qcow2`, `raw`, `vmdk`, `vhdx` or `vdi`; found out when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub format: String,
    /// The node's name; the one that answers when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// What the context in the body is built into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct BuildQuery {
    /// Names the image gets, separated by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub names: String,
    /// Path of the Dockerfile in the context; `Dockerfile` when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dockerfile: String,
    /// Address of a git repository or an archive that is built instead of what is in the body.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remote: String,
    /// Stage that is built; the last when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Values of `ARG`: a JSON object of texts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arguments: String,
    /// Labels of the image: a JSON object of texts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub labels: String,
    /// `linux/amd64`; the node's own when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub platform: String,
    /// Take no step from the cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// Ask registries what names of base images mean now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pull: bool,
    /// What its steps reach: `host`, `none`, or what instances do when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// `name:address` for `/etc/hosts` of its steps, separated by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub extra_hosts: String,
    /// Bytes of `/dev/shm`; the usual when 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub shm_size: u64,
    /// `name=soft:hard`, separated by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ulimits: String,
    /// What its steps are handed (`RUN --mount=type=secret`): a JSON object of ids, each with the number of
    /// bytes of its value, or the name of one of the project's secrets. The values stand at the beginning of the
    /// body, in the order of their ids, before the archive.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub secrets: String,
    /// The project whose secrets are named.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub project: String,
    /// The node's name; the one that answers when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub node: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Which disk is written, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExportQuery {
    /// The image's name or id.
    pub name: String,
    /// `qcow2`, `raw`, `vmdk`, `vhdx` or `vdi`; as it is in the image when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub format: String,
    /// The node's name; the one that answers when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
}

/// Which images are written into one archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SaveQuery {
    /// Names or ids, separated by commas.
    pub names: String,
    /// The node's name; the one that answers when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub node: String,
}
