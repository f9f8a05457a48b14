//! How a store is doing.

use crate::Revision;

/// How a store is doing, for `hull status` and the metrics page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The current revision.
    pub revision: Revision,
    /// The oldest revision that can be read at and watched after.
    pub oldest: Revision,
    /// Records there are now.
    pub records: u64,
    /// Records and deletions kept in all, those of the past included.
    pub history: u64,
    /// Bytes on disk, unmerged logs included.
    pub bytes: u64,
    /// Bytes of those that hold nothing and are used next.
    pub free_bytes: u64,
    /// Watches that are open.
    pub watches: u64,
    /// Watches that have changes waiting for them.
    pub watches_behind: u64,
}
