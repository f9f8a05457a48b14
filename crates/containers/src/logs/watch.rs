//! Wakes a reader when its directory changes.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

use super::files;

/// How often a reader looks where the kernel has no more watches to give
/// (`fs.inotify.max_user_instances`).
const WITHOUT: Duration = Duration::from_millis(250);

/// The kernel tells that the lock's file was closed a moment before it lets the lock go
/// (`__fput` in fs/file_table.c): so often, and after such a wait, it is looked at again.
const LET_GO: (u32, Duration) = (50, Duration::from_millis(1));

/// Changes of a directory (inotify(7)).
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<AsyncFd<OwnedFd>>,
}

impl Watch {
    /// Changes from now on.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        match start(directory) {
            Ok(inotify) => {
                #[expect(unsafe_code, reason = "tokio asks for a promise that the type keeps")]
                // SAFETY: an `OwnedFd` is open, always the same, and stays so until it is dropped.
                let inotify = unsafe { AsyncFd::register(inotify) }?;
                Ok(Self { inotify: Some(inotify) })
            }
            Err(Errno::MFILE | Errno::NFILE | Errno::NOSPC) => Ok(Self { inotify: None }),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for a change since the last call.
    pub(super) async fn changed(&mut self, directory: &Path) -> io::Result<()> {
        let Some(inotify) = &mut self.inotify else {
            tokio::time::sleep(WITHOUT).await;
            return Ok(());
        };
        let mut ready = inotify.readable_mut().await?;
        let closed = read_all(ready.get_inner())?;
        ready.clear_ready();
        let (mut times, wait) = LET_GO;
        while closed && times > 0 && files::is_written(directory) {
            times -= 1;
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }
}

fn start(directory: &Path) -> Result<OwnedFd, Errno> {
    let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::CLOSE_WRITE;
    inotify::add_watch(&inotify, directory, events)?;
    Ok(inotify)
}

/// Empties the queue; true if the lock's file was closed.
fn read_all(inotify: &OwnedFd) -> io::Result<bool> {
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inotify, &mut buffer);
    let mut closed = false;
    loop {
        match reader.next() {
            Ok(event) => {
                let lock = event.file_name().is_some_and(|name| name.to_bytes() == b"lock");
                closed |= lock && event.events().contains(ReadFlags::CLOSE_WRITE);
            }
            Err(Errno::WOULDBLOCK) => return Ok(closed),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
