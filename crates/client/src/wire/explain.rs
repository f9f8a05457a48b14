//! What is asked of an explanation.

use model::Kind;
use serde::{Deserialize, Serialize};

/// Which object of a name is explained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ExplainQuery {
    /// The one of this kind; all of the name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
}
