//! The contract.

use std::path::Path;

use async_trait::async_trait;

use crate::{
    Commit, RangeReply, RangeRequest, Record, Result, Revision, Stats, WatchRequest, WatchStream,
};

/// Revisioned records with etcd's semantics.
///
/// Every verb may be called from any task. Reads see each commit that was acknowledged before they
/// began (they are linearizable). [`conformance`](crate::conformance) spells the contract out.
#[async_trait]
pub trait Store: Send + Sync {
    /// Reads the records of a range, all of one state.
    ///
    /// # Errors
    /// [`Error::Compacted`](crate::Error::Compacted) and
    /// [`Error::FutureRevision`](crate::Error::FutureRevision) when `at` cannot be read at.
    async fn range(&self, request: RangeRequest) -> Result<RangeReply>;

    /// Checks the expectations, makes the writes, and returns their revision once they are durable,
    /// or, when the commit says so, a little before ([`Durability`](crate::Durability)).
    ///
    /// A commit that changes nothing (no writes, or deletions of keys that are not there) checks its
    /// expectations and returns the current revision without making a new one. A caller that gives
    /// up waiting does not take the commit back.
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict),
    /// [`Error::DuplicateKey`](crate::Error::DuplicateKey),
    /// [`Error::Invalid`](crate::Error::Invalid), [`Error::Full`](crate::Error::Full): nothing was
    /// changed. [`Error::Uncertain`](crate::Error::Uncertain): read to know.
    async fn commit(&self, commit: Commit) -> Result<Revision>;

    /// Delivers every change after a revision: what has happened, then what happens.
    ///
    /// Each change comes exactly once, in the order of revisions, all changes of one revision in
    /// one batch. A watcher that is slow costs neither commits nor memory: what it has not taken is
    /// read again from the history, and when that is compacted the stream gives
    /// [`Error::Compacted`](crate::Error::Compacted) and ends. A watcher that has taken everything
    /// of its prefix and waits for more is never cut off by compaction.
    ///
    /// # Errors
    /// [`Error::Compacted`](crate::Error::Compacted) when changes after `after` are gone (a backend
    /// may still serve the one revision before the oldest),
    /// [`Error::FutureRevision`](crate::Error::FutureRevision) when `after` has not happened yet.
    async fn watch(&self, request: WatchRequest) -> Result<WatchStream>;

    /// Forgets what was replaced or deleted at or before revision `before`: older states can no
    /// longer be read, the state at `before` itself can. Returns when that is durable; the space is
    /// made free behind it. Doing it again, or with an older revision, changes nothing.
    ///
    /// # Errors
    /// [`Error::FutureRevision`](crate::Error::FutureRevision) when `before` has not happened yet.
    async fn compact(&self, before: Revision) -> Result<()>;

    /// The current revision: that of the last commit which changed something.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) or [`Error::Closed`](crate::Error::Closed).
    async fn current(&self) -> Result<Revision>;

    /// Writes a copy of one state of the store to the new file `path`, readable by its owner only,
    /// while the store is in use. Returns the revision of that state.
    ///
    /// # Errors
    /// [`Error::Backup`](crate::Error::Backup), also when `path` is there already.
    async fn backup(&self, path: &Path) -> Result<Revision>;

    /// How the store is doing. Counts records, so it is for people and metrics, not for loops.
    ///
    /// # Errors
    /// [`Error::Unavailable`](crate::Error::Unavailable) or [`Error::Closed`](crate::Error::Closed).
    async fn stats(&self) -> Result<Stats>;

    /// Reads one record, `None` when it is not there.
    ///
    /// # Errors
    /// Those of [`Store::range`].
    async fn get(&self, key: &str) -> Result<Option<Record>> {
        Ok(self.range(RangeRequest::key(key)).await?.records.pop())
    }
}
