//! A file system held still (`FIFREEZE`), and let go again whatever happens.
//!
//! A frozen file system stops every writer until it is thawed, also when whoever froze it has died.
//! So a child process is started first that holds nothing but the file system and one end of a pipe.
//! It thaws when the pipe breaks (we died) or when the time is over. What even that cannot cover (the
//! whole process group killed at once) is covered by [`thaw`] when the volumes are opened again.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::Duration;

use super::ioctl;

const FREEZE: u32 = ioctl::opcode::read_write::<libc::c_int>(b'X', 119);
const THAW: u32 = ioctl::opcode::read_write::<libc::c_int>(b'X', 120);

/// What the guard is told when the work was done in time.
const DONE: u8 = b'd';

/// A file system held still. Dropped, it is let go.
#[derive(Debug)]
pub struct Frozen {
    root: File,
    guard: Guard,
}

impl Frozen {
    /// Writes out and holds still the file system mounted at `mount`, for `limit` at most.
    ///
    /// # Errors
    /// The kernel's; `EBUSY` when it is held still already.
    pub fn new(mount: &Path, limit: Duration) -> io::Result<Self> {
        let root = File::open(mount)?;
        let guard = Guard::start(root.as_fd().as_raw_fd(), limit)?;
        ask(&root, FREEZE)?;
        Ok(Self { root, guard })
    }

    /// Lets go. `false` when the time was over before: what was done meanwhile may be mixed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn release(mut self) -> io::Result<bool> {
        let held = match ask(&self.root, THAW) {
            Ok(()) => true,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => false,
            Err(error) => return Err(error),
        };
        self.guard.dismiss();
        Ok(held)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if self.guard.pipe.is_some() {
            let _ = ask(&self.root, THAW);
            self.guard.dismiss();
        }
    }
}

/// Lets go of the file system mounted at `mount`, whoever held it. Fine when nobody did.
///
/// # Errors
/// The kernel's.
pub fn thaw(mount: &Path) -> io::Result<bool> {
    match ask(&File::open(mount)?, THAW) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

#[expect(unsafe_code, reason = "ioctl")]
fn ask(root: &File, request: u32) -> io::Result<()> {
    // SAFETY: FIFREEZE and FITHAW ignore their argument.
    unsafe { ioctl::plain(root, request, 0) }.map(drop)
}

/// The child that thaws when we cannot.
#[derive(Debug)]
struct Guard {
    pipe: Option<File>,
    child: libc::pid_t,
}

impl Guard {
    #[expect(unsafe_code, reason = "a guard that outlives this process must be forked")]
    fn start(root: RawFd, limit: Duration) -> io::Result<Self> {
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        let reader: OwnedFd = reader;
        // SAFETY: the child calls only functions that are safe after fork in a process of many
        // threads (signal-safety(7)) and leaves by `_exit`.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => unsafe { watch(root, reader.as_raw_fd(), limit) },
            child => Ok(Self { pipe: Some(writer.into()), child }),
        }
    }

    /// Ends the child without a thaw of its own and waits for its end.
    #[expect(unsafe_code, reason = "waits for the forked child")]
    fn dismiss(&mut self) {
        if let Some(mut pipe) = self.pipe.take() {
            let _ = pipe.write_all(&[DONE]);
            drop(pipe);
            // SAFETY: waits for our own child; the status is not asked for.
            unsafe { libc::waitpid(self.child, std::ptr::null_mut(), 0) };
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.dismiss();
    }
}

/// What the child does: waits for the word, the break of the pipe, or the end of the time.
///
/// # Safety
/// Only in a freshly forked child; does not return.
#[expect(unsafe_code, reason = "nothing but plain system calls may run after fork")]
unsafe fn watch(root: RawFd, pipe: RawFd, limit: i32) -> ! {
    // SAFETY: plain system calls on numbers and on memory of this frame; none allocates or locks.
    unsafe {
        libc::setsid();
        // Every descriptor inherited is closed but these two, the parent's locks above all.
        let (low, high) = if root < pipe { (root, pipe) } else { (pipe, root) };
        close_range(0, low - 1);
        close_range(low + 1, high - 1);
        close_range(high + 1, RawFd::MAX);
        let mut wait = libc::pollfd { fd: pipe, events: libc::POLLIN, revents: 0 };
        while libc::poll(&raw mut wait, 1, limit) < 0 && *libc::__errno_location() == libc::EINTR {}
        let mut word = 0_u8;
        let read = if wait.revents == 0 { 0 } else { libc::read(pipe, (&raw mut word).cast(), 1) };
        if read != 1 || word != DONE {
            libc::ioctl(root, THAW as _, 0);
        }
        libc::_exit(0)
    }
}

/// close_range(2), where the range is not empty.
///
/// # Safety
/// Only in a freshly forked child.
#[expect(unsafe_code, reason = "nothing but plain system calls may run after fork")]
unsafe fn close_range(first: RawFd, last: RawFd) {
    if first <= last {
        // SAFETY: closes descriptors of the child only.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    }
}
