//! Run-time files of a container: its pipes, and the mark that a run was begun.
//!
//! `<run>/containers/<id>/{begun,stdin,stdout,stderr,exec/<exec>/…}`

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use model::error::Context;
use model::{ErrorKind, Result, Time};
use serde::{Deserialize, Serialize};

use super::Containerd;
use crate::engine::{ContainerId, ExecId};

/// The mark of a run: when it was begun, in which boot.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    at: Time,
    boot: String,
}

/// The run-time files of one container.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) directory: PathBuf,
}

impl Containerd {
    /// Where all containers' run-time files are.
    pub(super) fn all_files(&self) -> PathBuf {
        self.inner.run.join("containers")
    }

    /// A container's run-time files.
    pub(super) fn files(&self, id: &ContainerId) -> Files {
        Files { directory: self.all_files().join(id.as_str()) }
    }
}

impl Files {
    /// Makes the directory.
    pub(super) fn prepare(&self) -> Result<()> {
        make(&self.directory)
    }

    /// Marks a run as begun now.
    pub(super) fn begin(&self) -> Result<Time> {
        let at = Time::now();
        let failed = || format!("{} cannot be written", self.directory.display());
        let text = serde_json::to_string(&Begun { at, boot: boot() })
            .context(ErrorKind::Internal, failed)?;
        std::fs::write(self.directory.join("begun"), text).context(ErrorKind::Exhausted, failed)?;
        Ok(at)
    }

    /// When the run was begun, if one was and is not cleared.
    pub(super) fn begun(&self) -> Option<Time> {
        let text = std::fs::read_to_string(self.directory.join("begun")).ok()?;
        serde_json::from_str::<Begun>(&text).ok().map(|begun| begun.at)
    }

    /// Removes everything. A driver that still waits for the other side of our pipes is shown
    /// their end.
    pub(super) fn clear(&self) -> Result<()> {
        for name in ["stdout", "stderr"] {
            drop(super::fifo::writer(&self.directory.join(name)));
        }
        match std::fs::remove_dir_all(&self.directory) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context(ErrorKind::Internal, || {
                format!("{} cannot be removed", self.directory.display())
            }),
        }
    }

    /// Standard input.
    pub(super) fn stdin(&self) -> PathBuf {
        self.directory.join("stdin")
    }

    /// Where the pipes of further processes are.
    pub(super) fn execs(&self) -> PathBuf {
        self.directory.join("exec")
    }

    /// Where the pipes of one further process are.
    pub(super) fn exec(&self, exec: &ExecId) -> PathBuf {
        self.execs().join(exec.as_str())
    }

    /// Where the output of a terminal that nobody keeps goes.
    pub(super) fn unkept(&self) -> PathBuf {
        self.directory.join("log")
    }
}

/// Makes a directory for root only, with those above it.
pub(super) fn make(directory: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.context(ErrorKind::Exhausted, || {
        format!("directory {} cannot be made", directory.display())
    })
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}
