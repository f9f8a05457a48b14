//! Project quotas of xfs and ext4: the size of a directory (quotactl(2), ioctl_xfs_fsgetxattr(2)).
//!
//! Both file systems answer the requests that xfs brought in. Processes with `CAP_SYS_RESOURCE` pass
//! ext4's limit by.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use super::ioctl::{self, opcode};

/// `PRJQUOTA`.
const PROJECT: u32 = 2;
/// `Q_XGETQUOTA`, `Q_XSETQLIM`, `Q_XGETQSTAT` of `<linux/dqblk_xfs.h>`.
const GET: u32 = ('X' as u32) << 8 | 3;
const SET: u32 = ('X' as u32) << 8 | 4;
const STATE: u32 = ('X' as u32) << 8 | 5;
/// `FS_QUOTA_PDQ_ENFD`: project limits are enforced.
const ENFORCED: u16 = 1 << 5;
/// `FS_DQ_BSOFT | FS_DQ_BHARD`.
const BLOCK_LIMITS: u16 = 1 << 2 | 1 << 3;
/// `FS_XFLAG_PROJINHERIT`: what is made in the directory belongs to its project.
const INHERIT: u32 = 0x200;
/// Size of the unit in which limits are counted, bytes.
const BLOCK: u64 = 512;

/// `struct fsxattr`.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent_size: u32,
    extents: u32,
    project: u32,
    cow_extent_size: u32,
    padding: [u8; 8],
}

/// `struct fs_disk_quota`.
#[repr(C)]
#[derive(Default)]
struct Quota {
    version: i8,
    flags: i8,
    fields: u16,
    id: u32,
    block_hard: u64,
    block_soft: u64,
    inode_hard: u64,
    inode_soft: u64,
    blocks: u64,
    inodes: u64,
    inode_timer: i32,
    block_timer: i32,
    inode_warnings: u16,
    block_warnings: u16,
    timers_high: [i8; 4],
    realtime_hard: u64,
    realtime_soft: u64,
    realtime_blocks: u64,
    realtime_timer: i32,
    realtime_warnings: u16,
    padding3: i16,
    padding4: [i8; 8],
}

/// `struct fs_quota_stat`, with room for what newer kernels add.
#[repr(C)]
struct State {
    version: i8,
    flags: u16,
    rest: [u64; 32],
}

const GET_ATTRIBUTES: u32 = opcode::read::<Attributes>(b'X', 31);
const SET_ATTRIBUTES: u32 = opcode::write::<Attributes>(b'X', 32);

/// Whether the file system of `path` enforces project quotas now.
pub fn enforced(path: &Path) -> bool {
    let mut state = State { version: 0, flags: 0, rest: [0; 32] };
    let Ok(root) = File::open(path) else { return false };
    ask(&root, STATE, 0, &mut state).is_ok() && state.flags & ENFORCED != 0
}

/// Makes the directory `path` a project of its own that holds `bytes` at most. The project's number is
/// the directory's inode, which no other directory has.
///
/// # Errors
/// The kernel's.
#[expect(unsafe_code, reason = "ioctl")]
pub fn limit(path: &Path, bytes: Option<u64>) -> io::Result<()> {
    let root = File::open(path)?;
    let id = number(path)?;
    let mut attributes = Attributes::default();
    // SAFETY: FS_IOC_FSGETXATTR writes an `fsxattr`.
    unsafe { ioctl::with(&root, GET_ATTRIBUTES, &mut attributes) }?;
    attributes.project = id;
    attributes.flags |= INHERIT;
    // SAFETY: FS_IOC_FSSETXATTR reads an `fsxattr`.
    unsafe { ioctl::with(&root, SET_ATTRIBUTES, &mut attributes) }?;
    let blocks = bytes.map_or(0, |bytes| bytes / BLOCK);
    let mut quota = Quota {
        version: 1,
        flags: 2,
        fields: BLOCK_LIMITS,
        id,
        block_hard: blocks,
        block_soft: blocks,
        ..Quota::default()
    };
    ask(&root, SET, id, &mut quota)
}

/// Bytes the project of the directory `path` takes.
///
/// # Errors
/// The kernel's.
pub fn used(path: &Path) -> io::Result<u64> {
    let mut quota = Quota::default();
    ask(&File::open(path)?, GET, number(path)?, &mut quota)?;
    Ok(quota.blocks * BLOCK)
}

/// The project number of a directory: 32 bits, and not 0, which is everybody's.
fn number(path: &Path) -> io::Result<u32> {
    use std::os::unix::fs::MetadataExt;
    let inode = path.metadata()?.ino();
    u32::try_from(inode).ok().filter(|&id| id != 0).ok_or_else(|| {
        io::Error::new(io::ErrorKind::Unsupported, format!("inode {inode} is no project number"))
    })
}

/// quotactl_fd(2), Linux 5.14.
#[expect(unsafe_code, reason = "quotactl has no safe form")]
fn ask<T>(root: &File, request: u32, id: u32, value: &mut T) -> io::Result<()> {
    let command = request << 8 | PROJECT;
    let pointer = std::ptr::from_mut(value);
    let fd = root.as_fd().as_raw_fd();
    // SAFETY: each request above reads or writes the `T` it is called with; `State` is larger than
    // any kernel's.
    match unsafe { libc::syscall(libc::SYS_quotactl_fd, fd, command, id, pointer) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
