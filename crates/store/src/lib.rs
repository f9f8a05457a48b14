//! Revisioned records: what the control plane remembers, and how it hears of changes.
//!
//! The semantics are etcd's: one counter numbers every change of the whole store, a commit of many
//! keys is all or nothing and has one revision, states of the past can be read until they are
//! compacted, and a watch replays history and goes on live without a gap.
//!
//! Start at [`Store`], the contract. [`sqlite::SqliteStore`] keeps it in one file on one machine.
//! [`conformance`] is the suite that every backend has to pass.
//!
//! Deliberately absent: what the records mean. Keys are plain strings and values plain bytes here;
//! nouns, their encoding and their validation live above.

pub mod conformance;
pub mod limits;
pub mod sqlite;

mod commit;
mod error;
mod range;
mod record;
mod revision;
mod stats;
mod store;
mod watch;

pub use commit::{Commit, Durability, Expect, Expected, Write};
pub use error::{Cause, Error, Result};
pub use range::{RangeReply, RangeRequest};
pub use record::Record;
pub use revision::Revision;
pub use stats::Stats;
pub use store::Store;
pub use watch::{Event, WatchBatch, WatchRequest, WatchStream};
