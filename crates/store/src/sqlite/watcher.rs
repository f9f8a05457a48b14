//! The stream of one watch.

use std::{collections::VecDeque, sync::Arc};

use futures::{StreamExt, stream};
use tokio::sync::Notify;

use super::{
    feed::{Feed, Next, WatchId},
    readers::Readers,
    replay::{self, Replay},
};
use crate::{Error, Result, Revision, WatchBatch, WatchRequest, WatchStream};

/// One watch: it pulls from the feed, and from the file what the feed no longer has.
pub(super) struct Watcher {
    prefix: String,
    feed: Arc<Feed>,
    readers: Arc<Readers>,
    id: WatchId,
    wake: Arc<Notify>,
    /// Read from the file, not delivered yet; at most one reading.
    read: VecDeque<WatchBatch>,
}

impl Watcher {
    pub(super) fn new(request: WatchRequest, feed: Arc<Feed>, readers: Arc<Readers>) -> Self {
        let WatchRequest { prefix, after } = request;
        let (id, wake) = feed.subscribe(&prefix, after);
        Self { prefix, feed, readers, id, wake, read: VecDeque::new() }
    }

    /// The watch as a stream; an error is its last item.
    pub(super) fn stream(self) -> WatchStream {
        stream::try_unfold(self, |mut watcher| async move {
            let batch = watcher.next().await?;
            Ok(Some((batch, watcher)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<WatchBatch> {
        loop {
            if let Some(batch) = self.read.pop_front() {
                return Ok(batch);
            }
            match self.feed.next(self.id) {
                Next::Deliver(batch) => return Ok(batch),
                Next::ReadAfter(revision) => self.read_after(revision).await?,
                Next::Wait => self.wake.notified().await,
                Next::Closed => return Err(Error::Closed),
            }
        }
    }

    async fn read_after(&mut self, revision: Revision) -> Result<()> {
        let prefix = self.prefix.clone();
        let read = move |db: &mut _| replay::replay(db, &prefix, revision);
        let Replay { batches, through } = self.readers.read(read).await??;
        self.read = batches.into();
        self.feed.advance(self.id, through);
        Ok(())
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.feed.unsubscribe(self.id);
    }
}
