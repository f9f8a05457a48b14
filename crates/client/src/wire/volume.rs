//! Verbs of volumes.

use model::Bytes;
use serde::{Deserialize, Serialize};

/// Which volumes that no instance uses are removed together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PruneVolumesRequest {
    /// Every one, not only anonymous ones.
    pub all: bool,
}

/// Volumes that were removed together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrunedVolumes {
    /// Names of what is gone, or on its way out.
    pub names: Vec<String>,
    /// Bytes that were promised to them.
    pub size: Bytes,
}
