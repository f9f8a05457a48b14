//! The platform itself.

use link::machine::Finding;
use model::Time;
use serde::{Deserialize, Serialize};

/// How the platform is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Version of `hull`.
    pub version: String,
    /// The node that answered.
    pub node: String,
    /// Where it can be reached over TLS.
    pub addresses: Vec<String>,
    /// The certificate authority to trust there, as `HULL_CA` has it: `sha256:…`.
    pub authority: String,
    /// Whether it takes work.
    pub ready: bool,
    /// Since when it has answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// The store's revision.
    pub revision: u64,
    /// Instances that run.
    pub running: u64,
    /// Instances.
    pub instances: u64,
    /// Machines of the cluster.
    pub nodes: u64,
    /// What is wrong, one sentence each.
    pub warnings: Vec<String>,
}

/// Whether a machine is fit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckReport {
    /// What was looked at.
    pub findings: Vec<Finding>,
}

/// What came of a change of the key that secrets are sealed with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeysRotated {
    /// Id of the key that seals now.
    pub key: String,
    /// How many records were sealed anew.
    pub sealed: usize,
    /// How many cannot be read, as their key was lost before; they are as they were.
    pub unreadable: usize,
    /// Ids of the keys that are gone.
    pub forgotten: Vec<String>,
}
