//! Taps: interfaces whose other end is a program (linux `Documentation/networking/tuntap.rst`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use model::Result;

use super::route::failed;

nix::ioctl_write_ptr_bad!(set_interface, 0x4004_54ca, libc::ifreq);
nix::ioctl_write_int_bad!(set_persistent, 0x4004_54cb);
nix::ioctl_write_int_bad!(set_owner, 0x4004_54cc);

/// Makes a tap in the calling thread's network namespace, or finds the one there. It stays when nobody
/// has it open, and only root (or whoever may change the network) may open it.
pub fn ensure(name: &str) -> Result<()> {
    make(name).map_err(|error| failed(error, &format!("making tap {name}")))
}

#[expect(unsafe_code, reason = "ioctl has no safe form")]
fn make(name: &str) -> io::Result<()> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    if name.len() >= libc::IFNAMSIZ {
        return Err(io::ErrorKind::InvalidFilename.into());
    }
    // SAFETY: an interface request of zeros is a valid one without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = from.cast_signed();
    }
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = i16::try_from(flags).unwrap_or_default();
    // SAFETY: the request lives over the call and is of the type it wants.
    match unsafe { set_interface(file.as_raw_fd(), &raw const request) } {
        Ok(_) => {}
        // A machine that runs has it open; it was made before.
        Err(nix::errno::Errno::EBUSY) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    // SAFETY: both take a number.
    unsafe { set_owner(file.as_raw_fd(), 0) }?;
    // SAFETY: as above.
    unsafe { set_persistent(file.as_raw_fd(), 1) }?;
    Ok(())
}
