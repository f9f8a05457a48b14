//! The verbs of a container engine, and the values they take and give.
//!
//! A container is a record with a writable layer; its *task* is one run of its process.
//!
//! ```text
//!            create            start             exit             delete_task
//!  (nothing) ──────> Idle ───────────> Running ───────> Exited ──────────────> Idle
//!                     ^    Created ──^   │  ^             │
//!                     │   (cut short)    v  │             │
//!                     │                 Paused ───────────┘ (killed)
//!  (nothing) <─remove─┴── from every state
//! ```
//!
//! Every verb may be repeated after a crash of either side: creating what was created, starting
//! what runs, killing what ended, removing what is gone all succeed and change nothing.

mod change;
mod commit;
mod config;
mod event;
mod exec;
mod id;
mod observed;
mod process;
mod stats;

pub use change::{Change, ChangeKind};
pub use commit::{CommitConfig, Committed};
pub use config::{Bind, ContainerConfig, Namespace, UserNamespace};
pub use event::{EngineEvent, Events};
pub use exec::{ExecConfig, ExecStreams, Reader, WindowSize, Writer};
pub use id::{ContainerId, ExecId};
pub use observed::{Created, Exit, Observed, Started, State};
pub use process::Process;
pub use stats::{BlockIo, Cpu, Memory, Pids, Stats};

use async_trait::async_trait;
use model::instance::Resources;
use model::{Bytes, Result};
use tokio::sync::OwnedRwLockWriteGuard;

use crate::rootfs::Rootfs;
use model::Signal;

/// No process begins in a container until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct NoneBegins(
    #[expect(dead_code, reason = "it is held")] Option<OwnedRwLockWriteGuard<()>>,
);

impl NoneBegins {
    pub(crate) fn new(gate: Option<OwnedRwLockWriteGuard<()>>) -> Self {
        Self(gate)
    }
}

/// A container engine. Errors of kind `NotFound` mean the container is unknown, `Unavailable` that
/// the engine does not answer now (it is being restarted; try again on [`EngineEvent::Resync`]).
#[async_trait]
pub trait Engine: Send + Sync + 'static {
    /// Makes the container's writable layer and its record; of one that is there already the record
    /// is written anew, for its next run. Nothing runs yet. Where the machine
    /// cannot do all that was asked (no swap limits, no block I/O weights, a limit above what the
    /// daemon may set) the rest is done and [`Created::warnings`] says what was left out.
    ///
    /// # Errors
    /// `Invalid` for what can never run (unknown user, capability, device), `NotFound` when the
    /// image is not unpacked, `Exhausted` for a full disk.
    async fn create(&self, config: &ContainerConfig) -> Result<Created>;

    /// Begins a run, or returns the one going on.
    ///
    /// # Errors
    /// `Conflict` when the last run ended and [`Engine::delete_task`] has not cleared it, so that
    /// its exit code cannot be lost; `Invalid` when the program cannot be executed.
    async fn start(&self, id: &ContainerId) -> Result<Started>;

    /// Waits for the end of the run going on, and tells how the last one ended if none is.
    ///
    /// # Errors
    /// `Conflict` when there is no run to wait for.
    async fn wait(&self, id: &ContainerId) -> Result<Exit>;

    /// Sends a signal to process 1. A container that does not run has nothing to signal: done.
    async fn kill(&self, id: &ContainerId, signal: Signal) -> Result<()>;

    /// Freezes all processes. Frozen ones stay so.
    async fn pause(&self, id: &ContainerId) -> Result<()>;

    /// Thaws all processes.
    async fn resume(&self, id: &ContainerId) -> Result<()>;

    /// Waits until every process that is beginning in a container has begun; none begins while what this
    /// answers is there. For who freezes it past the engine, which otherwise waits for the frozen ones.
    async fn none_begins(&self, id: &ContainerId) -> NoneBegins;

    /// Clears an ended run, killing it first if it goes on; the writable layer stays for the next.
    /// Returns how it ended, when that is still known.
    async fn delete_task(&self, id: &ContainerId) -> Result<Option<Exit>>;

    /// Removes the run, the record, the writable layer and the run-time files; not the log.
    async fn remove(&self, id: &ContainerId) -> Result<()>;

    /// Everything that is there.
    async fn list(&self) -> Result<Vec<Observed>>;

    /// One container; `None` when it is not there.
    async fn observe(&self, id: &ContainerId) -> Result<Option<Observed>>;

    /// What happens from now on. The first item is always [`EngineEvent::Resync`], sent once the
    /// subscription is known to work; it comes again whenever events may have been missed.
    /// The stream ends only with the engine.
    async fn events(&self) -> Result<Events>;

    /// Runs a further process in a running container. Its output must be read and
    /// [`Engine::exec_wait`] called, which also clears it.
    async fn exec(&self, id: &ContainerId, exec: &ExecConfig) -> Result<ExecStreams>;

    /// Waits for a further process and clears it. Repeated, it gives the same answer for a while.
    async fn exec_wait(&self, id: &ContainerId, exec: &ExecId) -> Result<Exit>;

    /// Signals a further process; one that ended has nothing to signal.
    async fn exec_kill(&self, id: &ContainerId, exec: &ExecId, signal: Signal) -> Result<()>;

    /// Sets the size of a further process's terminal.
    async fn exec_resize(&self, id: &ContainerId, exec: &ExecId, size: WindowSize) -> Result<()>;

    /// Opens the standard input of a running container made with `stdin`. Many may hold it open;
    /// dropping it does not end the input, [`Engine::close_stdin`] does.
    async fn open_stdin(&self, id: &ContainerId) -> Result<Writer>;

    /// Ends the standard input once the last writer is dropped.
    async fn close_stdin(&self, id: &ContainerId) -> Result<()>;

    /// Sets the size of the container's terminal.
    async fn resize(&self, id: &ContainerId, size: WindowSize) -> Result<()>;

    /// What a running container uses.
    async fn stats(&self, id: &ContainerId) -> Result<Stats>;

    /// The processes of a running container, as the host numbers them.
    async fn processes(&self, id: &ContainerId) -> Result<Vec<Process>>;

    /// Changes limits, at once if it runs and for later runs. Absent fields stay as they are.
    /// Returns warnings as [`Engine::create`] does.
    async fn update(&self, id: &ContainerId, resources: &Resources) -> Result<Vec<String>>;

    /// How the writable layer differs from the image, sorted by path.
    async fn changes(&self, id: &ContainerId) -> Result<Vec<Change>>;

    /// Bytes of the files in the writable layer.
    async fn written(&self, id: &ContainerId) -> Result<Bytes>;

    /// The container's file system: as its processes see it while it runs, else image plus
    /// writable layer without volumes.
    async fn rootfs(&self, id: &ContainerId) -> Result<Rootfs>;

    /// Makes an image of the container's present file system. Pause it first for a consistent one.
    async fn commit(&self, id: &ContainerId, commit: &CommitConfig) -> Result<Committed>;
}
