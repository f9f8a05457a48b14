//! The TPM's emulator: `swtpm(8)`, beside QEMU in the same walls. What it keeps is among the machine's
//! disks; it ends when QEMU hangs up.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use model::error::Context;
use model::{ErrorKind, Result};
use tokio::process::{Child, Command};

use super::open;
use crate::config::{DIRECTORY, DISKS};

/// The program.
const PROGRAM: &str = "/usr/bin/swtpm";

/// A running emulator.
pub(super) struct Tpm {
    /// Leads to it.
    pub line: OwnedFd,
    _process: Child,
}

impl Tpm {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let failed = || format!("{PROGRAM} cannot be started");
        let state = Path::new(DIRECTORY).join(DISKS).join("tpm");
        std::fs::create_dir_all(&state)
            .context(ErrorKind::Unavailable, || format!("{} cannot be made", state.display()))?;
        let (line, theirs) = UnixStream::pair().context(ErrorKind::Exhausted, failed)?;
        let theirs = OwnedFd::from(theirs);
        open::inherit([&theirs])?;
        let process = Command::new(PROGRAM)
            .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
            .arg(format!("dir={},mode=0600", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,clientfd={}", theirs.as_raw_fd()))
            .env_clear()
            .kill_on_drop(true)
            .spawn()
            .context(ErrorKind::Unavailable, failed)?;
        Ok(Self { line: line.into(), _process: process })
    }
}
