//! What control and agent say to each other.
//!
//! Two directions, and no third. Control tells a node its whole [`Desired`] set with a generation,
//! and the node answers with [`Report`]s of what it saw: that is [`ControlPort`]. What cannot be
//! said by a record (bytes of a log, a terminal, a pull's progress) is asked of the node directly
//! through [`NodePort`]; nothing there changes what is desired.
//!
//! On one machine both ends are in one process and the traits are called directly; a cluster puts a
//! wire between them. Nothing in the signatures may therefore borrow from the other side.

pub mod build;
pub mod console;
pub mod desired;
pub mod image;
pub mod instance;
pub mod machine;
pub mod report;
pub mod session;
pub mod snapshot;
pub mod stacks;
pub mod storage;

use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use model::Result;
use tokio::sync::watch;

pub use build::BuildCalls;
pub use console::{ConsoleCalls, Display};
pub use desired::{Desired, NameEntry, ServiceLinks};
pub use image::ImageCalls;
pub use instance::InstanceCalls;
pub use machine::MachineCalls;
pub use report::Report;
pub use session::{Input, Output, Session};
pub use snapshot::SnapshotCalls;
pub use storage::StorageCalls;

/// A stream of results that can cross tasks. It is read by one reader and ends after an error.
pub type ResultStream<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// A stream of bytes: an archive, an export.
pub type ByteStream = ResultStream<Bytes>;

/// What a node asks of control.
#[async_trait]
pub trait ControlPort: Send + Sync {
    /// The node's desired set, now and whenever it changes. The sender may skip states in between;
    /// each one is whole.
    fn desired(&self, node: &str) -> watch::Receiver<Arc<Desired>>;

    /// Takes in what the node saw. Reports about objects that are gone are dropped silently; a
    /// report that is repeated changes nothing. When this returns, the reports are stored.
    async fn report(&self, node: &str, reports: Vec<Report>) -> Result<()>;
}

/// What control asks of a node.
pub trait NodePort:
    InstanceCalls + ConsoleCalls + SnapshotCalls + ImageCalls + BuildCalls + MachineCalls + StorageCalls
{
}

impl<T> NodePort for T where
    T: InstanceCalls
        + ConsoleCalls
        + SnapshotCalls
        + ImageCalls
        + BuildCalls
        + MachineCalls
        + StorageCalls
{
}
