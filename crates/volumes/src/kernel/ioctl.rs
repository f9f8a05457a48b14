//! The one door to `ioctl(2)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Numbers of requests, built as `<asm-generic/ioctl.h>` does for this architecture.
pub use rustix::ioctl::opcode;

/// Calls `ioctl` with a pointer to `value`; the answer is what the call returned.
///
/// # Safety
/// `request` must be one that reads or writes a `T` and keeps no pointer to it.
///
/// # Errors
/// The call's `errno`.
#[expect(unsafe_code, reason = "ioctl has no safe form")]
pub unsafe fn with<T>(fd: impl AsFd, request: u32, value: &mut T) -> io::Result<i32> {
    let pointer = std::ptr::from_mut(value);
    // SAFETY: the caller promises that `request` takes a `T`; the pointer is valid for the call.
    let answer = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as _, pointer) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// Calls `ioctl` with a plain number.
///
/// # Safety
/// `request` must be one that takes its argument by value, or none.
///
/// # Errors
/// The call's `errno`.
#[expect(unsafe_code, reason = "ioctl has no safe form")]
pub unsafe fn plain(fd: impl AsFd, request: u32, argument: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: the caller promises that `request` does not take a pointer.
    let answer = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as _, argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}
