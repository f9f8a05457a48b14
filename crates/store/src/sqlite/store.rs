//! The store.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use async_trait::async_trait;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task,
};

use super::{
    Config, FileError, backup,
    feed::Feed,
    open::{self, Opened},
    paths::Paths,
    query,
    readers::Readers,
    schema::{self, Meta},
    watcher::Watcher,
    writer::{Job, Task, Writer},
};
use crate::{
    Commit, Error, RangeReply, RangeRequest, Result, Revision, Stats, Store, WatchRequest,
    WatchStream,
};

/// Bytes of commits that may wait for the writer; who comes later waits before queueing.
const WAITING_BYTES: usize = 32 << 20;

/// What a job takes beside its keys and values, in bytes.
const JOB_BYTES: usize = 512;

/// A [`Store`] in one SQLite file.
///
/// Dropping it ends its watches and waits until everything asked for is written; that takes a few
/// milliseconds. To wait without blocking the runtime use [`SqliteStore::close`].
#[derive(Debug)]
pub struct SqliteStore {
    paths: Paths,
    feed: Arc<Feed>,
    readers: Arc<Readers>,
    room: Arc<Semaphore>,
    /// `None` only while being dropped.
    jobs: Option<mpsc::UnboundedSender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl SqliteStore {
    /// Opens the store at `config.path`, and makes it when it is not there. An existing one is
    /// checked first, which reads the whole file.
    ///
    /// # Errors
    /// Every kind of [`FileError`].
    pub async fn open(config: Config) -> Result<Self, FileError> {
        let path = config.path.clone();
        let opening = task::spawn_blocking(move || Self::open_now(&config));
        opening.await.unwrap_or_else(|failed| {
            Err(FileError::Engine { action: "open", path, source: failed.into() })
        })
    }

    fn open_now(config: &Config) -> Result<Self, FileError> {
        let opened = open::open(config)?;
        let Opened { meta, ref paths, ref lock, .. } = opened;
        let paths = paths.clone();
        let readers = Readers::new(config.path.clone(), config.readers, lock.clone());
        let feed = Arc::new(Feed::new(config.window_bytes, meta.revision));
        let (jobs, waiting) = mpsc::unbounded_channel();
        let writer = Writer::new(opened, config, feed.clone(), waiting)
            .map_err(FileError::engine("read", &config.path))?;
        let writer = thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run())
            .map_err(FileError::io("start a thread for", &config.path))?;
        Ok(Self {
            paths,
            feed,
            readers: Arc::new(readers),
            room: Arc::new(Semaphore::new(WAITING_BYTES)),
            jobs: Some(jobs),
            writer: Some(writer),
        })
    }

    /// The store's file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.paths.db
    }

    /// Ends the watches, waits until everything asked for is written, and lets go of the file.
    pub async fn close(self) {
        // It has nothing to report: what was asked for has been answered.
        let _ = task::spawn_blocking(move || drop(self)).await;
    }

    /// Has the writer do something, and waits for its answer.
    async fn ask(&self, task: Task, bytes: usize) -> Result<Revision> {
        let bytes = u32::try_from(bytes + JOB_BYTES).unwrap_or(u32::MAX);
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or(Error::Closed)?;
        match Arc::clone(&self.room).try_acquire_many_owned(bytes) {
            // If the thread has ended, the reply is dropped and so tells.
            Ok(room) => drop(jobs.send(Job { task, reply, room })),
            Err(_) => {
                let (room, jobs) = (Arc::clone(&self.room), jobs.downgrade());
                tokio::spawn(wait_for_room(room, bytes, jobs, task, reply));
            }
        }
        // Without an answer the thread ended in the middle.
        answer.await.unwrap_or_else(|lost| Err(Error::Uncertain(lost.into())))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn range(&self, request: RangeRequest) -> Result<RangeReply> {
        self.readers.read(move |db| query::range(db, &request)).await?
    }

    async fn commit(&self, commit: Commit) -> Result<Revision> {
        commit.validate()?;
        let expected: usize = commit.expect.iter().map(|expect| expect.key.len()).sum();
        let written: usize = commit.writes.iter().map(crate::Write::weight).sum();
        self.ask(Task::Commit(commit), expected + written).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream> {
        // Asked of the file, not of the feed: a commit is there a moment before the feed shows it,
        // and the caller may have read it there.
        let meta = self.readers.read(|db| Meta::load(db)).await?;
        meta.readable(request.after)?;
        Ok(Watcher::new(request, self.feed.clone(), self.readers.clone()).stream())
    }

    async fn compact(&self, before: Revision) -> Result<()> {
        self.ask(Task::Compact(before), 0).await.map(drop)
    }

    async fn current(&self) -> Result<Revision> {
        Ok(self.feed.published())
    }

    async fn backup(&self, path: &Path) -> Result<Revision> {
        let (from, to): (PathBuf, PathBuf) = (self.paths.db.clone(), path.into());
        let copied = self.readers.read(move |_| Ok(backup::backup(&from, &to))).await?;
        copied.map_err(|source| Error::Backup { path: path.into(), source: source.into() })
    }

    async fn stats(&self) -> Result<Stats> {
        let mut stats = self.readers.read(|db| stats(db)).await?;
        stats.bytes = self.paths.bytes();
        (stats.watches, stats.watches_behind) = self.feed.watches();
        Ok(stats)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.feed.close();
        self.readers.close();
        self.jobs.take();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.paths.db.display(), "store writer panicked");
        }
    }
}

/// Queues a job when there is room for it. This is a task of its own, for a caller that is not
/// polled for a while would hold up everyone who waits behind it.
async fn wait_for_room(
    room: Arc<Semaphore>,
    bytes: u32,
    jobs: mpsc::WeakUnboundedSender<Job>,
    task: Task,
    reply: oneshot::Sender<Result<Revision>>,
) {
    let room = room.acquire_many_owned(bytes).await;
    let (Ok(room), Some(jobs)) = (room, jobs.upgrade()) else {
        // Who asked may have gone, and then it does not matter.
        let _ = reply.send(Err(Error::Closed));
        return;
    };
    if !reply.is_closed() {
        drop(jobs.send(Job { task, reply, room }));
    }
}

/// What the file tells.
fn stats(db: &rusqlite::Connection) -> rusqlite::Result<Stats> {
    let snapshot = db.unchecked_transaction()?;
    let Meta { revision, compacted, .. } = Meta::load(&snapshot)?;
    let count = |sql| snapshot.query_one(sql, [], |row| schema::unsigned(row, 0));
    Ok(Stats {
        revision,
        oldest: compacted,
        records: count("SELECT count(*) FROM live")?,
        history: count("SELECT count(*) FROM history")?,
        free_bytes: count("PRAGMA freelist_count")? * count("PRAGMA page_size")?,
        ..Stats::default()
    })
}
