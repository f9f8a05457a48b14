//! The kernel and what it can do.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::mount::{MountFlags, mount};

use super::{Finding, Settings};
use crate::proc;
use crate::programs::Version;
use crate::sandbox;

/// The oldest kernel that has all the calls used: LOOP_CONFIGURE came with 5.8, close_range with 5.9.
const OLDEST: Version = Version(5, 9, 0);
/// The oldest that a supported distribution has (Ubuntu 22.04).
const TESTED: Version = Version(5, 15, 0);

/// Release.
pub fn version(_: &Settings) -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match Version::find(&release) {
        None => Finding::warn(format!("{release} is no version"), "see that it is at least 5.15"),
        Some(found) if found < OLDEST => Finding::fail(
            format!("{release} is older than {OLDEST}"),
            "upgrade the distribution: Debian 12 or Ubuntu 22.04 at least",
        ),
        Some(found) if found < TESTED => Finding::warn(
            format!("{release} is older than any it is tested on"),
            "upgrade the distribution: Debian 12 or Ubuntu 22.04 at least",
        ),
        Some(_) => Finding::pass(release),
    }
}

/// Namespaces, namespaces(7).
pub fn namespaces(_: &Settings) -> Finding {
    let missing = |names: &[&str]| -> Vec<String> {
        let absent = |name: &&&str| !Path::new("/proc/self/ns").join(name).exists();
        names.iter().filter(absent).map(|name| (*name).to_owned()).collect()
    };
    let needed = missing(&["mnt", "net", "pid", "ipc", "uts"]);
    if !needed.is_empty() {
        return Finding::fail(
            format!("no namespaces of {}", needed.join(", ")),
            "use a kernel with CONFIG_NAMESPACES and its parts",
        );
    }
    let wanted = missing(&["user", "cgroup"]);
    if !wanted.is_empty() {
        return Finding::warn(
            format!("no namespaces of {}; instances cannot ask for them", wanted.join(", ")),
            "use a kernel with CONFIG_USER_NS and CONFIG_CGROUPS",
        );
    }
    // Zero forbids user namespaces to everybody, user_namespaces(7).
    if proc::number("/proc/sys/user/max_user_namespaces") == Some(0_u64) {
        return Finding::warn(
            "user namespaces are forbidden; instances cannot ask for them",
            "sysctl user.max_user_namespaces=15000",
        );
    }
    Finding::pass("mnt, net, pid, ipc, uts, user, cgroup")
}

/// overlayfs really mounted, on the disk where images will be: the layers must support it.
pub fn overlayfs(settings: &Settings) -> Finding {
    match try_overlay(&proc::existing(&settings.state_dir)) {
        Ok(()) => Finding::pass("a file was copied up"),
        Err(error) => Finding::fail(
            format!("it cannot be mounted on the state directory's disk: {error}"),
            "modprobe overlay; if that helps not, put the state directory on ext4, xfs (ftype=1) or btrfs",
        ),
    }
}

fn try_overlay(parent: &Path) -> io::Result<()> {
    let dir = parent.join(format!(".hull-check-overlay-{}", std::process::id()));
    let result = fs::create_dir(&dir)
        .and_then(|()| sandbox::within(libc::CLONE_NEWNS, || mount_overlay(&dir)).flatten());
    let _ = fs::remove_dir_all(&dir);
    result
}

fn mount_overlay(dir: &Path) -> io::Result<()> {
    for part in ["lower", "upper", "work", "merged"] {
        fs::create_dir(dir.join(part))?;
    }
    fs::write(dir.join("lower/file"), "below")?;
    let part = |name: &str| dir.join(name).display().to_string();
    let options =
        format!("lowerdir={},upperdir={},workdir={}", part("lower"), part("upper"), part("work"));
    let options = std::ffi::CString::new(options).map_err(io::Error::other)?;
    let merged = dir.join("merged");
    mount("overlay", &merged, "overlay", MountFlags::empty(), options.as_c_str())?;
    let tried = fs::write(merged.join("file"), "above").and_then(|()| {
        match fs::read(dir.join("upper/file"))?.as_slice() {
            b"above" => Ok(()),
            _ => Err(io::Error::other("what was written is not in the upper layer")),
        }
    });
    rustix::mount::unmount(&merged, rustix::mount::UnmountFlags::DETACH)?;
    tried
}

/// Filters of system calls, seccomp(2).
pub fn seccomp(_: &Settings) -> Finding {
    let actions = proc::text("/proc/sys/kernel/seccomp/actions_avail");
    if actions.split(' ').any(|action| action == "errno") {
        return Finding::pass("filters are available");
    }
    Finding::warn(
        "no filters: containers run with every system call allowed",
        "use a kernel with CONFIG_SECCOMP_FILTER",
    )
}

/// File systems in programs, for storage services.
pub fn fuse(_: &Settings) -> Finding {
    match fs::File::options().read(true).write(true).open("/dev/fuse") {
        Ok(_) => Finding::pass("/dev/fuse opens"),
        Err(error) => Finding::warn(
            format!("/dev/fuse does not open ({error}); some storage services need it"),
            "modprobe fuse",
        ),
    }
}

/// Loop devices, for volumes with a size.
pub fn loop_devices(_: &Settings) -> Finding {
    match free_loop_device() {
        Ok(number) => Finding::pass(format!("/dev/loop{number} is free")),
        Err(error) => Finding::warn(
            format!("there is none ({error}); volumes with a size need btrfs then"),
            "modprobe loop",
        ),
    }
}

#[expect(unsafe_code, reason = "ioctl has no safe form")]
fn free_loop_device() -> io::Result<i32> {
    /// `LOOP_CTL_GET_FREE` of `<linux/loop.h>`.
    const GET_FREE: libc::c_ulong = 0x4C82;
    let control = fs::File::options().read(true).write(true).open("/dev/loop-control")?;
    // SAFETY: the request takes no argument.
    match unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE as _) } {
        number if number >= 0 => Ok(number),
        _ => Err(io::Error::last_os_error()),
    }
}
