//! One key with its value.

use bytes::Bytes;

use crate::Revision;

/// One key with its value and where both come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name, unique in the store; records are ordered by its UTF-8 bytes.
    pub key: String,
    /// What was put; empty when read with [`RangeRequest::keys_only`](crate::RangeRequest).
    pub value: Bytes,
    /// The revision that made the key, or made it again after a deletion.
    pub created: Revision,
    /// The revision that put this value.
    pub modified: Revision,
    /// How many times the key was put since it was created; 1 for a new one.
    pub version: u64,
}

impl Record {
    /// Bytes this record holds in memory, for budgets.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.len()
    }
}
