//! What scenarios use to act and to look.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;

use crate::{
    Commit, Error, Event, RangeRequest, Record, Result, Revision, Store, WatchBatch, WatchRequest,
    WatchStream,
};

/// How long a watch may take to deliver what is there.
const DEADLINE: Duration = Duration::from_secs(30);

/// Puts one key.
pub(super) async fn put(store: &dyn Store, key: &str, value: &str) -> Result<Revision> {
    store.commit(Commit::new().put(key, value.to_owned())).await
}

/// Deletes one key.
pub(super) async fn delete(store: &dyn Store, key: &str) -> Result<Revision> {
    store.commit(Commit::new().delete(key)).await
}

/// A record that has to be there.
pub(super) async fn present(store: &dyn Store, key: &str) -> Result<Record> {
    Ok(store.get(key).await?.unwrap_or_else(|| panic!("{key:?} is not there")))
}

/// The keys of a range.
pub(super) async fn keys(store: &dyn Store, request: RangeRequest) -> Result<Vec<String>> {
    Ok(store.range(request).await?.records.into_iter().map(|record| record.key).collect())
}

/// All records of a state, as `key=value`.
pub(super) async fn state(store: &dyn Store, at: Revision) -> Result<Vec<String>> {
    let reply = store.range(RangeRequest::all().at(at)).await?;
    assert_eq!(reply.revision, at);
    Ok(reply.records.iter().map(|record| pair(&record.key, &record.value)).collect())
}

/// Watches a prefix after a revision.
pub(super) async fn watch(store: &dyn Store, prefix: &str, after: Revision) -> Result<WatchStream> {
    store.watch(WatchRequest::prefix(prefix, after)).await
}

/// The next batch, which has to come.
pub(super) async fn next(stream: &mut WatchStream) -> Result<WatchBatch> {
    let batch = tokio::time::timeout(DEADLINE, stream.next()).await;
    batch.expect("a watch delivers nothing").expect("a watch ended")
}

/// The batches up to and with the one of revision `last`.
pub(super) async fn until(stream: &mut WatchStream, last: Revision) -> Result<Vec<WatchBatch>> {
    let mut batches = Vec::new();
    loop {
        batches.push(next(stream).await?);
        let revision = batches[batches.len() - 1].revision;
        assert!(revision <= last, "revision {revision} came instead of {last}");
        if revision == last {
            assert_in_order(&batches);
            return Ok(batches);
        }
    }
}

/// Each revision is greater than the one before, and no batch is empty.
pub(super) fn assert_in_order(batches: &[WatchBatch]) {
    for pair in batches.windows(2) {
        assert!(pair[0].revision < pair[1].revision, "out of order: {pair:?}");
    }
    assert!(batches.iter().all(|batch| !batch.events.is_empty()), "an empty batch");
}

/// Batches as lines of text: `REVISION +key=value -key`.
pub(super) fn lines(batches: &[WatchBatch]) -> Vec<String> {
    batches
        .iter()
        .map(|batch| {
            let events: Vec<String> = batch.events.iter().map(text).collect();
            format!("{} {}", batch.revision, events.join(" "))
        })
        .collect()
}

/// An event as `+key=value` or `-key`.
pub(super) fn text(event: &Event) -> String {
    match event {
        Event::Put { record, .. } => format!("+{}", pair(&record.key, &record.value)),
        Event::Delete { key, .. } => format!("-{key}"),
    }
}

fn pair(key: &str, value: &Bytes) -> String {
    format!("{key}={}", String::from_utf8_lossy(value))
}

/// A commit that has to fail with a conflict; returns what was found.
pub(super) fn conflict<T: std::fmt::Debug>(result: Result<T>) -> (String, Option<Revision>) {
    match result {
        Err(Error::Conflict { key, found }) => (key, found),
        other => panic!("expected a conflict, got {other:?}"),
    }
}

/// A call that has to fail because the revision is compacted; returns the oldest.
pub(super) fn compacted<T>(result: Result<T>) -> Revision {
    match result {
        Err(Error::Compacted { oldest }) => oldest,
        Err(other) => panic!("expected that it is compacted, got {other:?}"),
        Ok(_) => panic!("expected that it is compacted, got an answer"),
    }
}

/// A call that has to fail because the revision has not happened yet.
pub(super) fn in_the_future<T>(result: Result<T>) {
    match result {
        Err(Error::FutureRevision { asked, current }) => assert!(asked > current),
        Err(other) => panic!("expected that it is in the future, got {other:?}"),
        Ok(_) => panic!("expected that it is in the future, got an answer"),
    }
}
