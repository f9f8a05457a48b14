//! What the node itself remembers of an instance, on its own disk.
//!
//! It is written before a run begins and after anything changed, so that a platform that was killed
//! at any moment finds out what it was about. A file that cannot be read counts as absent: every
//! step is safe to repeat.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use model::error::Context;
use model::instance::{HealthCheck, InstanceStatus};
use model::{ErrorKind, Result, Time};
use serde::{Deserialize, Serialize};

const FILE: &str = "state.json";

/// What is remembered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Local {
    /// What was seen last.
    pub status: InstanceStatus,
    /// Generation of the wish that what runs has taken in, as far as it can.
    pub taken_in: u64,
    /// When the present run began to be prepared.
    pub begun: Option<Time>,
    /// What images and spec together say of each container, as of its last start.
    pub resolved: BTreeMap<String, Resolved>,
    /// Short runs in a row, by container: how long the next restart waits.
    pub short_runs: BTreeMap<String, u32>,
    /// Starts in a row that failed.
    pub failed_starts: u32,
    /// When the last of them failed.
    pub failed_at: Option<Time>,
}

/// What the image and the spec together say of a container.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Resolved {
    /// How its health is told, if it is.
    pub health: Option<HealthCheck>,
    /// Signal that asks it to end; empty for SIGTERM.
    pub stop_signal: String,
}

impl Local {
    /// Short runs in a row of a container.
    pub fn short_runs(&self, container: &str) -> u32 {
        self.short_runs.get(container).copied().unwrap_or(0)
    }

    /// Reads what was written in `dir`; nothing if there is nothing that can be read.
    pub fn load(dir: &Path) -> Option<Self> {
        let bytes = std::fs::read(dir.join(FILE)).ok()?;
        match serde_json::from_slice(&bytes) {
            Ok(local) => Some(local),
            Err(error) => {
                tracing::warn!(dir = %dir.display(), %error, "state of an instance cannot be read");
                None
            }
        }
    }

    /// Writes it in `dir`, whole or not at all.
    pub fn save(&self, dir: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).expect("plain data always encodes");
        replace_file(&dir.join(FILE), &bytes)
    }
}

/// Replaces a file so that a reader sees the old contents or the new. It is not synced: what it
/// says can be found out again by looking at the engine.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let draft: PathBuf = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&draft)?;
        file.write_all(bytes)?;
        std::fs::rename(&draft, path)
    };
    write().context(ErrorKind::Unavailable, || format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_loaded_and_garbage_is_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Local::load(dir.path()), None);
        let local = Local { failed_starts: 3, ..Default::default() };
        local.save(dir.path()).unwrap();
        assert_eq!(Local::load(dir.path()), Some(local));
        std::fs::write(dir.path().join(FILE), b"{").unwrap();
        assert_eq!(Local::load(dir.path()), None);
    }
}
