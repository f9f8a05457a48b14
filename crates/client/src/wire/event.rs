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
    /// Of objects of these projects, separated by commas; objects of the cluster have none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub projects: String,
    /// Of these kinds of objects, separated by commas: `instance,volume`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kinds: String,
    /// These actions, separated by commas; one that ends with `:` means all that begin so.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub actions: String,
    /// Of objects with these names, ids, or beginnings of ids, separated by commas.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub objects: String,
    /// With these details, as a selector: `image=nginx`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub details: String,
    /// Only so many of the last that are kept, unless `watch`; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
