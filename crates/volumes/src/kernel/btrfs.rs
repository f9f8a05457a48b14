//! Subvolumes, snapshots and quota groups of btrfs (`<linux/btrfs.h>`).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ioctl::{self, opcode};

/// `f_type` of statfs(2).
const MAGIC: i64 = 0x9123_683E;
/// Inode of every subvolume's root (`BTRFS_FIRST_FREE_OBJECTID`).
const ROOT_INODE: u64 = 256;
const READ_ONLY: u64 = 1 << 1;
const LIMIT_REFERENCED: u64 = 1;
const QUOTA_ENABLE: u64 = 1;

/// `struct btrfs_ioctl_vol_args_v2`.
#[repr(C)]
struct NamedV2 {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

/// `struct btrfs_ioctl_vol_args`.
#[repr(C)]
struct Named {
    fd: i64,
    name: [u8; 4088],
}

/// `struct btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct Lookup {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// `struct btrfs_ioctl_fs_info_args`.
#[repr(C)]
struct FsInfo {
    highest: u64,
    devices: u64,
    uuid: [u8; 16],
    rest: [u8; 992],
}

/// `struct btrfs_ioctl_quota_ctl_args`.
#[repr(C)]
struct QuotaControl {
    command: u64,
    status: u64,
}

/// `struct btrfs_ioctl_qgroup_create_args`.
#[repr(C)]
struct GroupCreate {
    create: u64,
    group: u64,
}

/// `struct btrfs_ioctl_qgroup_limit_args`.
#[repr(C)]
struct GroupLimit {
    group: u64,
    flags: u64,
    referenced: u64,
    exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

const SUBVOLUME_CREATE: u32 = opcode::write::<NamedV2>(0x94, 24);
const SNAPSHOT_CREATE: u32 = opcode::write::<NamedV2>(0x94, 23);
const SNAPSHOT_DESTROY: u32 = opcode::write::<Named>(0x94, 15);
const LOOKUP: u32 = opcode::read_write::<Lookup>(0x94, 18);
const FS_INFO: u32 = opcode::read::<FsInfo>(0x94, 31);
const QUOTA_CONTROL: u32 = opcode::read_write::<QuotaControl>(0x94, 40);
const GROUP_CREATE: u32 = opcode::write::<GroupCreate>(0x94, 42);
const GROUP_LIMIT: u32 = opcode::read::<GroupLimit>(0x94, 43);
const RESCAN_WAIT: u32 = opcode::none(0x94, 46);

/// Whether `path` is on btrfs.
///
/// # Errors
/// The kernel's.
pub fn here(path: &Path) -> io::Result<bool> {
    Ok(rustix::fs::statfs(path)?.f_type as i64 == MAGIC)
}

/// Whether `path` is the root of a subvolume.
///
/// # Errors
/// The kernel's.
pub fn is_subvolume(path: &Path) -> io::Result<bool> {
    let found = fs::symlink_metadata(path)?;
    Ok(found.is_dir() && found.ino() == ROOT_INODE && here(path)?)
}

/// Makes an empty subvolume.
///
/// # Errors
/// The kernel's.
#[expect(unsafe_code, reason = "ioctl")]
pub fn create(path: &Path) -> io::Result<()> {
    let (parent, name) = split(path)?;
    let mut request = named_v2(0, 0, name)?;
    // SAFETY: BTRFS_IOC_SUBVOL_CREATE_V2 reads a `vol_args_v2`.
    unsafe { ioctl::with(parent, SUBVOLUME_CREATE, &mut request) }.map(drop)
}

/// Makes `path` a snapshot of the subvolume `source`.
///
/// # Errors
/// The kernel's.
#[expect(unsafe_code, reason = "ioctl")]
pub fn snapshot(source: &Path, path: &Path, read_only: bool) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let source = File::open(source)?;
    let (parent, name) = split(path)?;
    let flags = if read_only { READ_ONLY } else { 0 };
    let mut request = named_v2(i64::from(source.as_raw_fd()), flags, name)?;
    // SAFETY: BTRFS_IOC_SNAP_CREATE_V2 reads a `vol_args_v2`; its descriptor is open.
    unsafe { ioctl::with(parent, SNAPSHOT_CREATE, &mut request) }.map(drop)
}

/// Removes the subvolume `path` and its quota group.
///
/// # Errors
/// The kernel's; `ENOTEMPTY` when there is a subvolume inside it.
#[expect(unsafe_code, reason = "ioctl")]
pub fn remove(path: &Path) -> io::Result<()> {
    let group = id(path)?;
    let (parent, name) = split(path)?;
    let mut request = Named { fd: 0, name: [0; 4088] };
    put(&mut request.name, name)?;
    // SAFETY: BTRFS_IOC_SNAP_DESTROY reads a `vol_args`.
    unsafe { ioctl::with(&parent, SNAPSHOT_DESTROY, &mut request) }?;
    // Newer kernels remove the group themselves; older ones leave it, at worst, as a line in a list.
    let mut request = GroupCreate { create: 0, group };
    // SAFETY: BTRFS_IOC_QGROUP_CREATE reads a `qgroup_create_args`.
    let _ = unsafe { ioctl::with(&parent, GROUP_CREATE, &mut request) };
    Ok(())
}

/// Number of the subvolume `path` is in.
///
/// # Errors
/// The kernel's.
#[expect(unsafe_code, reason = "ioctl")]
pub fn id(path: &Path) -> io::Result<u64> {
    let mut request = Lookup { tree: 0, object: ROOT_INODE, name: [0; 4080] };
    // SAFETY: BTRFS_IOC_INO_LOOKUP reads and writes an `ino_lookup_args`.
    unsafe { ioctl::with(File::open(path)?, LOOKUP, &mut request) }?;
    Ok(request.tree)
}

/// Turns quotas on for the whole file system when they are off, and waits until every byte is
/// counted.
///
/// Regular quota groups, not simple ones: those make the file system unreadable for kernels before
/// 6.7 and count shared data to whoever wrote it first.
///
/// # Errors
/// The kernel's.
#[expect(unsafe_code, reason = "ioctl")]
pub fn enable_quota(path: &Path) -> io::Result<()> {
    if groups(path)?.is_dir() {
        return Ok(());
    }
    let root = File::open(path)?;
    let mut request = QuotaControl { command: QUOTA_ENABLE, status: 0 };
    // SAFETY: BTRFS_IOC_QUOTA_CTL reads and writes a `quota_ctl_args`.
    unsafe { ioctl::with(&root, QUOTA_CONTROL, &mut request) }?;
    // SAFETY: BTRFS_IOC_QUOTA_RESCAN_WAIT takes no argument.
    unsafe { ioctl::plain(&root, RESCAN_WAIT, 0) }.map(drop)
}

/// Sets the most that the subvolume `path` may hold; `None` for no limit.
///
/// # Errors
/// The kernel's.
#[expect(unsafe_code, reason = "ioctl")]
pub fn limit(path: &Path, bytes: Option<u64>) -> io::Result<()> {
    let root = File::open(path)?;
    let group = id(path)?;
    let mut create = GroupCreate { create: 1, group };
    // A subvolume older than its file system's quotas has no group yet; EEXIST is the usual answer.
    // SAFETY: BTRFS_IOC_QGROUP_CREATE reads a `qgroup_create_args`.
    let _ = unsafe { ioctl::with(&root, GROUP_CREATE, &mut create) };
    let mut request = GroupLimit {
        group,
        flags: LIMIT_REFERENCED,
        referenced: bytes.unwrap_or(u64::MAX),
        exclusive: 0,
        reserved_referenced: 0,
        reserved_exclusive: 0,
    };
    // SAFETY: BTRFS_IOC_QGROUP_LIMIT reads a `qgroup_limit_args`.
    unsafe { ioctl::with(&root, GROUP_LIMIT, &mut request) }.map(drop)
}

/// Bytes the subvolume `path` refers to, shared ones included; `None` without quotas or before
/// Linux 5.9. Written data is counted when it reaches the disk: sync first to know of it.
///
/// # Errors
/// The kernel's.
pub fn referenced(path: &Path) -> io::Result<Option<u64>> {
    let file = groups(path)?.join(format!("0_{}", id(path)?)).join("referenced");
    Ok(fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()))
}

