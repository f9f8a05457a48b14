//! Reading records by key.

use crate::{Record, Revision};

/// Which records to read. The three bounds hold together; the default asks for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeRequest {
    /// Only keys that begin with this; empty for all.
    pub prefix: String,
    /// Only keys at or after this; empty for all.
    pub start: String,
    /// Only keys before this; `None` for no upper bound.
    pub end: Option<String>,
    /// At most this many records; `Some(0)` for none at all, which with `count` only counts.
    pub limit: Option<usize>,
    /// Read the state as it was at this revision instead of the current one.
    pub at: Option<Revision>,
    /// Leave the values empty.
    pub keys_only: bool,
    /// Also tell how many records the range holds, whatever the limit.
    pub count: bool,
}

impl RangeRequest {
    /// Everything in the store.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Exactly one key.
    #[must_use]
    pub fn key(key: impl Into<String>) -> Self {
        let start = key.into();
        let end = Some(just_after(&start));
        Self { start, end, ..Self::default() }
    }

    /// All keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Sets `start` so that reading goes on behind `key`, the last one of the page before.
    ///
    /// Set [`RangeRequest::at`] to the first page's revision, or the pages are of different states.
    #[must_use]
    pub fn after(mut self, key: &str) -> Self {
        self.start = just_after(key);
        self
    }

    /// Sets the greatest number of records.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the revision to read at.
    #[must_use]
    pub fn at(mut self, revision: Revision) -> Self {
        self.at = Some(revision);
        self
    }

    /// Leaves the values out.
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Asks for the number of records too.
    #[must_use]
    pub fn count(mut self) -> Self {
        self.count = true;
        self
    }
}

/// What a range holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeReply {
    /// The records in the order of their keys' bytes.
    pub records: Vec<Record>,
    /// Whether the limit left records out.
    pub more: bool,
    /// The revision whose state this is: the one asked for, else the current one. A watch after it
    /// goes on from here without a gap.
    pub revision: Revision,
    /// How many records the range holds in all; `Some` exactly when asked for.
    pub count: Option<u64>,
}

/// The smallest key greater than `key`.
fn just_after(key: &str) -> String {
    format!("{key}\0")
}
