//! The thread that writes.
//!
//! It takes all jobs that wait, up to a limit, runs them in one transaction and syncs once; then
//! the changes are shown to watches and the callers get their answers. While it syncs the next jobs
//! gather, so that there is no waiting for company. When nothing waits it cleans up.

use std::sync::Arc;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{OwnedSemaphorePermit, mpsc, mpsc::error::TryRecvError, oneshot};

use super::{
    Config, apply, connect,
    error::{Fault, of_store},
    feed::Feed,
    lock::Lock,
    open::Opened,
    paths::{self, Paths},
    retention::Retention,
    schema::Meta,
    sweep::sweep,
};
use crate::{Commit, Durability, Error, Result, Revision, WatchBatch};

/// Most jobs, and most bytes of them, in one transaction.
const GROUP_JOBS: usize = 512;
const GROUP_BYTES: usize = 8 << 20;

/// Compacted rows gone through in the transaction of a group, for each job in it, and in one of
/// their own when there is nothing else to do.
const SWEEP_PER_JOB: usize = 8;
const SWEEP_IDLE: usize = 1024;

/// Unused pages are given back when they are more than this and than a quarter of the file.
const UNUSED_PAGES: i64 = 1024;
/// Pages given back at a time.
const RETURNED_PAGES: i64 = 256;

/// A log of this many bytes means that readers have kept it from being used anew: wait for them.
const LONG_LOG_BYTES: u64 = 64 << 20;

/// What the thread is asked to do.
#[derive(Debug)]
pub(super) struct Job {
    pub task: Task,
    /// Where the answer goes; who asked may have gone.
    pub reply: oneshot::Sender<Result<Revision>>,
    /// The job's part of the memory that all waiting jobs may take.
    pub room: OwnedSemaphorePermit,
}

/// The kinds of jobs.
#[derive(Debug)]
pub(super) enum Task {
    Commit(Commit),
    Compact(Revision),
}

/// The thread's state.
pub(super) struct Writer {
    db: Connection,
    meta: Meta,
    paths: Paths,
    feed: Arc<Feed>,
    retention: Retention,
    jobs: mpsc::UnboundedReceiver<Job>,
    /// Whether there may be something to clean up.
    chores: bool,
    /// Bytes of the log at which to wait for its readers.
    long_log: u64,
    /// Set when the disk failed. The kernel may have dropped what it could not sync, so a later
    /// sync that succeeds would prove nothing: no more is written until the store is opened anew.
    failed: bool,
    /// Whether transactions are synced; see [`connect::sync_commits`].
    synced: bool,
    _lock: Arc<Lock>,
}

impl Writer {
    pub(super) fn new(
        opened: Opened,
        config: &Config,
        feed: Arc<Feed>,
        jobs: mpsc::UnboundedReceiver<Job>,
    ) -> rusqlite::Result<Self> {
        let Opened { db, meta, paths, lock } = opened;
        let retention = Retention::load(config.history.clone(), config.clock.clone(), &db)?;
        Ok(Self {
            db,
            meta,
            paths,
            feed,
            retention,
            jobs,
            chores: true,
            long_log: LONG_LOG_BYTES,
            failed: false,
            synced: true,
            _lock: lock,
        })
    }

    /// Works until nobody can ask any more and all that was asked is answered.
    pub(super) fn run(mut self) {
        while let Some(jobs) = self.next_jobs() {
            if jobs.is_empty() {
                self.clean_up();
            } else {
                self.serve(jobs);
                self.chores = !self.failed;
            }
        }
    }

    /// The jobs that wait, up to the limit; waits for one when there are no chores. `None` at the
    /// end.
    fn next_jobs(&mut self) -> Option<Vec<Job>> {
        let first = if self.chores { self.jobs.try_recv() } else { self.wait() };
        let mut jobs = match first {
            Ok(job) => vec![job],
            Err(TryRecvError::Empty) => return Some(Vec::new()),
            Err(TryRecvError::Disconnected) => return None,
        };
        let mut bytes = jobs[0].room.num_permits();
        while jobs.len() < GROUP_JOBS && bytes < GROUP_BYTES {
            let Ok(job) = self.jobs.try_recv() else { break };
            bytes += job.room.num_permits();
            jobs.push(job);
        }
        Some(jobs)
    }

