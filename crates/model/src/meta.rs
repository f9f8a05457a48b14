//! What every object carries besides its spec and status.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::Uid;
use crate::name::{MAX_LABEL, check_name};
use crate::time::Time;

/// Labels and annotations: names to values, in order of name.
pub type Labels = BTreeMap<String, String>;

/// Who and what an object is. People write `name`, `project`, `labels` and `annotations`; the rest
/// is written by control.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Unique among objects of the kind in the project; can be changed.
    pub name: String,
    /// The project it belongs to; empty for nouns that belong to the cluster (nodes, projects).
    #[serde(default)]
    pub project: String,
    /// Never changes, never used again.
    pub id: Uid,
    /// For selecting.
    #[serde(default)]
    pub labels: Labels,
    /// For everything else that tools want to keep here.
    #[serde(default)]
    pub annotations: Labels,
    /// The store's revision of the last change to this object, spec or status.
    #[serde(default)]
    pub revision: u64,
    /// Counts changes of the spec.
    #[serde(default)]
    pub generation: u64,
    /// The object that made this one and with which it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// When it was created.
    pub created: Time,
    /// When its removal was asked for; it goes when `finalizers` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Time>,
    /// Who asked for its removal first; empty when the platform did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub deleted_by: String,
    /// What must be cleaned up before the record goes; each is taken off by whoever did it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

/// The object another one belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// Its kind.
    pub kind: crate::Kind,
    /// Its identity.
    pub id: Uid,
    /// Its name when this was written; for people.
    pub name: String,
}

impl Meta {
    /// A new object's meta: generation 1, no revision yet.
    pub fn new(project: &str, name: &str, id: Uid, created: Time) -> Self {
        Self {
            name: name.to_owned(),
            project: project.to_owned(),
            id,
            labels: Labels::new(),
            annotations: Labels::new(),
            revision: 0,
            generation: 1,
            owner: None,
            created,
            deleted: None,
            deleted_by: String::new(),
            finalizers: Vec::new(),
        }
    }

    /// Checks the parts that people write.
    pub fn validate(&self) -> Result<()> {
        check_name(&self.name)?;
        check_labels("meta.labels", &self.labels)?;
        check_labels("meta.annotations", &self.annotations)
    }
}

fn check_labels(field: &str, labels: &Labels) -> Result<()> {
    for (key, value) in labels {
        if key.is_empty() || key.len() > MAX_LABEL || value.len() > 16 * MAX_LABEL {
            return Err(Error::invalid(format!(
                "label {key:?} has an empty key, a key over {MAX_LABEL} bytes or a value over {} bytes",
                16 * MAX_LABEL
            ))
            .at(field));
        }
    }
    Ok(())
}
