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
