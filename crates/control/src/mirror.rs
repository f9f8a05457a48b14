//! The store's records in memory: what every read is answered from.
//!
//! The mirror follows the store's watch. A verb that committed something waits until the mirror
//! holds its revision, so whoever wrote reads what they wrote. Changes are taken in under a lock
//! that is held for no longer than that; readers copy `Arc`s out.

mod state;
mod table;

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures::StreamExt;
use model::{Error, Kind, Result};
use store::{RangeRequest, Revision, Store, WatchBatch, WatchRequest};
use tasks::Wake;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::failure;
use crate::keys;

pub use state::{Mirrored, State};
pub use table::{Entry, Logged};

use state::{Decoded, decode};
pub(crate) use table::name_key;

/// How long to wait before the store is asked again after it failed.
const AGAIN: Duration = Duration::from_secs(1);

/// The store's records in memory.
pub(crate) struct Mirror {
    state: RwLock<State>,
    revision: watch::Sender<u64>,
    wakes: Mutex<Vec<(Vec<Kind>, Wake)>>,
    /// Cancelled when nothing is followed any more: what is waited for will not come.
    ended: CancellationToken,
}

impl Mirror {
    /// Reads everything there is.
    ///
    /// # Errors
    /// When the store fails, or holds an object that this version cannot read: going on without it
    /// would have its node take it down.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self> {
        let (changes, revision) = read_all(store).await?;
        let mut state = State::default();
        for (change, revision) in changes {
            state.apply(change, revision);
        }
        state.begin(revision);
        Ok(Self {
            state: RwLock::new(state),
            revision: watch::Sender::new(revision),
            wakes: Mutex::new(Vec::new()),
            ended: CancellationToken::new(),
        })
    }

    /// The state now. Hold it for no longer than it takes to copy something out.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes a loop whenever objects of these kinds change.
    pub(crate) fn on_change(&self, kinds: &[Kind], wake: Wake) {
        let mut wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        wakes.push((kinds.to_vec(), wake));
    }

    /// Waits until the mirror holds this revision.
    pub(crate) async fn reached(&self, revision: u64) -> Result<()> {
        let mut seen = self.revision.subscribe();
        let reached = tokio::select! {
            reached = seen.wait_for(|seen| *seen >= revision) => reached.is_ok(),
            () = self.ended.cancelled() => *self.revision.borrow() >= revision,
        };
        if reached {
            return Ok(());
        }
        Err(Error::unavailable("control is shutting down").next("try again when hull runs"))
    }

    /// Follows the store for as long as it is open. When this ends or is dropped, whoever waits
    /// for a revision is told that it will not come.
    pub(crate) async fn follow(self: Arc<Self>, store: Arc<dyn Store>) {
        let _ended = self.ended.clone().drop_guard();
        loop {
            match self.follow_once(&*store).await {
                Ok(()) => {}
                Err(store::Error::Closed) => return,
                Err(store::Error::Compacted { .. } | store::Error::FutureRevision { .. }) => {
                    if let Err(error) = self.reload(&*store).await {
                        tracing::error!(error = %error.chain(), "the store cannot be read again");
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the store's watch broke off");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn follow_once(&self, store: &dyn Store) -> store::Result<()> {
        let after = Revision(self.read().revision);
        let mut changes = store.watch(WatchRequest::prefix("", after)).await?;
        while let Some(batch) = changes.next().await {
            self.take(batch?);
        }
        Ok(())
    }

    fn take(&self, batch: WatchBatch) {
        let revision = batch.revision.0;
        let changes: Vec<_> =
            batch.events.into_iter().filter_map(|event| read_event(event, revision)).collect();
        self.apply(changes.into_iter().map(|change| (change, revision)).collect(), revision);
    }

    fn apply(&self, changes: Vec<(Decoded, u64)>, revision: u64) {
        let kinds: Vec<_> = changes.iter().filter_map(|(change, _)| change.kind()).collect();
        {
            let mut state = self.write();
            for (change, at) in changes {
                state.apply(change, at);
            }
            state.revision = revision;
            state.announce();
        }
        self.revision.send_replace(revision);
        let wakes = self.wakes.lock().unwrap_or_else(PoisonError::into_inner);
        let concerned = wakes.iter().filter(|(of, _)| of.iter().any(|kind| kinds.contains(kind)));
        concerned.for_each(|(_, wake)| wake.wake());
    }

    /// Reads everything again after the store forgot what came in between.
    async fn reload(&self, store: &dyn Store) -> Result<()> {
        let (mut changes, revision) = read_all(store).await?;
        {
            let state = self.read();
            let there: std::collections::HashSet<_> =
                changes.iter().filter_map(|(change, _)| change.id()).collect();
            let gone = state.ids().into_iter().filter(|id| !there.contains(id));
            let gone: Vec<_> = gone.map(|(kind, id)| (Decoded::Gone(kind, id), revision)).collect();
            changes.retain(|(change, at)| match change.id() {
                Some((kind, id)) => state.revision_of(kind, &id) != Some(*at),
                None => true,
            });
            changes.extend(gone);
        }
        self.apply(changes, revision);
        Ok(())
    }
}

async fn read_all(store: &dyn Store) -> Result<(Vec<(Decoded, u64)>, u64)> {
    let reply = store.range(RangeRequest::all()).await.map_err(failure::of_store)?;
    let mut changes = Vec::with_capacity(reply.records.len());
    for record in reply.records {
        let revision = record.modified.0;
        let change = decode(&record.key, &record.value, revision).map_err(|error| {
            Error::internal(format!("record {} was written by another version", record.key))
                .next("upgrade hull, or restore a backup made with this version")
                .caused_by(error)
        })?;
        changes.push((change, revision));
    }
    Ok((changes, reply.revision.0))
}

fn read_event(event: store::Event, revision: u64) -> Option<Decoded> {
    match event {
        store::Event::Put { record, .. } => match decode(&record.key, &record.value, revision) {
            Ok(change) => Some(change),
            Err(error) => {
                tracing::error!(key = record.key, error = %error.chain(), "unreadable record");
                None
            }
        },
        store::Event::Delete { key, .. } => {
            keys::parse(&key).map(|(kind, id)| Decoded::Gone(kind, id))
        }
    }
}
