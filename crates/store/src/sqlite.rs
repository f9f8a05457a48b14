//! The store of one machine: a SQLite file.
//!
//! ```text
//! commit ──queue──> writer thread ──one transaction, one fsync for all that waits──> file
//!                        └──> feed (a bounded window of what just happened) ──> watches
//! range, late watches ──> reader connections ──> file
//! ```
//!
//! - `writer` owns the only connection that writes; `apply` makes one commit, `retention` decides
//!   what history is old, `sweep` deletes it a little at a time.
//! - `feed` holds the newest changes for watches that keep up; `replay` reads older ones from the
//!   file for those that do not; `watcher` is the stream over both.
//! - `open`, `backup` and `restore` deal with the file as a whole. Only one process has it open:
//!   `lock`.
//!
//! Invariant: nothing is acknowledged or shown to a watch before it is synced to disk.

mod apply;
mod backup;
mod bounds;
mod config;
mod connect;
mod error;
mod feed;
mod lock;
mod open;
mod paths;
mod query;
mod readers;
mod replay;
mod restore;
mod retention;
mod schema;
mod store;
mod sweep;
mod watcher;
mod writer;

pub use config::{Clock, Config, History};
pub use error::FileError;
pub use restore::{Restored, restore};
pub use store::SqliteStore;
