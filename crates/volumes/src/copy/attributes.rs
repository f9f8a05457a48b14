//! What a file has besides its contents.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;

use model::Result;
use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::fault::Fault;

/// Longest value of an extended attribute, `XATTR_SIZE_MAX` of `<linux/limits.h>`; the list of names
/// has the same limit.
const LONGEST: usize = 65_536;

/// Attributes that belong to where a file is, not to the file: overlayfs' own bookkeeping.
const NOT_COPIED: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];

/// Gives a volume's root what the image's directory has.
///
/// # Errors
/// The system's.
pub fn root(source: &File, target: &File) -> Result<()> {
    let what = || "cannot copy the attributes of the directory itself".to_owned();
    let stat = rustix::fs::fstat(source).fault(what)?;
    all(source, target, &stat).fault(what)
}

/// Owner, extended attributes, mode and times. In this order: a change of owner takes capabilities
/// and set-user-id bits away.
pub(super) fn all(source: &impl AsFd, target: &impl AsFd, stat: &Stat) -> io::Result<()> {
    rustix::fs::fchown(target, Some(owner(stat)), Some(group(stat)))?;
    extended(source, target)?;
    rustix::fs::fchmod(target, Mode::from_raw_mode(stat.st_mode))?;
    Ok(rustix::fs::futimens(target, &times(stat))?)
}

/// Owner and times of what cannot be opened: symbolic links, devices, pipes, sockets.
pub(super) fn owner_and_times(parent: impl AsFd, name: &CStr, stat: &Stat) -> io::Result<()> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(&parent, name, Some(owner(stat)), Some(group(stat)), flags)?;
    Ok(rustix::fs::utimensat(&parent, name, &times(stat), flags)?)
}

/// The mode of what was opened with `O_PATH` only: through its name in `/proc`.
pub(super) fn mode_by_path(opened: &impl AsFd, stat: &Stat) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(stat.st_mode & 0o7777))
}

fn extended(source: &impl AsFd, target: &impl AsFd) -> io::Result<()> {
    let mut names = vec![0_u8; LONGEST];
    let length = match rustix::fs::flistxattr(source, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for name in names[..length].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        if !NOT_COPIED.iter().any(|prefix| name.starts_with(prefix)) {
            one(source, target, &CString::new(name).map_err(io::Error::other)?)?;
        }
    }
    Ok(())
}

fn one(source: &impl AsFd, target: &impl AsFd, name: &CStr) -> io::Result<()> {
    let mut value = vec![0_u8; LONGEST];
    let length = match rustix::fs::fgetxattr(source, name, &mut value[..]) {
        Ok(length) => length,
        // It went away since the list was made.
        Err(Errno::NODATA) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::fsetxattr(target, name, &value[..length], XattrFlags::empty()) {
        // The volume's file system has no such kind of attribute, e.g. SELinux labels.
        Err(Errno::OPNOTSUPP) => Ok(()),
        other => Ok(other?),
    }
}

fn owner(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn group(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

#[expect(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime as i64, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec {
            tv_sec: stat.st_mtime as i64,
            tv_nsec: stat.st_mtime_nsec as _,
        },
    }
}
