//! What is done as root, before the machine's own user takes over.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use crate::config::{Accelerator, MachineConfig, Nic};

nix::ioctl_write_ptr_bad!(tun_set_interface, TUNSETIFF, libc::ifreq);

/// `TUNSETIFF` (linux/if_tun.h).
const TUNSETIFF: u64 = 0x4004_54ca;

nix::ioctl_write_int_bad!(tun_set_persistent, TUNSETPERSIST);

/// `TUNSETPERSIST` (linux/if_tun.h).
const TUNSETPERSIST: u64 = 0x4004_54cb;

/// How often a tap that somebody has is asked for again, and how long after.
const PATIENCE: u32 = 40;
const MOMENT: Duration = Duration::from_millis(25);

/// Opens the tap of a network card. The network's driver made it; here it is only taken, and goes when
/// QEMU lets go of it.
#[expect(unsafe_code, reason = "the interface request has no safe form")]
pub(crate) fn tap(nic: &Nic) -> Result<OwnedFd> {
    let failed = || format!("tap {} cannot be opened", nic.tap);
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .context(ErrorKind::Unavailable, failed)?;
    let name = nic.tap.as_bytes();
    if name.len() >= libc::IFNAMSIZ {
        return Err(Error::internal(format!("{:?} is no name of a tap", nic.tap)));
    }
    // SAFETY: an interface request of zeros is a valid one without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap_or_default();
    // A process that the node forked while it made the tap has it open until it runs its program.
    for patience in (0..PATIENCE).rev() {
        // SAFETY: the request lives over the call and is of the type it wants.
        match unsafe { tun_set_interface(file.as_raw_fd(), &raw const request) } {
            Err(Errno::EBUSY) if patience > 0 => std::thread::sleep(MOMENT),
            taken => {
                taken.context(ErrorKind::Unavailable, failed)?;
                break;
            }
        }
    }
    // SAFETY: it takes a number.
    unsafe { tun_set_persistent(file.as_raw_fd(), 0) }.context(ErrorKind::Unavailable, failed)?;
    Ok(file.into())
}

/// Gives the devices that QEMU opens itself to the machine's user; they are the walls' own nodes.
pub(super) fn give_devices(config: &MachineConfig) -> Result<()> {
    if config.accelerator == Accelerator::Kvm {
        std::os::unix::fs::chown("/dev/kvm", Some(config.user), Some(config.user))
            .context(ErrorKind::Unavailable, || "/dev/kvm cannot be given away".to_owned())?;
    }
    for group in std::fs::read_dir("/dev/vfio").into_iter().flatten().flatten() {
        std::os::unix::fs::chown(group.path(), Some(config.user), Some(config.user))
            .context(ErrorKind::Unavailable, || {
                format!("{} cannot be given away", group.path().display())
            })?;
    }
    Ok(())
}

/// Becomes the machine's user for good. All capabilities go with that (capabilities(7)).
pub(super) fn become_user(user: u32) -> Result<()> {
    if user == 0 {
        return Err(Error::internal("a machine does not run as root"));
    }
    for capability in CapabilitySet::all().iter() {
        // One that the kernel or the walls do not know cannot be had either.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let become_it = || -> nix::Result<()> {
        setgroups(&[])?;
        setgid(Gid::from_raw(user))?;
        setuid(Uid::from_raw(user))
    };
    become_it().context(ErrorKind::Internal, || format!("cannot become user {user}"))
}

/// Lets QEMU have these files.
pub(super) fn inherit<'a>(files: impl IntoIterator<Item = &'a OwnedFd>) -> Result<()> {
    for file in files {
        fcntl_setfd(file.as_fd(), FdFlags::empty())
            .context(ErrorKind::Internal, || "a file cannot be handed on".to_owned())?;
    }
    Ok(())
}
