//! The servers of the directories shared with the guest: `virtiofsd`, one for each, beside QEMU in the same
//! walls. They stay root, with the few capabilities that giving files to their owners takes, and shut
//! themselves into their directory; QEMU's user can neither look into it past them nor signal them. They
//! end when QEMU hangs up.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use model::error::Context;
use model::{ErrorKind, Result};
use nix::sys::resource::{Resource, getrlimit};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use tokio::io::unix::AsyncFd;

use super::open;
use crate::config::{Dialect, Share, ShareServer};
use crate::qemu;

/// What a server needs: to act as any owner, and to shut itself in. It gives up the last two itself.
const CAPABILITIES: [CapabilitySet; 8] = [
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::FOWNER,
    CapabilitySet::FSETID,
    CapabilitySet::SETUID,
    CapabilitySet::SETGID,
    CapabilitySet::SYS_CHROOT,
    CapabilitySet::SETPCAP,
];
/// Where a server is met; gone before QEMU starts.
const MEETING: &str = "/machine/share.sock";

/// A server that QEMU is to be led to.
#[derive(Debug)]
pub(super) struct Server {
    /// Leads to it.
    pub line: OwnedFd,
    /// It.
    pub process: Process,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Process {
    /// Where the guest mounts what it serves.
    target: String,
    child: Child,
}

/// Starts the servers. Afterwards nothing else can be had by root's programs in these walls.
pub(super) fn serve(shares: &[Share], by: &ShareServer) -> Result<Vec<Server>> {
    let ShareServer::Virtiofs { program, dialect } = by else { return Ok(Vec::new()) };
    let wanted = CAPABILITIES.iter().copied().collect::<CapabilitySet>();
    for capability in CapabilitySet::all().difference(wanted).iter() {
        // One that the kernel or the walls do not know cannot be had either.
        let _ = remove_capability_from_bounding_set(capability);
    }
    shares.iter().map(|share| Server::start(share, program, *dialect)).collect()
}

impl Server {
    fn start(share: &Share, program: &Path, dialect: Dialect) -> Result<Self> {
        let failed = || format!("{} cannot be started", program.display());
        let listener = UnixListener::bind(MEETING).context(ErrorKind::Exhausted, failed)?;
        let line = UnixStream::connect(MEETING).context(ErrorKind::Exhausted, failed)?;
        fs::remove_file(MEETING).context(ErrorKind::Internal, failed)?;
        let listener = OwnedFd::from(listener);
        open::inherit([&listener])?;
        let child = Command::new(program)
            .args(arguments(share, dialect, listener.as_raw_fd(), most_files()))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context(ErrorKind::Unavailable, failed)?;
        Ok(Self { line: line.into(), process: Process { target: share.target.clone(), child } })
    }
}

impl Process {
    /// Waits for its end; says what it served.
    pub async fn ended(self) -> String {
        if let Err(error) = self.watch().await {
            tracing::warn!(%error, "a share's server is not watched");
            std::future::pending::<()>().await;
        }
        self.target
    }

    /// It is another user's by now: it can be waited for, and no more.
    #[expect(unsafe_code, reason = "the runtime cannot know how long a file stays open")]
    async fn watch(&self) -> std::io::Result<()> {
        let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else {
            return Ok(());
        };
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        // SAFETY: the descriptor is owned, and lives in the `AsyncFd`.
        let process = unsafe { AsyncFd::register(process) }.map_err(std::io::Error::from)?;
        process.readable().await.map(drop)
    }
}

/// How many files a server may hold open. The walls' own bound, which stands, may be lower.
fn most_files() -> u64 {
    let bound = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, hard)| hard);
    // To the newer one, 0 means that it stays as it is.
    bound.min(qemu::MOST_FILES)
}

/// The words after a server's name.
fn arguments(share: &Share, dialect: Dialect, listener: i32, files: u64) -> Vec<String> {
    let from = share.path.to_string_lossy();
    // Devices are not made for a guest, nor files that give others rights the walls don't have.
    let less = "-mknod:-setfcap";
    match dialect {
        Dialect::Qemu => vec![
            "-f".to_owned(),
            format!("--fd={listener}"),
            format!("--rlimit-nofile={files}"),
            "-o".to_owned(),
            format!("source={from},sandbox=chroot,cache=auto,xattr,announce_submounts"),
            "-o".to_owned(),
            format!("modcaps={less},log_level=err"),
        ],
        Dialect::VirtioFs => vec![
            format!("--fd={listener}"),
            format!("--shared-dir={from}"),
            "--sandbox=chroot".to_owned(),
            "--cache=auto".to_owned(),
            // Handles would open what lies beside the directory, too.
            "--inode-file-handles=never".to_owned(),
            "--xattr".to_owned(),
            "--announce-submounts".to_owned(),
            format!("--rlimit-nofile={files}"),
            format!("--modcaps={less}"),
            "--log-level=error".to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_spoken_to_in_its_words() {
        let share =
            Share { tag: "share0".into(), path: "/machine/shares/0".into(), ..Share::default() };
        let qemu = arguments(&share, Dialect::Qemu, 7, 1024).join(" ");
        assert!(
            qemu.contains("--fd=7") && qemu.contains("source=/machine/shares/0,sandbox=chroot")
        );
        assert!(qemu.contains("modcaps=-mknod:-setfcap"));
        let newer = arguments(&share, Dialect::VirtioFs, 7, 1024).join(" ");
        assert!(newer.contains("--fd=7 --shared-dir=/machine/shares/0 --sandbox=chroot"));
        assert!(newer.contains("--modcaps=-mknod:-setfcap"));
    }
}
