//! A tree of files copied as it is: ownership, modes, times, extended attributes, hard links, devices
//! and holes. What can be shared is shared (reflinks).
//!
//! Source and target may both be hostile: an image's author wrote the one, and a running container
//! may be writing to the other. So every step goes through the descriptor of the directory it is in,
//! no symbolic link is followed, and nothing that exists is opened for writing.

mod attributes;
mod contents;

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model::{Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

pub use contents::{Contents, renew};

use crate::fault::Fault;

/// Directories inside directories that are followed; each holds two descriptors open.
const DEEPEST: usize = 200;

/// The directory in which a file system keeps what its repair finds; not contents.
pub const LOST_AND_FOUND: &str = "lost+found";

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Files, directories, links and devices made.
    pub files: u64,
    /// Bytes of contents shared by reflink.
    pub shared: u64,
    /// Bytes of contents written.
    pub written: u64,
}

/// Opens the directory `path` inside `root`; links on the way cannot lead out of it. `None` when
/// there is no directory of that name.
///
/// # Errors
/// `Unavailable` when it cannot be opened.
pub fn open_inside(root: &Path, path: &Path) -> Result<Option<File>> {
    let what = || format!("{} of the image at {} cannot be read", path.display(), root.display());
    let root = File::open(root).fault(what)?;
    let inside = path.strip_prefix("/").unwrap_or(path);
    let inside = if inside.as_os_str().is_empty() { Path::new(".") } else { inside };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::openat2(&root, inside, flags, Mode::empty(), ResolveFlags::IN_ROOT) {
        Ok(directory) => Ok(Some(directory.into())),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error).fault(what),
    }
}

/// Whether a directory has no contents.
///
/// # Errors
/// The file system's.
pub fn is_empty(directory: &Path) -> std::io::Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        if entry?.file_name() != LOST_AND_FOUND {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Copies everything in `source` into the directory `target`, and the attributes of `source` itself
/// when `with_root`. `step` is called after each file.
///
/// # Errors
/// `Exhausted` when it does not fit; otherwise the system's, naming the file.
pub fn tree(source: &File, target: &File, with_root: bool, step: &dyn Fn()) -> Result<Tally> {
    let mut walk =
        Walk { root: target, links: HashMap::new(), contents: Contents::default(), files: 0, step };
    walk.directory(source.as_fd(), target.as_fd(), Path::new(""), 0)?;
    if with_root {
        attributes::root(source, target)?;
    }
    Ok(Tally { files: walk.files, shared: walk.contents.shared, written: walk.contents.written })
}

struct Walk<'a> {
    root: &'a File,
    /// First copy of each file that has several names, by its device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    contents: Contents,
    files: u64,
    step: &'a dyn Fn(),
}

/// One name in a source directory and in its copy.
struct Entry<'a> {
    source: std::os::fd::BorrowedFd<'a>,
    target: std::os::fd::BorrowedFd<'a>,
    name: &'a CStr,
    stat: Stat,
}

impl Walk<'_> {
    fn directory(
        &mut self,
        source: std::os::fd::BorrowedFd<'_>,
        target: std::os::fd::BorrowedFd<'_>,
        at: &Path,
        depth: usize,
    ) -> Result<()> {
        let what = || format!("cannot copy {}", at.display());
        if depth > DEEPEST {
            return Err(Error::unsupported(format!(
                "cannot copy {}: more than {DEEPEST} directories inside each other",
                at.display()
            )));
        }
        for entry in Dir::read_from(source).fault(what)? {
            let entry = entry.fault(what)?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let path = at.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            match rustix::fs::statat(source, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => self.entry(&Entry { source, target, name, stat }, &path, depth)?,
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    return Err(error).fault(|| format!("cannot copy {}", path.display()));
                }
            }
            self.files += 1;
            (self.step)();
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry<'_>, path: &Path, depth: usize) -> Result<()> {
        let what = || format!("cannot copy {}", path.display());
        let kind = FileType::from_raw_mode(entry.stat.st_mode);
        if kind == FileType::Directory {
            return self.subdirectory(entry, path, depth);
        }
        if entry.stat.st_nlink > 1 && self.linked(entry, path)? {
            return Ok(());
        }
        match kind {
            FileType::RegularFile => self.file(entry).fault(what),
            FileType::Symlink => symlink(entry).fault(what),
            _ => special(entry, kind).fault(what),
        }
    }

    fn subdirectory(&mut self, entry: &Entry<'_>, path: &Path, depth: usize) -> Result<()> {
        let what = || format!("cannot copy {}", path.display());
        rustix::fs::mkdirat(entry.target, entry.name, Mode::RWXU).fault(what)?;
        let source = directory_at(entry.source, entry.name).fault(what)?;
        let target = directory_at(entry.target, entry.name).fault(what)?;
        self.directory(source.as_fd(), target.as_fd(), path, depth + 1)?;
        attributes::all(&source, &target, &entry.stat).fault(what)
    }

    /// Makes `path` another name of a file copied before; says whether there was one.
    fn linked(&mut self, entry: &Entry<'_>, path: &Path) -> Result<bool> {
        let key = (entry.stat.st_dev, entry.stat.st_ino);
        let Some(first) = self.links.get(&key) else {
            self.links.insert(key, path.to_owned());
            return Ok(false);
        };
        let what = || format!("cannot copy {} as a link", path.display());
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        // Somebody who writes to the target may have put a link in the way: then it is copied anew.
        let opened = rustix::fs::openat2(self.root, first, flags, Mode::empty(), resolve);
        if matches!(opened, Err(Errno::LOOP)) {
            return Ok(false);
        }
        let first = opened.fault(what)?;
        rustix::fs::linkat(&first, c"", entry.target, entry.name, AtFlags::EMPTY_PATH)
            .fault(what)?;
        Ok(true)
    }

    fn file(&mut self, entry: &Entry<'_>) -> std::io::Result<()> {
        // O_NONBLOCK: the file may have become a pipe since it was looked at.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = rustix::fs::openat(entry.source, entry.name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&source)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(std::io::Error::other("it changed while it was copied"));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let target = rustix::fs::openat(entry.target, entry.name, flags, mode)?;
        let (source, target) = (File::from(source), File::from(target));
        self.contents.copy(&source, &target)?;
        attributes::all(&source, &target, &stat)
    }
}

fn directory_at(parent: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn symlink(entry: &Entry<'_>) -> std::io::Result<()> {
    let text = rustix::fs::readlinkat(entry.source, entry.name, Vec::new())?;
    rustix::fs::symlinkat(text, entry.target, entry.name)?;
    attributes::owner_and_times(entry.target, entry.name, &entry.stat)
}

fn special(entry: &Entry<'_>, kind: FileType) -> std::io::Result<()> {
    rustix::fs::mknodat(entry.target, entry.name, kind, Mode::empty(), entry.stat.st_rdev)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(entry.target, entry.name, flags, Mode::empty())?;
    attributes::owner_and_times(entry.target, entry.name, &entry.stat)?;
    attributes::mode_by_path(&made, &entry.stat)
}

#[cfg(test)]
mod tests;
