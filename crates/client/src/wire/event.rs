//! Reading what happened.

use model::Time;
use serde::{Deserialize, Serialize};

/// Which events are wanted. The answer is one event a line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct EventsQuery {
    /// Go on as they happen.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub watch: bool,
    /// Nothing older (RFC 3339); without it and with `watch` only what happens from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Nothing newer (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Field selector over `kind`, `action`, `project`, `name`, `id`, `by` and `details.…`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fields: String,
    /// Only so many of the last; all that are kept when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
