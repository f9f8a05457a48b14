//! Connections that read.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::Connection;
use tokio::{sync::Semaphore, task};

use super::{connect, error::of_store, lock::Lock};
use crate::{Error, Result};

/// A few connections that read, opened when needed and kept.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    /// As many permits as there may be connections.
    room: Arc<Semaphore>,
    /// `None` when closed.
    idle: Mutex<Option<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connections: Vec<Connection>,
    lock: Arc<Lock>,
}

/// A connection in use. It holds the store's lock, so that a read which outlives the store keeps
/// others from opening it.
struct InUse {
    db: Connection,
    _lock: Arc<Lock>,
}

impl Readers {
    pub(super) fn new(path: PathBuf, most: usize, lock: Arc<Lock>) -> Self {
        let idle = Idle { connections: Vec::new(), lock };
        Self { path, room: Arc::new(Semaphore::new(most.max(1))), idle: Mutex::new(Some(idle)) }
    }

    /// Runs `read` with a connection, on a thread that may block.
    ///
    /// Waiting for a connection is a task of its own: a caller that is not polled for a while, as a
    /// slow watch is not, must not sit on a connection or on its turn.
    pub(super) async fn read<T, F>(self: &Arc<Self>, read: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let readers = Arc::clone(self);
        let reading = tokio::spawn(async move {
            let room = Arc::clone(&readers.room).acquire_owned().await;
            let room = room.map_err(|_| Error::Closed)?;
            let run = move || {
                let result = readers.run(read);
                drop(room);
                result
            };
            task::spawn_blocking(run).await.unwrap_or_else(failed)
        });
        reading.await.unwrap_or_else(failed)
    }

    /// Closes the connections, those in use when they come back.
    pub(super) fn close(&self) {
        self.room.close();
        self.idle().take();
    }

    fn run<T>(&self, read: impl FnOnce(&mut Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut used = self.take()?;
        let result = read(&mut used.db).map_err(|error| of_store(&self.path, error.into()));
        if let Some(idle) = self.idle().as_mut() {
            idle.connections.push(used.db);
        }
        result
    }

    fn take(&self) -> Result<InUse> {
        let (db, lock) = match self.idle().as_mut() {
            Some(idle) => (idle.connections.pop(), idle.lock.clone()),
            None => return Err(Error::Closed),
        };
        let opened = db.map_or_else(|| connect::reader(&self.path), Ok);
        let db = opened.map_err(|error| of_store(&self.path, error.into()))?;
        Ok(InUse { db, _lock: lock })
    }

    fn idle(&self) -> MutexGuard<'_, Option<Idle>> {
        // The list is whole at any moment.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a read that panicked, or that the runtime no longer runs.
fn failed<T>(error: task::JoinError) -> Result<T> {
    Err(Error::Unavailable(error.into()))
}
