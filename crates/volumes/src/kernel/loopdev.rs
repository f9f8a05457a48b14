//! Loop devices: a file as a block device (loop(4), `<linux/loop.h>`).
//!
//! A file system must never be mounted from two loop devices of one file: each has its own cache, and
//! they would destroy it. So a device that already has the file is used again, told by the file's
//! device and inode, whoever attached it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::ioctl;

const SET_DIRECT_IO: u32 = 0x4C08;
const CONFIGURE: u32 = 0x4C0A;
const CLEAR: u32 = 0x4C01;
const GET_STATUS: u32 = 0x4C05;
const SET_CAPACITY: u32 = 0x4C07;
const GET_FREE: u32 = 0x4C82;

/// The device goes away with its last user.
const AUTOCLEAR: u32 = 4;

/// Logical sectors of the device, bytes: what every file system takes, whatever lies below.
const SECTOR: u32 = 512;
/// Times a free device is asked for while others take it first.
const ATTEMPTS: u32 = 64;
/// Major number of loop devices.
pub const MAJOR: u32 = 7;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Status {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl Status {
    const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Status,
    reserved: [u64; 8],
}

/// A loop device, held open: it does not go away while this exists.
#[derive(Debug)]
pub struct LoopDevice {
    file: File,
    /// Its node, e.g. `/dev/loop3`.
    pub path: PathBuf,
}

impl LoopDevice {
    /// The device of the file `image`: the one it has, or a new one.
    ///
    /// # Errors
    /// The kernel's; `StorageFull` when there is no free device.
    pub fn attach(image: &Path) -> io::Result<Self> {
        match Self::of(image)? {
            Some(device) => Ok(device),
            None => Self::new(image),
        }
    }

    /// The device that has the file `image`, when there is one.
    ///
    /// # Errors
    /// The kernel's.
    pub fn of(image: &Path) -> io::Result<Option<Self>> {
        let wanted = fs::metadata(image)?;
        for (path, _) in attached()? {
            if let Some(device) = Self::holding(&path, &wanted)? {
                return Ok(Some(device));
            }
        }
        Ok(None)
    }

    /// Opens the device when it has the file `wanted` describes. The question is put after opening:
    /// from then on the answer cannot change.
    fn holding(path: &Path, wanted: &fs::Metadata) -> io::Result<Option<Self>> {
        let Ok(file) = OpenOptions::new().read(true).write(true).open(path) else {
            return Ok(None);
        };
        Ok(match status(&file) {
            Ok(found) if found.inode == wanted.ino() && found.device == encode(wanted.dev()) => {
                Some(Self { file, path: path.to_owned() })
            }
            _ => None,
        })
    }

    fn new(image: &Path) -> io::Result<Self> {
        let backing = OpenOptions::new().read(true).write(true).open(image)?;
        let control = OpenOptions::new().read(true).write(true).open("/dev/loop-control")?;
        for _ in 0..ATTEMPTS {
            let path = free(&control)?;
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            match configure(&file, &backing) {
                Ok(()) => return Ok(Self { file, path }),
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::new(io::ErrorKind::StorageFull, "every loop device is taken at once"))
    }

    /// Major and minor number.
    ///
    /// # Errors
    /// The kernel's.
    pub fn number(&self) -> io::Result<(u32, u32)> {
        let device = self.file.metadata()?.rdev();
        Ok((rustix::fs::major(device), rustix::fs::minor(device)))
    }

    /// Takes over the length the file has now.
    ///
    /// # Errors
    /// The kernel's.
    #[expect(unsafe_code, reason = "ioctl")]
    pub fn resize(&self) -> io::Result<()> {
        // SAFETY: LOOP_SET_CAPACITY takes no argument.
        unsafe { ioctl::plain(&self.file, SET_CAPACITY, 0) }.map(drop)
    }
}

/// Loop devices that have a file, with the file's path at the time it was attached.
///
/// # Errors
/// When `/sys` is not mounted.
pub fn attached() -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/sys/block")? {
        let name = entry?.file_name();
        let file = Path::new("/sys/block").join(&name).join("loop/backing_file");
        if let Ok(backing) = fs::read_to_string(file) {
            let backing = backing.trim_end_matches('\n').trim_end_matches(" (deleted)");
            found.push((Path::new("/dev").join(&name), PathBuf::from(backing)));
        }
    }
    Ok(found)
}

/// The file behind the loop device with this minor number, as device and inode.
///
/// # Errors
/// The kernel's; `NotFound` when the device has no file.
pub fn backing(minor: u32) -> io::Result<(u64, u64)> {
    let found = status(&File::open(format!("/dev/loop{minor}"))?)?;
    Ok((found.device, found.inode))
}

/// Whether the loop device with this minor number has the file `image`.
pub fn has(minor: u32, image: &Path) -> bool {
    let Ok(wanted) = fs::metadata(image) else { return false };
    backing(minor).is_ok_and(|found| found == (encode(wanted.dev()), wanted.ino()))
}

/// Takes the file from the device at `path`; one in use loses it with its last user.
///
/// # Errors
/// The kernel's, except that a device without a file is fine.
#[expect(unsafe_code, reason = "ioctl")]
pub fn clear(path: &Path) -> io::Result<()> {
    if !fs::metadata(path)?.file_type().is_block_device() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let device = File::open(path)?;
    // SAFETY: LOOP_CLR_FD takes no argument.
    match unsafe { ioctl::plain(&device, CLEAR, 0) } {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(()),
        other => other.map(drop),
    }
}

#[expect(unsafe_code, reason = "ioctl")]
fn free(control: &File) -> io::Result<PathBuf> {
    // SAFETY: LOOP_CTL_GET_FREE takes no argument.
    let number = unsafe { ioctl::plain(control, GET_FREE, 0) }?;
    Ok(PathBuf::from(format!("/dev/loop{number}")))
}

#[expect(unsafe_code, reason = "ioctl")]
fn configure(device: &File, backing: &File) -> io::Result<()> {
    let mut config = Config {
        fd: u32::try_from(backing.as_raw_fd()).expect("a file descriptor is not negative"),
        block_size: SECTOR,
        info: Status { flags: AUTOCLEAR, ..Status::EMPTY },
        reserved: [0; 8],
    };
    // SAFETY: LOOP_CONFIGURE reads a `loop_config`, which `Config` is laid out as.
    unsafe { ioctl::with(device, CONFIGURE, &mut config) }?;
    // Past the page cache, so that contents are not cached twice. A gain, not a need: file systems
    // such as tmpfs have no direct I/O.
    // SAFETY: LOOP_SET_DIRECT_IO takes its argument by value.
    let _ = unsafe { ioctl::plain(device, SET_DIRECT_IO, 1) };
    Ok(())
}

#[expect(unsafe_code, reason = "ioctl")]
fn status(device: &impl AsFd) -> io::Result<Status> {
    let mut status = Status::EMPTY;
    // SAFETY: LOOP_GET_STATUS64 writes a `loop_info64`, which `Status` is laid out as.
    unsafe { ioctl::with(device, GET_STATUS, &mut status) }?;
    Ok(status)
}

/// A device number in the kernel's own coding (`new_encode_dev`), which `lo_device` has.
fn encode(device: u64) -> u64 {
    let (major, minor) =
        (u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}
