//! What containers print, kept while nobody of ours is alive to read it.
//!
//! Each container's output goes to a process of its own, the [`driver`], through pipes that it and
//! the container hold: neither our daemon nor containerd is in between, so their death loses,
//! reorders and blocks nothing. The driver writes [records](record) to files of bounded size and
//! number ([`files`]); a [`Reader`] follows them, also long after.
//!
//! The driver holds a lock (flock(2)) while it lives: as long as it does, more may come.

pub mod driver;
pub mod files;
mod reader;
pub mod record;
mod stamp;
mod tail;
mod watch;
mod writer;

pub use reader::{ReadOptions, Reader, kept};
pub use record::{LogRecord, Stream};
pub use writer::Writer;
