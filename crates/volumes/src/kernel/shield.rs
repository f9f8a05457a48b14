//! A directory that refuses writes, so that a mount point without its mount can never be taken for
//! an empty volume.
//!
//! The inode flag "immutable" (`chattr +i`, ioctl_iflags(2)) stops even root from making a file in
//! it, while mounting over it stays possible. Where a file system has no such flag, mode 0000 stops
//! everybody but root.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::IFlags;

/// Makes the directory `path` refuse writes.
///
/// # Errors
/// The file system's.
pub fn raise(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o000))?;
    match set(path, true) {
        Err(error) if unsupported(&error) => Ok(()),
        other => other,
    }
}

/// Takes the refusal away, so that `path` can be removed.
///
/// # Errors
/// The file system's.
pub fn lower(path: &Path) -> io::Result<()> {
    match set(path, false) {
        Err(error) if unsupported(&error) => Ok(()),
        other => other,
    }
}

/// Whether `path` carries the flag.
///
/// # Errors
/// The file system's.
pub fn raised(path: &Path) -> io::Result<bool> {
    match rustix::fs::ioctl_getflags(open(path)?) {
        Ok(flags) => Ok(flags.contains(IFlags::IMMUTABLE)),
        Err(error) if unsupported(&error.into()) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn set(path: &Path, immutable: bool) -> io::Result<()> {
    let directory = open(path)?;
    let mut flags = rustix::fs::ioctl_getflags(&directory)?;
    if flags.contains(IFlags::IMMUTABLE) != immutable {
        flags.set(IFlags::IMMUTABLE, immutable);
        rustix::fs::ioctl_setflags(&directory, flags)?;
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::EPERM))
}
