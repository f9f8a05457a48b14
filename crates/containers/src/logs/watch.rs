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
/// (`__fput` in fs/file_table.c): so often it is looked at again, each time after twice the wait.
const LOOKS: u32 = 12;

/// The first of these waits; the last is four seconds.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Changes of a directory (inotify(7)).
#[derive(Debug)]
pub(super) struct Watch {
    inotify: Option<AsyncFd<OwnedFd>>,
    /// Looks still to be taken at a lock that is being let go. Kept here, so that a call which is
    /// given up in the middle loses none.
    looks: u32,
}

impl Watch {
    /// Changes from now on.
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        let inotify = match start(directory) {
            Ok(inotify) => {
                #[expect(unsafe_code, reason = "tokio asks for a promise that the type keeps")]
                // SAFETY: an `OwnedFd` is open, always the same, and stays so until it is dropped.
                let inotify = unsafe { AsyncFd::register(inotify) }?;
                Some(inotify)
            }
            Err(Errno::MFILE | Errno::NFILE | Errno::NOSPC) => None,
            Err(errno) => return Err(errno.into()),
        };
        Ok(Self { inotify, looks: 0 })
    }

    /// Waits for a change since the last call. May be given up at any point and called again.
    pub(super) async fn changed(&mut self, directory: &Path) -> io::Result<()> {
        let Some(inotify) = &mut self.inotify else {
            tokio::time::sleep(WITHOUT).await;
            return Ok(());
        };
        while self.looks > 0 {
            if !files::is_written(directory) {
                self.looks = 0;
                return Ok(());
            }
            let wait = FIRST_LOOK * (1 << (LOOKS - self.looks));
            tokio::select! {
                told = told(inotify) => {
                    self.looks = if told? { LOOKS } else { self.looks };
                    return Ok(());
                }
                () = tokio::time::sleep(wait) => self.looks -= 1,
            }
        }
        if told(inotify).await? {
            self.looks = LOOKS;
        }
        Ok(())
    }
}

/// Waits for the kernel to tell something; true if the lock's file was closed. Nothing is lost when
/// this is given up: what was told is still there to be read.
async fn told(inotify: &mut AsyncFd<OwnedFd>) -> io::Result<bool> {
    let mut ready = inotify.readable_mut().await?;
    let closed = read_all(ready.get_inner())?;
    ready.clear_ready();
    Ok(closed)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_lock_let_go_late_is_noticed_after_a_call_that_was_given_up() {
        let log = tempfile::tempdir().unwrap();
        let held = files::lock(log.path()).unwrap();
        let mut watch = Watch::new(log.path()).unwrap();
        // What the kernel tells a moment before it lets the lock go.
        drop(std::fs::OpenOptions::new().write(true).open(log.path().join(files::LOCK)).unwrap());
        watch.changed(log.path()).await.unwrap();
        {
            let look = std::pin::pin!(watch.changed(log.path()));
            assert!(futures::poll!(look).is_pending());
        }
        rustix::fs::flock(&held, rustix::fs::FlockOperation::Unlock).unwrap();
        let seen = watch.changed(log.path());
        tokio::time::timeout(Duration::from_secs(20), seen).await.unwrap().unwrap();
    }
}
