//! No process begins in a container while it is being frozen.
//!
//! A process that the shim is adding freezes half begun, and the shim then waits for it with its lock
//! held: it answers nothing more, not even that it has frozen (containerd's runc shim, `execProcess.start`
//! and `checkProcesses`). So a freeze waits for those that are beginning, and those that come wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::engine::ContainerId;

/// The gates of all containers.
#[derive(Debug, Default)]
pub(super) struct Gates {
    known: Mutex<HashMap<ContainerId, Arc<RwLock<()>>>>,
}

impl Gates {
    /// Held while a process begins.
    pub(super) async fn beginning(&self, id: &ContainerId) -> OwnedRwLockReadGuard<()> {
        self.gate(id).read_owned().await
    }

    /// Held while the container is frozen.
    pub(super) async fn freezing(&self, id: &ContainerId) -> OwnedRwLockWriteGuard<()> {
        self.gate(id).write_owned().await
    }

    /// The container's run is cleared. Whoever waits at the gate still passes it.
    pub(super) fn forget(&self, id: &ContainerId) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    fn gate(&self, id: &ContainerId) -> Arc<RwLock<()>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(id.clone()).or_default().clone()
    }
}
