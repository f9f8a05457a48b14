//! Project: the tenancy boundary.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::object::{Kind, Noun, Object};

/// The project that is there from the first start.
pub const DEFAULT_PROJECT: &str = "default";

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProjectNoun;

/// A project.
pub type Project = Object<ProjectNoun>;

/// What was asked of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectSpec {
    /// For people.
    pub description: String,
}

/// What was seen of a project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProjectStatus {}

impl Noun for ProjectNoun {
    const KIND: Kind = Kind::Project;
    const IN_PROJECT: bool = false;
    type Spec = ProjectSpec;
    type Status = ProjectStatus;

    fn validate(_: &ProjectSpec) -> Result<()> {
        Ok(())
    }
}
