//! Writing objects.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// An object to be created. Everything else is written by the platform.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Draft<S> {
    /// Who it shall be.
    #[serde(default)]
    pub meta: DraftMeta,
    /// What is asked of it.
    pub spec: S,
}

/// What people write of an object's meta.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DraftMeta {
    /// Its name; one is invented when empty.
    pub name: String,
    /// For selecting.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For everything else that tools want to keep.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl<S> Draft<S> {
    /// An object of that name without labels.
    pub fn new(name: impl Into<String>, spec: S) -> Self {
        Self { meta: DraftMeta { name: name.into(), ..DraftMeta::default() }, spec }
    }
}

/// How a write is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct PlanQuery {
    /// Check everything and answer with what would be, and change nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
}

/// How an object is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DeleteQuery {
    /// Check everything and answer with what would be, and change nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plan: bool,
    /// Also when it runs.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// An instance's anonymous volumes go with it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub volumes: bool,
}

/// A new name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RenameRequest {
    /// The name it shall have.
    pub name: String,
}
