//! What is asked of a node about its instances.

use async_trait::async_trait;
use bytes::Bytes;
use model::image::ImageConfig;
use model::instance::GuestFacts;
use model::{Result, Time, Uid};
use serde::{Deserialize, Serialize};

use crate::{ByteStream, ResultStream, Session};

/// A container of an instance: the instance's identity and the container's name, empty for the main
/// one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The instance.
    pub instance: Uid,
    /// The container; empty for the main one.
    #[serde(default)]
    pub container: String,
}

/// Which part of a log is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LogsRequest {
    /// Go on until the container ends.
    pub follow: bool,
    /// Nothing older.
    pub since: Option<Time>,
    /// Nothing newer.
    pub until: Option<Time>,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// A line of a log, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// When the node read it.
    pub time: Time,
    /// Whether it came from standard error.
    pub stderr: bool,
    /// Its bytes, with the line's end if `complete`.
    pub bytes: Bytes,
    /// It ends a line.
    pub complete: bool,
}

/// How to attach to a container's main process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AttachRequest {
    /// Send it what the user types.
    pub stdin: bool,
    /// Begin with what it has printed in this run.
    pub replay: bool,
    /// Of that, only so many of the last lines; all when absent.
    pub tail: Option<u64>,
    /// Wait for the run with this number (`spec.runs`) to begin; 0: what runs now, which must.
    pub run: u64,
}

/// A further process in a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the container's environment.
    pub env: Vec<String>,
    /// Working directory; the container's when empty.
    pub workdir: String,
    /// `user[:group]`; the container's when empty.
    pub user: String,
    /// Give it a terminal.
    pub tty: bool,
    /// Give it a standard input.
    pub stdin: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// Leave it running when the session ends, and don't keep its output.
    pub detach: bool,
    /// First size of its terminal: characters in a line, lines.
    pub size: Option<(u16, u16)>,
}

/// What a container uses. Counters grow from the container's start.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// When it was read.
    pub time: Option<Time>,
    /// Processor time used, in nanoseconds.
    pub cpu_ns: u64,
    /// Of which in the kernel.
    pub cpu_system_ns: u64,
    /// Of which in user mode.
    pub cpu_user_ns: u64,
    /// Periods, and nanoseconds, in which it was held back by its quota.
    pub throttled: (u64, u64),
    /// Processors it may use.
    pub online_cpus: u32,
    /// Bytes of memory in use, page cache that can be dropped left out.
    pub memory: u64,
    /// The same with page cache.
    pub memory_total: u64,
    /// Most it may use; the node's memory when there is no limit.
    pub memory_limit: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Most it may have; 0 for no limit.
    pub pids_limit: u64,
    /// Bytes read from and written to block devices.
    pub block: (u64, u64),
    /// One for each interface.
    pub interfaces: Vec<InterfaceStats>,
}

/// What went through an interface, seen from inside.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "the kernel's own words, rtnl_link_stats64")]
pub struct InterfaceStats {
    pub name: String,
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

/// Processes of a container, as ps(1) prints them on the node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessTable {
    /// Headings.
    pub titles: Vec<String>,
    /// A row for each process.
    pub processes: Vec<Vec<String>>,
}

/// A file inside a container.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PathStat {
    /// Last part of its path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `st_mode`.
    pub mode: u32,
    /// Last change.
    pub modified: Option<Time>,
    /// Where a symbolic link leads.
    pub link_target: String,
}

/// A difference between a container's file system and its image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Path from the root.
    pub path: String,
    /// What happened to it.
    pub kind: ChangeKind,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It, or something in it, is different.
    Changed,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// How much disk a container takes, in bytes of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DiskSize {
    /// What it wrote.
    pub written: u64,
    /// Its image.
    pub image: u64,
}

/// How an image is made of a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CommitRequest {
    /// Name the image gets; none when empty.
    pub name: String,
    /// Who made it.
    pub author: String,
    /// A remark.
    pub message: String,
    /// Replaces the image's configuration where its fields aren't empty.
    pub config: Option<ImageConfig>,
    /// `config` is all of it: what is empty there is nothing in the image.
    #[serde(default)]
    pub whole: bool,
    /// Freeze the container meanwhile.
    pub pause: bool,
}

/// What is asked of a node about its instances. Each call refuses with `NotFound` an instance that
/// the node does not have, and with `Conflict` one in a state that does not allow it.
#[async_trait]
pub trait InstanceCalls: Send + Sync {
    /// Reads a container's log, of all runs that are kept.
    async fn logs(&self, target: Target, request: LogsRequest) -> Result<ResultStream<LogRecord>>;

    /// Talks to a container's main process. If the run asked for could not be started, the stream
    /// ends with the error that says why.
    async fn attach(&self, target: Target, request: AttachRequest) -> Result<Session>;

    /// Runs a further process in a running container. The exit code is 126 or 127 when the program
    /// cannot be run or found, as a shell's is.
    async fn exec(&self, target: Target, request: ExecRequest) -> Result<Session>;

    /// Sends a signal, by name or number, to a running container's main process. The instance is
    /// not started again by its policy when this ends it by its stop signal or SIGKILL.
    async fn kill(&self, target: Target, signal: String) -> Result<()>;

    /// Sets the size of a container's terminal, in characters.
    async fn resize(&self, target: Target, width: u16, height: u16) -> Result<()>;

    /// What a running container uses, once a second; once only unless `follow`.
    async fn stats(&self, target: Target, follow: bool) -> Result<ResultStream<Stats>>;

    /// The processes of a running container; `options` are ps(1)'s.
    async fn top(&self, target: Target, options: String) -> Result<ProcessTable>;

    /// What is at a path inside.
    async fn stat_path(&self, target: Target, path: String) -> Result<PathStat>;

    /// What is at a path inside, as a tar archive (POSIX.1-2001).
    async fn read_archive(&self, target: Target, path: String) -> Result<(PathStat, ByteStream)>;

    /// Unpacks a tar archive into a directory inside. With `keep_type` a directory is not replaced
    /// by a file nor a file by a directory.
    async fn write_archive(
        &self,
        target: Target,
        path: String,
        keep_type: bool,
        archive: ByteStream,
    ) -> Result<()>;

    /// What differs from the image.
    async fn diff(&self, target: Target) -> Result<Vec<Change>>;

    /// How much disk a container takes.
    async fn disk_size(&self, target: Target) -> Result<DiskSize>;

    /// What the guest of a running machine tells of itself.
    async fn guest(&self, target: Target) -> Result<GuestFacts>;

    /// Makes an image of a container; returns its id.
    async fn commit(&self, target: Target, request: CommitRequest) -> Result<String>;

    /// The whole file system as a tar archive.
    async fn export(&self, target: Target) -> Result<ByteStream>;
}
