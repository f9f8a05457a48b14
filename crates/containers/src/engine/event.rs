//! What happens to containers.

use std::pin::Pin;

use futures::Stream;

use super::{ContainerId, ExecId, Exit};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// Events before this one may have been missed: observe everything. The first of every stream;
    /// again after the engine was restarted or did not answer.
    Resync,
    /// Process 1 ended.
    Exited {
        /// Whose.
        id: ContainerId,
        /// How.
        exit: Exit,
    },
    /// The kernel killed a process for want of memory.
    OutOfMemory {
        /// Whose.
        id: ContainerId,
    },
    /// Its processes were frozen.
    Paused {
        /// Whose.
        id: ContainerId,
    },
    /// Its processes were thawed.
    Resumed {
        /// Whose.
        id: ContainerId,
    },
    /// A further process ended.
    ExecExited {
        /// Whose.
        id: ContainerId,
        /// Which.
        exec: ExecId,
        /// How.
        exit: Exit,
    },
}

/// Events as they come.
pub type Events = Pin<Box<dyn Stream<Item = EngineEvent> + Send>>;
