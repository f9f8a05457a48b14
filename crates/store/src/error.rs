//! What can go wrong, the same for every backend.

use std::path::PathBuf;

use crate::Revision;

/// The result of a store's verbs.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error of the engine below, whichever it is.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What can go wrong with a store that is open.
///
/// Unless said otherwise nothing was changed when a verb fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An expectation of a commit did not hold.
    #[error("record {key:?} is not as expected: {}", found_text(*found))]
    Conflict {
        /// The key of the first expectation that failed.
        key: String,
        /// The revision that last put the key; `None` when it is not there.
        found: Option<Revision>,
    },

    /// The revision is no longer kept; read the current state and watch from there.
    #[error("revisions before {oldest} are compacted")]
    Compacted {
        /// The oldest revision that can be read at and watched after.
        oldest: Revision,
    },

    /// The revision has not happened yet: it comes from another store, or from one that was lost.
    #[error("revision {asked} is in the future, the store is at {current}")]
    FutureRevision {
        /// The revision asked for.
        asked: Revision,
        /// The revision the store is at.
        current: Revision,
    },

    /// A commit writes a key twice.
    #[error("key {key:?} is written more than once in one commit")]
    DuplicateKey {
        /// The key.
        key: String,
    },

    /// A request breaks the [`limits`](crate::limits).
    #[error("the store cannot take this: {reason}")]
    Invalid {
        /// Which limit, and by how much.
        reason: String,
    },

    /// There is no room for the commit; reading goes on. Free some, or delete and compact.
    #[error("the store is full: no room on its disk, or its own size limit is reached")]
    Full(#[source] Cause),

    /// A commit may or may not have been made: the disk or the connection failed in the middle.
    /// Read the records to know.
    #[error("the outcome of the commit is not known")]
    Uncertain(#[source] Cause),

    /// The stored data is damaged.
    #[error("the store {path} is damaged; stop hull and run `hull backup restore FILE`")]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What the engine said.
        #[source]
        source: Cause,
    },

    /// A backup could not be written; nothing is left at its path.
    #[error("cannot write the backup {path}")]
    Backup {
        /// Where the backup was to go.
        path: PathBuf,
        /// Why it did not.
        #[source]
        source: Cause,
    },

    /// The engine did not answer, or refuses to go on after a disk error.
    #[error("the store is not available")]
    Unavailable(#[source] Cause),

    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

fn found_text(found: Option<Revision>) -> String {
    match found {
        Some(revision) => format!("it was last changed at revision {revision}"),
        None => "it does not exist".into(),
    }
}
