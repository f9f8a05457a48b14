//! A volume that is a file system of its own in one sparse file.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use model::{Bytes, Error, Result};
use rustix::fs::FallocateFlags;
use rustix::mount::MountFlags;

use super::options::Filesystem;
use super::shelf::Place;
use crate::fault::Fault;
use crate::kernel::loopdev::{self, LoopDevice};
use crate::kernel::{grow, mounts, shield};
use crate::program;
use crate::remove;

/// Below this, ext4 has blocks of 1 KiB: its journal has 1,024 blocks at least, and would else take
/// half of a small volume.
const SMALL: Bytes = Bytes::mib(64);

/// How long a file system may outlive its mount in other mount namespaces.
const LINGERING: Duration = Duration::from_secs(20);
/// Between two looks whether it does.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Makes the file and a file system in it, and the shielded mount point.
///
/// # Errors
/// `Exhausted` when the disk is full.
pub fn make(place: &Place, filesystem: Filesystem, size: Bytes, full: bool) -> Result<()> {
    let what = || "the volume's image cannot be made".to_owned();
    let file =
        File::options().create_new(true).read(true).write(true).open(place.image()).fault(what)?;
    lengthen(&file, size, full).fault(what)?;
    match filesystem {
        Filesystem::Ext4 => make_ext4(&place.image(), size)?,
        Filesystem::Xfs => run("mkfs.xfs", &["-q", "-K"], &place.image())?,
    }
    file.sync_all().fault(what)?;
    mount_point(place)
}

/// Makes the shielded mount point.
///
/// # Errors
/// The file system's.
pub fn mount_point(place: &Place) -> Result<()> {
    let what = || "the volume's mount point cannot be made".to_owned();
    fs::create_dir(place.mount()).fault(what)?;
    shield::raise(&place.mount()).fault(what)
}

fn make_ext4(image: &Path, size: Bytes) -> Result<()> {
    let block = if size < SMALL { "1024" } else { "4096" };
    // No blocks are kept for root: a volume's size is its user's. Discarding a new sparse file would
    // only take back what "allocate: full" took.
    let arguments =
        ["-q", "-F", "-m", "0", "-b", block, "-E", "nodiscard,lazy_itable_init=1", "-L", "hull"];
    run("mkfs.ext4", &arguments, image)
}

fn run(program: &str, arguments: &[&str], image: &Path) -> Result<()> {
    let words = arguments.iter().map(OsStr::new).chain([image.as_os_str()]);
    program::run(program, words)
}

/// Gives the file its length, with all its space when `full`. Longer or shorter: what is cut off has
/// never been part of the file system.
///
/// # Errors
/// The file system's; the file is as it was then.
pub fn lengthen(file: &File, size: Bytes, full: bool) -> io::Result<()> {
    let before = file.metadata()?.len();
    if before != size.0 {
        file.set_len(size.0)?;
    }
    if full && let Err(error) = rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size.0) {
        file.set_len(before)?;
        return Err(error.into());
    }
    file.sync_all()
}

/// Mounts the image at its place, unless it is mounted there.
///
/// # Errors
/// `Conflict` when something else is mounted there.
pub fn mount(place: &Place, filesystem: Filesystem, full: bool) -> Result<()> {
    if mounted(place)? {
        return Ok(());
    }
    let what = || format!("the image {} cannot be mounted", place.image().display());
    let device = LoopDevice::attach(&place.image()).fault(what)?;
    device.resize().fault(what)?;
    let mut data = match filesystem {
        Filesystem::Ext4 => "errors=remount-ro".to_owned(),
        // A restored image has the same UUID as the one it came from.
        Filesystem::Xfs => "nouuid".to_owned(),
    };
    if !full {
        data.push_str(",discard");
    }
    let data = std::ffi::CString::new(data).expect("there is no zero byte in it");
    let kind = filesystem.as_str();
    rustix::mount::mount(&device.path, place.mount(), kind, MountFlags::empty(), data.as_c_str())
        .fault(what)
}

