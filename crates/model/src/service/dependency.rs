//! What a service waits for before its instances are made.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::check_name;

/// Most services that one depends on.
const MOST: usize = 64;

/// Another service of the project that is to be so far first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its name.
    pub service: String,
    /// How far it is to be.
    #[serde(default)]
    pub condition: DependencyCondition,
    /// It has to be there, and to get so far; otherwise one that is not there or has failed is not
    /// waited for.
    #[serde(default = "yes")]
    pub required: bool,
    /// Instances are made anew when the other service has come to a new revision.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restart: bool,
}

fn yes() -> bool {
    true
}

/// How far a service is to be for those that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum DependencyCondition {
    /// All its instances have started.
    #[default]
    Started,
    /// All its instances run, and are healthy where that is checked.
    Healthy,
    /// It is a job that is complete, or runs at set times and has ended well once.
    Completed,
}

impl DependencyCondition {
    /// The word shown to people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DependencyCondition::Started => "started",
            DependencyCondition::Healthy => "healthy",
            DependencyCondition::Completed => "complete",
        }
    }
}

pub(super) fn validate(all: &[Dependency]) -> Result<()> {
    if all.len() > MOST {
        return Err(
            Error::invalid(format!("a service depends on {MOST} others at most")).at("dependsOn")
        );
    }
    let mut seen = BTreeSet::new();
    for (i, dependency) in all.iter().enumerate() {
        let place = format!("dependsOn[{i}].service");
        check_name(&dependency.service).map_err(|error| error.at(&place))?;
        if !seen.insert(&dependency.service) {
            let message = format!("it depends on service {:?} twice", dependency.service);
            return Err(Error::invalid(message).at(place));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_required_and_started() {
        let read: Dependency = serde_json::from_str(r#"{"service": "db"}"#).unwrap();
        let wanted = Dependency {
            service: "db".into(),
            condition: DependencyCondition::Started,
            required: true,
            restart: false,
        };
        assert_eq!(read, wanted);
        assert!(validate(std::slice::from_ref(&read)).is_ok());
        assert_eq!(
            validate(&[read.clone(), read]).unwrap_err().field(),
            Some("dependsOn[1].service")
        );
        let bad = Dependency { service: "a/b".into(), ..wanted };
        assert_eq!(validate(&[bad]).unwrap_err().field(), Some("dependsOn[0].service"));
    }
}
