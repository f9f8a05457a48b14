//! Node: a machine of the cluster.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::id::Uid;
use crate::instance::Reason;
use crate::object::{Kind, Noun, Object};
use crate::quantity::{Bytes, Cpus};
use crate::time::Time;

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeNoun;

/// A node.
pub type Node = Object<NodeNoun>;

/// What was asked of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// Nothing new is placed on it.
    pub cordoned: bool,
}

/// What was seen of a node; written by its agent.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// Its agent answers.
    pub ready: bool,
    /// When its agent last said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<Time>,
    /// Processors.
    pub cpus: Cpus,
    /// Memory.
    pub memory: Bytes,
    /// `uname -r`.
    pub kernel: String,
    /// Distribution, e.g. `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// `amd64`, `arm64` …
    pub architecture: String,
    /// `v1`, `hybrid` or `v2`.
    pub cgroups: String,
    /// Version of `hull`.
    pub version: String,
    /// Name and version of the container engine.
    pub engine: String,
    /// This boot of the machine.
    pub boot_id: String,
    /// Its addresses outside the platform's networks.
    pub addresses: Vec<String>,
    /// Subnets in use outside the platform's networks, which new networks must not overlap.
    pub host_subnets: Vec<String>,
    /// What is wrong with it, one sentence each.
    pub warnings: Vec<String>,
    /// Services of which a port could not be published on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unpublished: Vec<Unpublished>,
}

/// A service of which a node could not publish a port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unpublished {
    /// The service's identity.
    pub service: Uid,
    /// Why.
    pub reason: Reason,
}

impl Noun for NodeNoun {
    const KIND: Kind = Kind::Node;
    const IN_PROJECT: bool = false;
    type Spec = NodeSpec;
    type Status = NodeStatus;

    fn validate(_: &NodeSpec) -> Result<()> {
        Ok(())
    }
}