    fn wait(&mut self) -> Result<Job, TryRecvError> {
        self.jobs.blocking_recv().ok_or(TryRecvError::Disconnected)
    }

    fn serve(&mut self, jobs: Vec<Job>) {
        let written = if self.failed { Err(Failure::Earlier) } else { self.write(&jobs) };
        match written {
            Ok(Group { meta, answers, batches }) => {
                self.meta = meta;
                self.feed.publish(batches);
                for (job, answer) in jobs.into_iter().zip(answers) {
                    job.answer(answer);
                }
                self.cut_long_log();
            }
            // One may have been too big and taken the others with it.
            Err(failure) if failure.is_full() && jobs.len() > 1 => {
                for job in jobs {
                    self.serve(vec![job]);
                }
            }
            Err(failure) => {
                self.note(&failure);
                for job in jobs {
                    job.answer(Err(failure.error(&self.paths)));
                }
            }
        }
    }

    /// Runs the jobs in one transaction, and syncs it if one of them has to be on the disk.
    fn write(&mut self, jobs: &[Job]) -> Result<Group, Failure> {
        self.sync_from_now_on(jobs.iter().any(Job::is_synced)).map_err(Failure::before)?;
        let mut tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Failure::before)?;
        let mut group = Group::new(self.meta);
        group.run(&mut tx, jobs, &mut self.retention).map_err(Failure::before)?;
        if group.meta != self.meta {
            tx.commit().map_err(Failure::at_commit)?;
        }
        Ok(group)
    }

    fn sync_from_now_on(&mut self, on: bool) -> rusqlite::Result<()> {
        if self.synced != on {
            connect::sync_commits(&self.db, on)?;
            self.synced = on;
        }
        Ok(())
    }

    fn note(&mut self, failure: &Failure) {
        if failure.is_final() && !self.failed {
            self.failed = true;
            let (error, path) = (failure.error(&self.paths), self.paths.db.display());
            tracing::error!(cause = ?error, %path, "store failed, refusing commits until restart");
        }
    }

    /// One step of the work that is done when there are no jobs.
    fn clean_up(&mut self) {
        let step = if self.meta.sweep_is_due() { self.sweep() } else { self.return_pages() };
        match step {
            Ok(more) => self.chores = more,
            Err(failure) => {
                self.chores = false; // until there are jobs again
                self.note(&failure);
                tracing::warn!(cause = ?failure.error(&self.paths), "store cannot be cleaned up");
            }
        }
    }

    fn sweep(&mut self) -> Result<bool, Failure> {
        let tx = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(Failure::before)?;
        let mut meta = self.meta;
        sweep(&tx, &mut meta, SWEEP_IDLE).and_then(|()| meta.save(&tx)).map_err(Failure::before)?;
        tx.commit().map_err(Failure::at_commit)?;
        self.meta = meta;
        Ok(true)
    }

    /// Gives some unused pages back to the file system. Returns whether there may be more.
    fn return_pages(&self) -> Result<bool, Failure> {
        let count = |pragma| self.db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        let unused = count("freelist_count").map_err(Failure::before)?;
        let pages = count("page_count").map_err(Failure::before)?;
        if unused <= UNUSED_PAGES || unused <= pages / 4 {
            return Ok(false);
        }
        self.db
            .execute_batch(&format!("PRAGMA incremental_vacuum({RETURNED_PAGES})"))
            .map_err(Failure::at_commit)?;
        Ok(true)
    }

    /// A log is used anew when no reader is in it. Under readers without pause that never comes by
    /// itself, so here the writer waits for it: new readers no longer need the log then.
    fn cut_long_log(&mut self) {
        let bytes = paths::size(&self.paths.wal).unwrap_or(0);
        if bytes < self.long_log {
            return;
        }
        let cut = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = self.db.query_row(cut, [], |row| row.get::<_, i64>(0)).unwrap_or(1) != 0;
        self.long_log = if busy { bytes * 2 } else { LONG_LOG_BYTES };
    }
}

impl Job {
    /// It has to be on the disk when it is answered.
    fn is_synced(&self) -> bool {
        match &self.task {
            Task::Commit(commit) => commit.durability == Durability::Synced,
            Task::Compact(_) => true,
        }
    }

