//! A mounted file system takes over a longer device, and gives back what it does not use.

use std::fs::File;
use std::io;
use std::path::Path;

use super::ioctl;
use crate::program;

/// Grows the mounted ext4 at `mount` to `bytes` (`EXT4_IOC_RESIZE_FS`, what resize2fs(8) calls).
///
/// # Errors
/// The kernel's.
#[expect(unsafe_code, reason = "ioctl")]
pub fn ext4(mount: &Path, bytes: u64) -> io::Result<()> {
    const RESIZE: u32 = ioctl::opcode::write::<u64>(b'f', 16);
    let root = File::open(mount)?;
    let block = rustix::fs::fstatvfs(&root)?.f_frsize;
    let mut blocks = bytes / block;
    // SAFETY: EXT4_IOC_RESIZE_FS reads a 64-bit number.
    unsafe { ioctl::with(&root, RESIZE, &mut blocks) }.map(drop)
}

/// Grows the mounted xfs at `mount` to the length of its device.
///
/// # Errors
/// Those of xfs_growfs(8).
pub fn xfs(mount: &Path) -> model::Result<()> {
    program::run("xfs_growfs", ["-d".as_ref(), mount.as_os_str()])
}

/// Gives unused blocks back to the device (`FITRIM`); the bytes given back.
///
/// # Errors
/// The kernel's.
#[expect(unsafe_code, reason = "ioctl")]
pub fn trim(mount: &Path) -> io::Result<u64> {
    /// `struct fstrim_range`.
    #[repr(C)]
    struct Range {
        start: u64,
        length: u64,
        minimum: u64,
    }
    const FITRIM: u32 = ioctl::opcode::read_write::<Range>(b'X', 121);
    let mut range = Range { start: 0, length: u64::MAX, minimum: 0 };
    // SAFETY: FITRIM reads and writes an `fstrim_range`, which `Range` is laid out as.
    unsafe { ioctl::with(File::open(mount)?, FITRIM, &mut range) }?;
    Ok(range.length)
}
