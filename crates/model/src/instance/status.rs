//! What was seen of an instance.

use serde::{Deserialize, Serialize};

use crate::id::Uid;
use crate::time::Time;

/// Where an instance is in its life; see the diagram in the [module](super) above.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Not on a node yet, or not asked to run yet.
    #[default]
    Pending,
    /// Its node is getting it ready: image, volumes, network, containers.
    Creating,
    /// At least one of its containers runs.
    Running,
    /// Frozen.
    Paused,
    /// It ended and waits to be started again.
    Restarting,
    /// It ended.
    Exited,
    /// It could not be started; `reason` says why.
    Failed,
    /// It is being taken down.
    Removing,
}

impl Phase {
    /// The word shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Pending => "pending",
            Phase::Creating => "creating",
            Phase::Running => "running",
            Phase::Paused => "paused",
            Phase::Restarting => "restarting",
            Phase::Exited => "exited",
            Phase::Failed => "failed",
            Phase::Removing => "removing",
        }
    }

    /// Whether processes of it may exist.
    pub fn is_live(self) -> bool {
        match self {
            Phase::Running | Phase::Paused => true,
            Phase::Pending
            | Phase::Creating
            | Phase::Restarting
            | Phase::Exited
            | Phase::Failed
            | Phase::Removing => false,
        }
    }
}

/// What was seen of an instance; written by its node, and by control before it has one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatus {
    /// Where it is in its life.
    pub phase: Phase,
    /// Why it is there, when that is not plain: what it waits for, what went wrong, what would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was left out of what was asked, and what of the host stands in its way, though it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The generation of the spec that the node has acted on.
    pub observed_generation: u64,
    /// The last of `spec.runs` that was begun.
    pub runs: u64,
    /// Restarts by policy in this run.
    pub restarts: u32,
    /// One for each container, initial ones first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerStatus>,
    /// What was seen of it as a machine; absent for containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<super::MachineStatus>,
    /// Health of all containers taken together.
    pub health: Health,
    /// Boot of the node in which this was seen; a new boot means nothing runs any more.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub boot_id: String,
}

/// Why something is as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// One word for programs: `ImageNotFound`, `PortTaken`, `NoNode` …
    pub code: String,
    /// A sentence for people, naming the object and the cause.
    pub message: String,
    /// The smallest change that would help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Reason {
    /// A reason with no next step.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), next: None }
    }

    /// A reason told by an error: its code, or else this one, its whole chain and its next step.
    pub fn from_error(code: &str, error: &crate::Error) -> Self {
        Self {
            code: error.code().map_or(code, |code| code.as_str()).to_owned(),
            message: error.chain(),
            next: error.next_step().map(str::to_owned),
        }
    }
}

/// Whether something works, as its health check tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Health {
    /// Nothing is checked.
    #[default]
    Unchecked,
    /// Not yet known.
    Starting,
    /// The last check succeeded.
    Healthy,
    /// As many checks failed in a row as make it unhealthy.
    Unhealthy,
}

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ContainerState {
    /// Not started in this run.
    #[default]
    Waiting,
    /// Its process exists.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its process ended.
    Exited,
}

/// What was seen of one container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerStatus {
    /// Its name in the instance.
    pub name: String,
    /// What it does.
    pub state: ContainerState,
    /// Process id on the node while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Exit code of the last run; 128 + n when signal n ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The kernel killed it for want of memory.
    pub oom_killed: bool,
    /// When it was last started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When it last ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// Restarts by policy since it was created.
    pub restarts: u32,
    /// What its health check tells.
    pub health: Health,
    /// The last tries of the health check, oldest first; five at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub health_log: Vec<HealthTry>,
    /// Failures of the health check in a row.
    pub failing: u32,
    /// Digest of the image's manifest it was created from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub image_digest: String,
    /// Why it could not be started.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    /// Volumes that were made for paths its image wants one at and the spec mounts nothing at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<ImageVolume>,
}

/// A volume that the image asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageVolume {
    /// The volume's identity.
    pub id: Uid,
    /// Path inside the container.
    pub target: String,
}

impl ImageVolume {
    /// The volume's name: nobody gave it one.
    pub fn name(&self) -> &str {
        crate::volume::anonymous_name(&self.id)
    }
}

/// One try of a health check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthTry {
    /// When it began.
    pub started: Time,
    /// When it ended.
    pub finished: Time,
    /// 0 for success.
    pub exit_code: i32,
    /// What it printed, or why it failed; 4 KiB at most.
    pub output: String,
}

impl InstanceStatus {
    /// The status of the container of that name.
    pub fn container(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|container| container.name == name)
    }
}
