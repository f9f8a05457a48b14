//! Verbs of an instance.

use std::collections::BTreeMap;

use link::instance::LogsRequest;
use model::instance::{Port, RunState};
use model::{Error, Result, Span, Time};
use serde::{Deserialize, Serialize};

/// How an instance is stopped or restarted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = StopOptions)]
pub struct StopRequest {
    /// Time from the signal to SIGKILL, e.g. `10s`; the instance's own when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Signal instead of the containers' own, by name or number.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signal: String,
    /// Keep the memory of a machine's guest on its disk; the next start goes on from there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub save: bool,
}

/// Which signal a container's main process gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KillRequest {
    /// By name or number; SIGKILL when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub signal: String,
    /// The container; the main one when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
}

/// Which snapshot of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnapshotQuery {
    /// Its name.
    pub snapshot: String,
}

/// The machine to be made of a snapshot of another. It is asked to be what that one is, with an identity of
/// its own: id, name, host name, hardware and network addresses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct CloneRequest {
    /// The snapshot.
    pub snapshot: String,
    /// Its name.
    pub name: String,
    /// For selecting; those of the other machine are not taken over.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ports of the host that lead to it; those of the other machine stay the other's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Whether it starts at once. Its disks are copied when it starts first.
    pub run: RunState,
}

/// What a wait waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum WaitFor {
    /// It does not run and is not about to; met at once by one that was never started.
    #[default]
    NotRunning,
    /// Its main container ends once more.
    NextExit,
    /// It runs.
    Running,
    /// It runs and its health checks succeed.
    Healthy,
    /// It is gone.
    Removed,
}

/// What is waited for, and how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct WaitQuery {
    /// What is waited for.
    pub until: WaitFor,
    /// Longest time, e.g. `30s`; for ever when absent. Then the answer is `unavailable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// What a wait ended with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Waited {
    /// Exit code of the main container's last run; 0 when it never ran.
    pub exit_code: i32,
    /// Why it could not be started, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a verb was to bring about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Goal {
    /// The last run that was asked for has begun.
    #[default]
    Started,
    /// It runs and its health checks succeed; as `started` for one that has none.
    Healthy,
    /// Its processes are frozen.
    Paused,
    /// It has ended.
    Stopped,
    /// It is gone.
    Removed,
}

/// Which effect of a verb is waited for, and how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct SettleQuery {
    /// The effect.
    pub goal: Goal,
    /// Longest time, e.g. `30s`; one minute when absent. Then the answer is `unavailable` and says
    /// what is waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
}

/// Which container is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ContainerQuery {
    /// Its name; the main one when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
}

/// Which part of a log is wanted, and in which form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LogsQuery {
    /// The container; the main one when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Go on until the container ends.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
    /// Nothing older (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Nothing newer (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Only so many of the last lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// Only this stream: `stdout` or `stderr`; both when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    /// Only the bytes, both streams in one, instead of frames.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub raw: bool,
}

impl LogsQuery {
    /// The query that says `request` about a container.
    pub fn new(container: &str, request: &LogsRequest) -> Self {
        let LogsRequest { follow, since, until, tail, stdout, stderr } = request.clone();
        let stream = match (stdout, stderr) {
            (true, false) => "stdout",
            (false, true) => "stderr",
            (true, true) | (false, false) => "",
        };
        let (container, stream) = (container.to_owned(), stream.to_owned());
        Self { container, follow, since, until, tail, stream, raw: false }
    }

    /// What is asked of the node.
    pub fn request(&self) -> Result<LogsRequest> {
        let (stdout, stderr) = match self.stream.as_str() {
            "" => (true, true),
            "stdout" => (true, false),
            "stderr" => (false, true),
            other => {
                return Err(Error::invalid(format!("{other:?} is not a stream"))
                    .at("stream")
                    .next("write stdout or stderr, or leave it out"));
            }
        };
        let Self { follow, since, until, tail, .. } = *self;
        Ok(LogsRequest { follow, since, until, tail, stdout, stderr })
    }
}

/// How often a container's use is told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct StatsQuery {
    /// The container; the main one when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Once a second, not once only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub follow: bool,
}

/// Which processes are shown, and what of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TopQuery {
    /// The container; the main one when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Options of ps(1); `-ef` when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub options: String,
}

/// A place in a container's file system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ArchiveQuery {
    /// The container; the main one when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container: String,
    /// Path inside.
    pub path: String,
    /// When writing: a directory is not replaced by a file nor a file by a directory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub keep_type: bool,
}