/// The directory of the file system's quota groups in `/sys`; exists while quotas are on.
#[expect(unsafe_code, reason = "ioctl")]
fn groups(path: &Path) -> io::Result<std::path::PathBuf> {
    let mut info = FsInfo { highest: 0, devices: 0, uuid: [0; 16], rest: [0; 992] };
    // SAFETY: BTRFS_IOC_FS_INFO writes an `fs_info_args`.
    unsafe { ioctl::with(File::open(path)?, FS_INFO, &mut info) }?;
    let mut uuid = String::with_capacity(36);
    for (index, byte) in info.uuid.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            uuid.push('-');
        }
        uuid.push_str(&format!("{byte:02x}"));
    }
    Ok(Path::new("/sys/fs/btrfs").join(uuid).join("qgroups"))
}

fn split(path: &Path) -> io::Result<(File, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((File::open(parent)?, name)),
        _ => Err(io::Error::from(io::ErrorKind::InvalidInput)),
    }
}

fn named_v2(fd: i64, flags: u64, name: &OsStr) -> io::Result<NamedV2> {
    let mut request = NamedV2 { fd, transaction: 0, flags, unused: [0; 4], name: [0; 4040] };
    put(&mut request.name, name)?;
    Ok(request)
}

fn put(field: &mut [u8], name: &OsStr) -> io::Result<()> {
    let name = name.as_bytes();
    let room = field.get_mut(..name.len()).ok_or(io::Error::from(io::ErrorKind::InvalidInput))?;
    room.copy_from_slice(name);
    Ok(())
}
