//! Verbs of services.

use serde::{Deserialize, Serialize};

/// To which template a service goes back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RollBackRequest {
    /// That of this revision; the last one before the present that is not known to fail when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}
