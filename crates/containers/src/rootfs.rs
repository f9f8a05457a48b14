//! A container's file system, seen from outside without trusting it.
//!
//! Every path is resolved by the kernel with the container's root as the root (openat2(2),
//! `RESOLVE_IN_ROOT`): whatever links and `..` a container places, nothing outside is reached.

mod info;
mod pack;
mod unpack;

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::error::Context;
use model::{ErrorKind, Result};
use rustix::fs::{Mode, OFlags, ResolveFlags};

pub use info::{FileInfo, FileKind};
pub use pack::PackOptions;
pub use unpack::UnpackOptions;

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

    /// Reads a text file of `most` bytes at most; what is not UTF-8 is replaced.
    ///
    /// # Errors
    /// `NotFound` when nothing is there, `Invalid` when it is no plain file or larger.
    pub fn read_text(&self, path: &str, most: u64) -> Result<String> {
        // Not blocking, so that a pipe put in the file's place holds nobody up.
        let file = std::fs::File::from(self.open(path, OFlags::RDONLY | OFlags::NONBLOCK)?);
        let unfit =
            || format!("{path} in the container is not a plain file of {most} bytes at most");
        let meta = file.metadata().context(ErrorKind::Invalid, unfit)?;
        if !meta.is_file() || meta.len() > most {
            return Err(model::Error::invalid(unfit()));
        }
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).context(ErrorKind::Invalid, unfit)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A path of the host that leads to the root for as long as this is held, in this process.
    pub fn path(&self) -> std::path::PathBuf {
        format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&self.root)).into()
    }

    /// The file that `path` leads to inside, links followed.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    pub fn stat(&self, path: &str) -> Result<FileInfo> {
        info::read(&self.open(path, OFlags::PATH)?, path)
    }

    /// The file at `path` itself, which may be a link. Links on the way to it are followed.
    ///
    /// # Errors
    /// `NotFound` when nothing is there.
    pub fn stat_link(&self, path: &str) -> Result<FileInfo> {
        info::read(&self.open(path, OFlags::PATH | OFlags::NOFOLLOW)?, path)
    }

    /// The names in a directory.
    pub fn names(&self, path: &str) -> Result<Vec<String>> {
        let directory = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let names = pack::names(&directory).map_err(|errno| missing(path, errno))?;
        Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// A path that leads this process, and no other, to the root while this is held.
    pub(crate) fn host_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.root.as_raw_fd()))
    }

    fn open_raw(&self, path: &str, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let path = match path.trim_start_matches('/') {
            "" => ".",
            rest => rest,
        };
        rustix::fs::openat2(self.root.as_fd(), path, flags | OFlags::CLOEXEC, mode, INSIDE)
    }
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
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
