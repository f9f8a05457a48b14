//! Work on a thread with namespaces of its own: what it mounts or makes there is gone with it.

use std::io;

/// Runs `work` on a new thread in new namespaces (`CLONE_NEWNS`, `CLONE_NEWNET`). Mounts made there are
/// seen nowhere else.
///
/// # Errors
/// The kernel's, when namespaces cannot be made.
pub fn within<T: Send>(namespaces: i32, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            leave(namespaces)?;
            Ok(work())
        });
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the check's thread panicked")))
    })
}

#[expect(unsafe_code, reason = "unshare has no safe form")]
fn leave(namespaces: i32) -> io::Result<()> {
    // SAFETY: changes only this thread, which ends with the work; CLONE_FS goes with CLONE_NEWNS.
    if unsafe { libc::unshare(namespaces | libc::CLONE_FS) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if namespaces & libc::CLONE_NEWNS != 0 {
        use rustix::mount::{MountPropagationFlags, mount_change};
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    }
    Ok(())
}
