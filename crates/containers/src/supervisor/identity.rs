//! Which process containerd is.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use super::{Places, places};

/// A process, told from another that got its number later by when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// Clock ticks from boot to its start (proc_pid_stat(5), `starttime`).
    start: u64,
    /// The boot it belongs to.
    boot: String,
}

impl Identity {
    /// The process that has this number now.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold spaces and parentheses of its own.
        let after_name = stat.rsplit_once(')')?.1;
        let mut fields = after_name.split_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        // Field 22 of the line; the state is field 3.
        let start = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, start, boot: boot() })
    }

    /// The one recorded, alive or not.
    pub(super) fn recorded(places: &Places) -> Option<Self> {
        let text = std::fs::read_to_string(&places.identity).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// The one that was started with our configuration, should its record be missing.
    pub(super) fn by_command_line(places: &Places) -> Option<Self> {
        let wanted = places.configuration.as_os_str().as_encoded_bytes();
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.find_map(|pid: u32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let ours = words.windows(2).any(|pair| pair == [b"--config", wanted]);
            if ours { Self::of(pid) } else { None }
        })
    }

    /// Keeps it for the next daemon.
    pub(super) fn record(&self, places: &Places) -> Result<()> {
        let text = serde_json::to_string(self)
            .context(ErrorKind::Internal, || "a process record cannot be written".to_owned())?;
        places::write(&places.identity, &text)
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Whether it runs this very file: not after an upgrade has replaced it.
    pub(super) fn runs(&self, program: &Path) -> bool {
        let running = std::fs::read_link(format!("/proc/{}/exe", self.pid));
        let installed = std::fs::canonicalize(program);
        matches!((running, installed), (Ok(running), Ok(installed)) if running == installed)
    }

    fn handle(&self) -> Option<OwnedFd> {
        let pid = Pid::from_raw(i32::try_from(self.pid).ok()?)?;
        let handle = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        // Held before it is compared, the number cannot go to another any more.
        self.is_alive().then_some(handle)
    }

    /// Returns when it has ended.
    pub(super) async fn ended(&self) {
        let Some(handle) = self.handle() else {
            return;
        };
        #[expect(unsafe_code, reason = "tokio asks for a promise that the type keeps")]
        // SAFETY: an `OwnedFd` is open, always the same, and stays so until it is dropped.
        let handle = unsafe { AsyncFd::register(handle) };
        if let Ok(handle) = handle {
            // Readable means ended (pidfd_open(2)); an error means that nobody can tell, and the
            // caller looks again.
            let _ = handle.readable().await;
        }
    }

    /// Asks it to end, and kills it if it does not in time.
    pub(super) async fn end(&self, patience: Duration) -> Result<()> {
        for (signal, patience) in [(Signal::TERM, patience), (Signal::KILL, patience)] {
            let Some(handle) = self.handle() else {
                return Ok(());
            };
            // One that ended in this moment is what is wanted.
            let _ = pidfd_send_signal(&handle, signal);
            if tokio::time::timeout(patience, self.ended()).await.is_ok() {
                return Ok(());
            }
        }
        Err(Error::unavailable(format!("containerd (process {}) cannot be ended", self.pid))
            .next("see whether it waits for a disk that does not answer"))
    }
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_itself() {
        let own = Identity::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(own.runs(&std::env::current_exe().unwrap()));
        assert!(!own.runs(Path::new("/bin/sh")));
        let other = Identity { start: own.start + 1, ..own };
        assert!(!other.is_alive());
    }
}