    fn answer(self, answer: Result<Revision>) {
        // Who asked may have stopped waiting.
        let _ = self.reply.send(answer);
    }
}

/// What a transaction has done so far.
struct Group {
    meta: Meta,
    answers: Vec<Result<Revision>>,
    batches: Vec<WatchBatch>,
}

impl Group {
    fn new(meta: Meta) -> Self {
        Self { meta, answers: Vec::new(), batches: Vec::new() }
    }

    fn run(
        &mut self,
        tx: &mut Transaction<'_>,
        jobs: &[Job],
        retention: &mut Retention,
    ) -> rusqlite::Result<()> {
        let before = self.meta;
        for job in jobs {
            let answer = match &job.task {
                Task::Commit(commit) => self.commit(tx, commit)?,
                Task::Compact(revision) => self.compact(*revision),
            };
            self.answers.push(answer);
        }
        if self.meta.revision > before.revision {
            retention.apply(tx, before, &mut self.meta)?;
            if self.meta.sweep_is_due() {
                sweep(tx, &mut self.meta, jobs.len() * SWEEP_PER_JOB)?;
            }
        }
        if self.meta == before { Ok(()) } else { self.meta.save(tx) }
    }

    /// Makes one commit, or leaves no trace of it. The outer error is one of all jobs.
    fn commit(
        &mut self,
        tx: &mut Transaction<'_>,
        commit: &Commit,
    ) -> rusqlite::Result<Result<Revision>> {
        if let Some(conflict) = apply::conflict(tx, &commit.expect)? {
            return Ok(Err(conflict));
        }
        let revision = self.meta.revision.next();
        let point = tx.savepoint()?;
        let events = match apply::write(&point, revision, &commit.writes) {
            Ok(events) => events,
            Err(error) => {
                // That fails when SQLite has already rolled everything back.
                let alone = point.finish().is_ok() && Fault::of(&error) == Fault::Full;
                return if alone { Ok(Err(Error::Full(error.into()))) } else { Err(error) };
            }
        };
        point.commit()?;
        if events.is_empty() {
            return Ok(Ok(self.meta.revision));
        }
        self.meta.revision = revision;
        self.meta.written += commit.writes.iter().map(|write| write.weight() as u64).sum::<u64>();
        self.batches.push(WatchBatch { revision, events });
        Ok(Ok(revision))
    }

    fn compact(&mut self, before: Revision) -> Result<Revision> {
        let Meta { revision, compacted, .. } = self.meta;
        if before > revision {
            return Err(Error::FutureRevision { asked: before, current: revision });
        }
        self.meta.compacted = compacted.max(before);
        Ok(self.meta.compacted)
    }
}

/// Why a transaction failed.
enum Failure {
    /// A statement in it did: nothing is changed.
    Before(Arc<rusqlite::Error>),
    /// Its end did: it may be on the disk or not.
    AtCommit(Arc<rusqlite::Error>),
    /// The disk failed some time ago.
    Earlier,
}

impl Failure {
    fn before(error: rusqlite::Error) -> Self {
        Self::Before(error.into())
    }

    fn at_commit(error: rusqlite::Error) -> Self {
        match Fault::of(&error) {
            // Not all of it was written, so it will not be found when the log is read.
            Fault::Full => Self::Before(error.into()),
            Fault::Damage | Fault::Disk | Fault::Other => Self::AtCommit(error.into()),
        }
    }

    /// Whether no later transaction can be relied on.
    fn is_final(&self) -> bool {
        match self {
            Self::Before(error) => matches!(Fault::of(error), Fault::Disk | Fault::Damage),
            Self::AtCommit(_) | Self::Earlier => true,
        }
    }

    /// Whether there was no room, and nothing else.
    fn is_full(&self) -> bool {
        matches!(self, Self::Before(error) if Fault::of(error) == Fault::Full)
    }

    fn error(&self, paths: &Paths) -> Error {
        match self {
            Self::Before(error) => of_store(&paths.db, error.clone()),
            Self::AtCommit(error) => Error::Uncertain(Box::new(error.clone())),
            Self::Earlier => Error::Unavailable("its disk failed; restart hull to check it".into()),
        }
    }
}
