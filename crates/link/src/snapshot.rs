//! What is asked of a node about the snapshots of a machine. They lie in the machine's own disks and
//! go with it.

use async_trait::async_trait;
use model::{Result, Time};
use serde::{Deserialize, Serialize};

use crate::instance::Target;

/// How a snapshot is taken.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SnapshotRequest {
    /// Its name; one with the time in it when empty.
    pub name: String,
    /// Also what the guest's memory holds, so that it goes on from there.
    pub memory: bool,
    /// Only if the guest's file systems can be made consistent first, which its agent does; without,
    /// that is tried, and what is taken else is as after a power cut.
    pub consistent: bool,
}

/// A snapshot of a machine: of all its disks at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineSnapshot {
    /// Its name.
    pub name: String,
    /// When it was taken.
    pub created: Time,
    /// It has the guest's memory.
    pub memory: bool,
    /// The guest's file systems were frozen meanwhile, or it did not run.
    pub consistent: bool,
    /// Names of the disks it is of.
    pub disks: Vec<String>,
}

/// What is asked of a node about the snapshots of its machines. Each call refuses with `Unsupported` an
/// instance that is no machine.
#[async_trait]
pub trait SnapshotCalls: Send + Sync {
    /// All snapshots of a machine, oldest first.
    async fn snapshots(&self, target: Target) -> Result<Vec<MachineSnapshot>>;

    /// Takes one. `Exists` for a name that is taken, `Conflict` while another is being taken.
    async fn take_snapshot(
        &self,
        target: Target,
        request: SnapshotRequest,
    ) -> Result<MachineSnapshot>;

    /// Takes the machine back to a snapshot: one with memory goes on from there, also if it runs; one
    /// without needs the machine to be stopped.
    async fn restore_snapshot(&self, target: Target, name: String) -> Result<()>;

    /// Removes one; gone already is fine.
    async fn remove_snapshot(&self, target: Target, name: String) -> Result<()>;
}
