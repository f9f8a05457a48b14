//! A directory of ours taken away with all that can be in it: mounts, shields, subvolumes.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::durable::absent;
use crate::kernel::{btrfs, mounts, shield};

/// Removes the directory `path`. Fine when it is not there.
///
/// # Errors
/// The file system's; `EBUSY` when a mount in it is in use.
pub fn all(path: &Path) -> io::Result<()> {
    for mount in mounts::below(path)? {
        unmount(&mount.target)?;
    }
    match remove(path) {
        Err(error) if absent(&error) => Ok(()),
        other => other,
    }
}

/// Times a busy mount is tried again, and the pause between. Between fork and exec, a program that
/// another thread starts holds every file we have open; that lasts well under a millisecond.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// Takes a mount away. Fine when there is none.
///
/// # Errors
/// The kernel's; `EBUSY` when it is in use.
pub fn unmount(target: &Path) -> io::Result<()> {
    let mut attempt = 1;
    loop {
        match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW) {
            Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(Errno::BUSY) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
            other => return Ok(other?),
        }
        attempt += 1;
    }
}

/// Takes a mount out of sight, also one in use: it is gone when the last user is. Fine when there is none.
///
/// # Errors
/// The kernel's.
pub fn detach(target: &Path) -> io::Result<()> {
    match rustix::mount::unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH) {
        Err(Errno::INVAL | Errno::NOENT | Errno::NOTDIR) => Ok(()),
        other => Ok(other?),
    }
}

/// The directory, its shielded and subvolume children first. Only the first level is ours; what is
/// below came from containers.
fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let child = entry?.path();
        if child.symlink_metadata()?.is_dir() {
            remove_child(&child)?;
        }
    }
    fs::remove_dir_all(path)
}

fn remove_child(child: &Path) -> io::Result<()> {
    if shield::raised(child)? {
        shield::lower(child)?;
    }
    if btrfs::is_subvolume(child)? && btrfs::remove(child).is_ok() {
        return Ok(());
    }
    // A subvolume with others inside is emptied file by file: rmdir(2) takes empty subvolumes.
    fs::remove_dir_all(child)
}
