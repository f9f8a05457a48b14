//! What a file is.

use std::os::fd::OwnedFd;

use model::{Result, Time};
use rustix::fs::FileType;

/// What a file of a container is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The last part of its path; `/` for the root.
    pub name: String,
    /// What kind of file.
    pub kind: FileKind,
    /// Type and permission bits (inode(7)).
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// When its contents last changed.
    pub modified: Time,
    /// Its user outside.
    pub uid: u32,
    /// Its group outside.
    pub gid: u32,
    /// Where it leads, for a link.
    pub target: Option<String>,
}

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Bytes.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, pipe or socket.
    Special,
}

pub(super) fn read(file: &OwnedFd, path: &str) -> Result<FileInfo> {
    let meta = rustix::fs::fstat(file).map_err(|errno| super::missing(path, errno))?;
    let kind = match FileType::from_raw_mode(meta.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Special,
    };
    let target = match kind {
        FileKind::Link => rustix::fs::readlinkat(file, "", Vec::new())
            .ok()
            .map(|target| target.to_string_lossy().into_owned()),
        FileKind::File | FileKind::Directory | FileKind::Special => None,
    };
    let name = path.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty());
    Ok(FileInfo {
        name: name.unwrap_or("/").to_owned(),
        kind,
        mode: meta.st_mode,
        size: u64::try_from(meta.st_size).unwrap_or(0),
        modified: Time::from_unix(meta.st_mtime, i32::try_from(meta.st_mtime_nsec).unwrap_or(0)),
        uid: meta.st_uid,
        gid: meta.st_gid,
        target,
    })
}
