//! Changing records.

use bytes::Bytes;

use crate::{Error, Result, Revision, limits};

/// A change of any number of keys, made completely or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// What has to be so for the writes to be made; checked in order, the first failure is told.
    pub expect: Vec<Expect>,
    /// What to write, each key at most once; watchers see the events in this order.
    pub writes: Vec<Write>,
    /// When it is on the disk.
    pub durability: Durability,
}

/// When a commit is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged.
    #[default]
    Synced,
    /// Soon after: with the next commit that is synced, at the latest. The death of the process
    /// loses nothing; the death of the machine may lose it and all deferred commits after it, never
    /// one in the middle. For what can be found out again. A backend may take it for `Synced`.
    Deferred,
}

impl Commit {
    /// A commit of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an expectation.
    #[must_use]
    pub fn expect(mut self, expect: Expect) -> Self {
        self.expect.push(expect);
        self
    }

    /// Adds a put.
    #[must_use]
    pub fn put(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { key: key.into(), value: value.into() });
        self
    }

    /// Adds a deletion.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.writes.push(Write::Delete { key: key.into() });
        self
    }

    /// Makes it one that need not be on the disk when it is acknowledged.
    #[must_use]
    pub fn deferred(mut self) -> Self {
        self.durability = Durability::Deferred;
        self
    }

    /// Whether the commit is one that a store takes: see [`limits`]. Backends call this first.
    ///
    /// # Errors
    /// [`Error::DuplicateKey`] or [`Error::Invalid`].
    pub fn validate(&self) -> Result<()> {
        limits::check(self)?;
        let mut keys: Vec<&str> = self.writes.iter().map(Write::key).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::DuplicateKey { key: pair[0].to_owned() }),
            None => Ok(()),
        }
    }
}

/// What a commit expects of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// The key; it need not be one that is written.
    pub key: String,
    /// The state it has to be in.
    pub expected: Expected,
}

impl Expect {
    /// The key must not be there.
    #[must_use]
    pub fn absent(key: impl Into<String>) -> Self {
        Self { key: key.into(), expected: Expected::Absent }
    }

    /// The key must be there.
    #[must_use]
    pub fn exists(key: impl Into<String>) -> Self {
        Self { key: key.into(), expected: Expected::Exists }
    }

    /// The key must be there, last put at `revision`.
    #[must_use]
    pub fn modified_at(key: impl Into<String>, revision: Revision) -> Self {
        Self { key: key.into(), expected: Expected::ModifiedAt(revision) }
    }
}

/// The state a key has to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Not there.
    Absent,
    /// There.
    Exists,
    /// There, and last put at this revision. No record has [`Revision::ZERO`], so that never holds.
    ModifiedAt(Revision),
}

impl Expected {
    /// Whether a key last put at `found` (`None`: not there) is in this state.
    #[must_use]
    pub fn holds(self, found: Option<Revision>) -> bool {
        match self {
            Self::Absent => found.is_none(),
            Self::Exists => found.is_some(),
            Self::ModifiedAt(revision) => found == Some(revision),
        }
    }
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Makes the key or replaces its value; also the same value again is a change.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Bytes,
    },
    /// Removes the key; of a key that is not there it changes nothing.
    Delete {
        /// The key.
        key: String,
    },
}

impl Write {
    /// The key it changes.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }

    /// Bytes of key and value.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Put { key, value } => key.len() + value.len(),
            Self::Delete { key } => key.len(),
        }
    }
}
