//! A container's file system, seen from outside without trusting it.
//!
//! Every path is resolved by the kernel with the container's root as the root (openat2(2),
//! `RESOLVE_IN_ROOT`): whatever links and `..` a container places, nothing outside is reached.

mod info;
mod unpack;

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::error::Context;
use model::{ErrorKind, Result};
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

pub use info::{FileInfo, FileKind};
pub use unpack::UnpackOptions;

/// How paths are resolved.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
/// How often a path is resolved again that changed meanwhile.
const RACES: usize = 64;

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
        let names = sorted_names(&directory).map_err(|errno| missing(path, errno))?;
        Ok(names.iter().map(|name| name.to_string_lossy().into_owned()).collect())
    }

    /// A path that leads this process, and no other, to the root while this is held.
    pub(crate) fn host_path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/.", self.root.as_raw_fd()))
    }

    fn open_raw(
        &self,
        path: impl AsRef<Path>,
        flags: OFlags,
        mode: Mode,
    ) -> rustix::io::Result<OwnedFd> {
        let path = path.as_ref();
        let path = match path.strip_prefix("/").unwrap_or(path) {
            empty if empty.as_os_str().is_empty() => Path::new("."),
            relative => relative,
        };
        let open = || rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, INSIDE);
        // EAGAIN: something was renamed or mounted anywhere on the host while `..` was resolved.
        (0..RACES)
            .map(|_| open())
            .find(|found| !matches!(found, Err(Errno::AGAIN)))
            .unwrap_or_else(open)
    }
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.root.as_fd()
    }
}

fn sorted_names(directory: &OwnedFd) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The error for what a path leads to not being there, or not being usable.
fn missing(path: &str, errno: Errno) -> model::Error {
    let kind = match errno {
        Errno::NOENT | Errno::NOTDIR => ErrorKind::NotFound,
        Errno::LOOP | Errno::ISDIR => ErrorKind::Invalid,
        Errno::NOSPC | Errno::DQUOT => ErrorKind::Exhausted,
        _ => ErrorKind::Conflict,
    };
    model::Error::new(kind, format!("{path} in the container cannot be opened")).caused_by(errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn hostile_links_lead_nowhere_else() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("absolute")).unwrap();
        symlink("../../../../../../../..", root.path().join("climbs")).unwrap();
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        let secret = outside.path().join("secret");
        assert!(rootfs.read_text("/absolute/secret", 10).is_err());
        assert!(rootfs.read_text(&format!("/climbs{}", secret.display()), 10).is_err());
    }

    #[test]
    fn files_are_told_as_they_are() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("file"), "text").unwrap();
        symlink("file", root.path().join("link")).unwrap();
        let rootfs = Rootfs::at(root.path()).unwrap();
        assert_eq!(rootfs.names("/").unwrap(), ["file", "link"]);
        assert_eq!(rootfs.read_text("/link", 4).unwrap(), "text");
        assert!(rootfs.read_text("/link", 3).is_err());
        let link = rootfs.stat_link("/link").unwrap();
        assert_eq!((link.name.as_str(), link.target.as_deref()), ("link", Some("file")));
        assert_eq!(rootfs.stat("/link").unwrap().size, 4);
        assert_eq!(rootfs.stat("/no").unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(rootfs.stat("/").unwrap().name, "/");
    }
}
