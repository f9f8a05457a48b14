//! Hearing of changes.

use futures::stream::BoxStream;

use crate::{Record, Result, Revision};

/// What to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchRequest {
    /// Only keys that begin with this; empty for all.
    pub prefix: String,
    /// Deliver what changed after this revision: that of a [`RangeReply`](crate::RangeReply) or of
    /// the last [`WatchBatch`] seen. [`Revision::ZERO`] replays everything, if nothing is compacted.
    pub after: Revision,
}

impl WatchRequest {
    /// Watches the keys that begin with `prefix` for changes after `after`.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>, after: Revision) -> Self {
        Self { prefix: prefix.into(), after }
    }
}

/// A watch: see [`Store::watch`](crate::Store::watch). Drop it to end it.
pub type WatchStream = BoxStream<'static, Result<WatchBatch>>;

/// All watched changes of one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// The revision that made the changes.
    pub revision: Revision,
    /// The changes in the order they were written in the commit; never empty.
    pub events: Vec<Event>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was put.
    Put {
        /// What it is now.
        record: Record,
        /// What it was before; `None` when the key is new.
        prev: Option<Record>,
    },
    /// The key was deleted.
    Delete {
        /// The key.
        key: String,
        /// What it was before; `None` only where a backend no longer knows.
        prev: Option<Record>,
    },
}

impl Event {
    /// The key that changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { record, .. } => &record.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// Bytes this event holds in memory, for budgets.
    pub(crate) fn weight(&self) -> usize {
        let (now, prev) = match self {
            Self::Put { record, prev } => (record.weight(), prev),
            Self::Delete { key, prev } => (size_of::<String>() + key.len(), prev),
        };
        now + prev.as_ref().map_or(0, Record::weight)
    }
}
