//! Role: who may do what, and where.
//!
//! | role | may |
//! |---|---|
//! | viewer | read everything but who else has which rights |
//! | operator | also start, stop, restart, pause; enter instances and copy their files |
//! | editor | also make, change and remove what a project has |
//! | admin | everything, of the whole cluster |
//!
//! A role is given for one project or for all. What reaches the host (privileged containers, directories of
//! the host …) is an admin's, as it is worth as much as the host.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::check_name;

/// A set of rights. Each has all those of the one before it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Starts, stops, enters.
    Operator,
    /// Makes, changes, removes.
    Editor,
    /// Does everything.
    Admin,
}

impl Role {
    /// All, in the order of what they may do.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Operator, Role::Editor, Role::Admin];

    /// The role's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Editor => "editor",
            Role::Admin => "admin",
        }
    }
}

/// A role, and where it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// The role.
    pub role: Role,
    /// The project it holds in; everywhere when empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub project: String,
}

impl Grant {
    /// A role that holds everywhere.
    #[must_use]
    pub fn everywhere(role: Role) -> Self {
        Self { role, project: String::new() }
    }

    /// Refuses one that could never be.
    ///
    /// # Errors
    /// `Invalid` naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.project.is_empty() {
            return Ok(());
        }
        check_name(&self.project).map_err(|error| error.at("project"))?;
        if self.role == Role::Admin {
            return Err(Error::invalid("an admin is one of the whole cluster, not of a project")
                .at("role")
                .next(format!("give admin, or editor@{}", self.project)));
        }
        Ok(())
    }
}

/// Refuses grants of which one could never be, naming the field.
///
/// # Errors
/// `Invalid`.
pub fn check_grants(grants: &[Grant]) -> Result<()> {
    for (index, grant) in grants.iter().enumerate() {
        grant.validate().map_err(|error| error.under(&format!("roles.{index}")))?;
    }
    Ok(())
}

/// As people write it: `viewer`, `editor@shop`.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.role.as_str())?;
        if self.project.is_empty() { Ok(()) } else { write!(f, "@{}", self.project) }
    }
}

impl FromStr for Grant {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (role, project) = text.split_once('@').unwrap_or((text, ""));
        let known = Role::ALL.into_iter().find(|known| known.as_str() == role);
        let role = known.ok_or_else(|| {
            let known = Role::ALL.map(Role::as_str).join(", ");
            Error::invalid(format!("there is no role {role:?}"))
                .next(format!("take one of {known}, with @PROJECT for one project"))
        })?;
        if text.ends_with('@') {
            return Err(Error::invalid(format!("{text:?} names no project"))
                .next("leave the @ out for all projects"));
        }
        let grant = Self { role, project: project.to_owned() };
        grant.validate().map(|()| grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_are_read_as_they_are_written() {
        for text in ["viewer", "operator@shop", "editor@a.b", "admin"] {
            assert_eq!(text.parse::<Grant>().unwrap().to_string(), text);
        }
        for bad in ["", "root", "Viewer", "viewer@", "editor@-a", "admin@shop"] {
            assert!(bad.parse::<Grant>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_field_of_a_bad_grant_is_named() {
        let bad = Grant { role: Role::Admin, project: "shop".into() };
        let error = check_grants(&[Grant::everywhere(Role::Viewer), bad]).unwrap_err();
        assert_eq!(error.field(), Some("roles.1.role"));
    }
}