/// Takes the mount away. What was written is in the image then, also when another mount namespace
/// still has the file system.
///
/// # Errors
/// `Conflict` while a process uses it.
pub fn unmount(place: &Place) -> Result<()> {
    File::open(place.mount())
        .and_then(|mount| Ok(rustix::fs::syncfs(mount)?))
        .fault(|| format!("{} cannot be written out", place.mount().display()))?;
    remove::unmount(&place.mount())
        .fault(|| format!("{} cannot be unmounted", place.mount().display()))
        .map_err(|error| error.next("end the processes that have files open there"))
}

/// Waits until no file system lives in the image any more. One does after [`unmount`] while a mount
/// namespace that was copied meanwhile has it: that of a container which is just being started, for a
/// moment. Reading or changing the image behind its back would give or make a broken file system.
///
/// # Errors
/// `Conflict` when it lasts longer than [`LINGERING`].
pub fn await_gone(place: &Place) -> Result<()> {
    let what = || format!("the loop device of {} cannot be found", place.image().display());
    let end = Instant::now() + LINGERING;
    while let Some(device) = LoopDevice::of(&place.image()).fault(what)? {
        if Instant::now() > end {
            return Err(still_there(place, &device));
        }
        drop(device);
        sleep(LOOK_AGAIN);
    }
    Ok(())
}

fn still_there(place: &Place, device: &LoopDevice) -> Error {
    let (image, path) = (place.image(), device.path.display());
    let error = Error::conflict(format!("{} is still in use, by {path}", image.display()));
    match device.number().ok().and_then(mounts::holder) {
        Some(pid) => error.next(format!("process {pid} has it mounted: end it, then try again")),
        None => error.next(format!("see who has it open: fuser {path}")),
    }
}

/// Whether this image is mounted at its place.
///
/// # Errors
/// `Conflict` when something else is.
pub fn mounted(place: &Place) -> Result<bool> {
    let target = place.mount();
    let found = mounts::at(&target).fault(|| "mountinfo cannot be read".to_owned())?;
    let Some(found) = found else { return Ok(false) };
    let (major, minor) = found.device;
    if major == loopdev::MAJOR && loopdev::has(minor, &place.image()) {
        return Ok(true);
    }
    let (source, target) = (found.source.to_string_lossy().into_owned(), target.display());
    Err(Error::conflict(format!("{source} is mounted at {target}, where a volume belongs"))
        .next(format!("unmount it: umount {target}")))
}

/// Gives the file system the length of the image while it is mounted.
///
/// # Errors
/// The kernel's.
pub fn grow_mounted(place: &Place, filesystem: Filesystem, size: Bytes) -> Result<()> {
    let what = || format!("{} cannot be grown", place.mount().display());
    if let Some(device) = LoopDevice::of(&place.image()).fault(what)? {
        device.resize().fault(what)?;
    }
    match filesystem {
        Filesystem::Ext4 => grow::ext4(&place.mount(), size.0).fault(what),
        Filesystem::Xfs => grow::xfs(&place.mount()),
    }
}

/// Gives an ext4 the length of its image while it is not mounted.
///
/// # Errors
/// `Conflict` when the file system is still mounted somewhere; those of e2fsck(8) and resize2fs(8).
pub fn grow_unmounted(place: &Place) -> Result<()> {
    await_gone(place)?;
    // 1: faults were found and mended, e2fsck(8).
    let check =
        [OsStr::new("-f"), OsStr::new("-p"), place.image().as_os_str()].map(OsStr::to_owned);
    program::run_until(1, "e2fsck", check.iter().map(|word| word.as_os_str()))?;
    run("resize2fs", &[], &place.image())?;
    File::open(place.image())
        .and_then(|file| file.sync_all())
        .fault(|| format!("{} cannot be written", place.image().display()))
}
