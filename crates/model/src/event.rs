//! Event: what happened, when, to what, by whom.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Uid;
use crate::object::Kind;
use crate::time::Time;

/// Something that happened. Events are numbered without gaps on the node that saw them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub time: Time,
    /// The kind of object it happened to.
    pub kind: Kind,
    /// What: `create`, `start`, `die`, `oom`, `health`, `pull` … Docker's words where it has them.
    pub action: String,
    /// Project of the object; empty for objects of the cluster.
    #[serde(default)]
    pub project: String,
    /// Name of the object then.
    pub name: String,
    /// Identity of the object; absent for images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uid>,
    /// Who asked for it; empty for the platform itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub by: String,
    /// Labels of the object then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: crate::meta::Labels,
    /// More, e.g. `exitCode`, `image`, `container`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, String>,
}

impl Event {
    /// Something that happened to an object.
    pub fn new(time: Time, kind: Kind, action: &str, meta: &crate::Meta) -> Self {
        Self {
            time,
            kind,
            action: action.to_owned(),
            project: meta.project.clone(),
            name: meta.name.clone(),
            id: Some(meta.id.clone()),
            by: String::new(),
            labels: meta.labels.clone(),
            details: BTreeMap::new(),
        }
    }

    /// Adds a detail.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.details.insert(key.to_owned(), value.to_string());
        self
    }
}
