//! Wakes an instance's task when the monitor of its machine has told something: a restart of the guest
//! ends no process, so the engine sees nothing of it.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use machines::config::{RUN, TOLD};
use model::error::Context as _;
use model::{ErrorKind, Result, Uid};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::context::Context;

/// Which machines are listened to (inotify(7)).
pub struct Changes {
    inotify: Inotify,
    machines: Mutex<HashMap<WatchDescriptor, Uid>>,
}

impl Changes {
    /// Listens to none yet.
    pub fn open() -> Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)
            .context(ErrorKind::Exhausted, || "machines cannot be listened to".to_owned())?;
        Ok(Self { inotify, machines: Mutex::default() })
    }

    /// Listens to a machine as well; again is fine.
    pub fn follow(&self, uid: &Uid, directory: &Path) {
        let flags =
            AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR | AddWatchFlags::IN_DONT_FOLLOW;
        match self.inotify.add_watch(&directory.join(RUN), flags) {
            Ok(watch) => drop(self.lock().insert(watch, uid.clone())),
            // The slow timer sees what this does not.
            Err(error) => {
                tracing::debug!(instance = uid.short(), %error, "machine is not listened to")
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WatchDescriptor, Uid>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machines that told something.
    fn read(&self) -> Vec<Uid> {
        let events = self.inotify.read_events().unwrap_or_default();
        let file = Path::new(TOLD).file_name();
        let mut machines = self.lock();
        let mut told = Vec::new();
        for event in events {
            if event.mask.contains(AddWatchFlags::IN_IGNORED) {
                machines.remove(&event.wd);
            } else if event.name.as_deref() == file {
                told.extend(machines.get(&event.wd).cloned());
            }
        }
        told
    }
}

#[expect(unsafe_code, reason = "the runtime cannot know how long a file stays open")]
fn readable(inotify: &Inotify) -> std::io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: what is registered is borrowed, so the file is open for as long as it is.
    let file = unsafe { AsyncFd::register_with_interest(inotify.as_fd(), Interest::READABLE) };
    file.map_err(std::io::Error::from)
}

/// Wakes tasks for as long as it is polled.
pub async fn follow_changes(context: Arc<Context>) {
    let file = match readable(&context.guests.inotify) {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(%error, "machines are looked at on a slow timer only");
            return std::future::pending().await;
        }
    };
    loop {
        let Ok(mut ready) = file.readable().await else { return };
        for uid in context.guests.read() {
            if let Some(handle) = context.roster.get(&uid) {
                handle.poke.notify_one();
            }
        }
        ready.clear_ready();
    }
}
