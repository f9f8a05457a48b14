//! A container's file system, seen from outside without trusting it.
//!
//! Every path is resolved by the kernel with the container's root as the root (openat2(2),
//! `RESOLVE_IN_ROOT`): whatever links and `..` a container places, nothing outside is reached.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use model::error::Context;
use model::{ErrorKind, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};

/// How paths are resolved.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// A root directory held open. It stays usable while it is held, mounted or not.
#[derive(Debug, Clone)]
pub struct Rootfs {
    root: Arc<OwnedFd>,
}

impl Rootfs {
    /// The directory open as `root`.
    pub fn new(root: OwnedFd) -> Self {
        Self { root: Arc::new(root) }
    }

    /// The directory at `path` of the host.
    pub fn at(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty())
            .context(ErrorKind::Unavailable, || {
                format!("the root file system at {} cannot be opened", path.display())
            })?;
        Ok(Self::new(root))
    }

    /// Opens what `path` leads to inside, links followed.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    pub fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd> {
        self.open_raw(path, flags, Mode::empty()).map_err(|errno| missing(path, errno))
    }

    fn open_raw(&self, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let path = match path.trim_start_matches('/') {
            "" => ".",
            rest => rest,
        };
        rustix::fs::openat2(self.root.as_fd(), path, flags | OFlags::CLOEXEC, mode, INSIDE)
    }
}

/// The error for what a path leads to not being there, or not being usable.
fn missing(path: &str, errno: rustix::io::Errno) -> model::Error {
    let kind = match errno {
        rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => ErrorKind::NotFound,
        rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR => ErrorKind::Invalid,
        rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT => ErrorKind::Exhausted,
        _ => ErrorKind::Conflict,
    };
    model::Error::new(kind, format!("{path} in the container cannot be opened")).caused_by(errno)
}
