//! What is asked of a node about itself.

use async_trait::async_trait;
use model::{Bytes, Result};
use serde::{Deserialize, Serialize};

/// A finding about the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// `pass`, `warn` or `fail`.
    pub outcome: String,
    /// What was found.
    pub finding: String,
    /// What to do; empty when nothing needs doing.
    pub remedy: String,
}

/// What takes up a node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskUsage {
    /// Images.
    pub images: Bytes,
    /// Writable layers of instances.
    pub instances: Bytes,
    /// Volumes.
    pub volumes: Bytes,
    /// Logs.
    pub logs: Bytes,
    /// Free on the node's disk.
    pub free: Bytes,
}

/// What is asked of a node about itself.
#[async_trait]
pub trait MachineCalls: Send + Sync {
    /// Whether the machine is fit.
    async fn check(&self) -> Result<Vec<Finding>>;

    /// What takes up its disk.
    async fn disk_usage(&self) -> Result<DiskUsage>;
}
