//! The number of a change.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a change: one counter for the whole store, never reused and never going back.
///
/// An empty store is at revision 1 (as in etcd), its first commit makes revision 2. Numbers may be
/// left out (a restore leaves out a billion), so two revisions can be compared but their difference
/// counts nothing. They stay below 2^53, so JSON readers that know only doubles keep them exact.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// Before everything: no record was ever made at it, and a watch after it replays all there is.
    pub const ZERO: Self = Self(0);

    /// The revision of a store that was never written to.
    pub const FIRST: Self = Self(1);

    /// The number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number before this one; [`Revision::ZERO`] stays what it is.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
