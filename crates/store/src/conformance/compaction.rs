//! Forgetting the past.

use super::{
    Subject,
    probe::{
        compacted, delete, in_the_future, lines, next, present, put, state, text, until, watch,
    },
};
use crate::{Event, RangeRequest, Result, Revision, Store};

/// Puts `k` to 0, 1, 2, ...; returns the revisions.
async fn count_up(store: &dyn Store, count: usize) -> Result<Vec<Revision>> {
    let mut revisions = Vec::new();
    for i in 0..count {
        revisions.push(put(store, "k", &i.to_string()).await?);
    }
    Ok(revisions)
}

pub(super) async fn old_states_are_gone_and_newer_ones_stay(store: Subject) -> Result<()> {
    let revisions = count_up(&*store, 10).await?;
    store.compact(revisions[5]).await?;
    for revision in &revisions[..5] {
        let oldest = compacted(store.range(RangeRequest::all().at(*revision)).await);
        assert_eq!(oldest, revisions[5]);
    }
    for (i, revision) in revisions.iter().enumerate().skip(5) {
        assert_eq!(state(&*store, *revision).await?, [format!("k={i}")]);
    }
    assert_eq!(store.stats().await?.oldest, revisions[5]);
    Ok(())
}

pub(super) async fn current_records_stay(store: Subject) -> Result<()> {
    let old = put(&*store, "old", "v").await?;
    let revisions = count_up(&*store, 10).await?;
    store.compact(revisions[4]).await?;
    store.compact(revisions[9]).await?;
    let record = present(&*store, "old").await?;
    assert_eq!((record.created, record.modified, record.version), (old, old, 1));
    assert_eq!(state(&*store, revisions[9]).await?, ["k=9", "old=v"]);
    assert_eq!(store.current().await?, revisions[9]);
    Ok(())
}

pub(super) async fn compacting_again_or_less_is_nothing(store: Subject) -> Result<()> {
    let revisions = count_up(&*store, 10).await?;
    store.compact(revisions[5]).await?;
    for less in [revisions[5], revisions[2], Revision::FIRST, Revision::ZERO] {
        store.compact(less).await?;
        assert_eq!(state(&*store, revisions[5]).await?, ["k=5"]);
        compacted(store.range(RangeRequest::all().at(revisions[4])).await);
    }
    Ok(())
}

pub(super) async fn the_future_cannot_be_compacted(store: Subject) -> Result<()> {
    let now = put(&*store, "k", "v").await?;
    in_the_future(store.compact(now.next()).await);
    store.compact(now).await?;
    assert_eq!(state(&*store, now).await?, ["k=v"]);
    Ok(())
}

pub(super) async fn watches_go_on_from_the_oldest_state(store: Subject) -> Result<()> {
    let revisions = count_up(&*store, 10).await?;
    let gone = delete(&*store, "k").await?;
    store.compact(revisions[5]).await?;
    let mut changes = watch(&*store, "", revisions[5]).await?;
    let batches = until(&mut changes, gone).await?;
    let mut expected: Vec<String> = (6..10).map(|i| format!("{} +k={i}", revisions[i])).collect();
    expected.push(format!("{gone} -k"));
    assert_eq!(lines(&batches), expected);
    let before = batches.iter().map(|batch| match &batch.events[0] {
        Event::Put { prev, .. } | Event::Delete { prev, .. } => prev.clone(),
    });
    let before: Vec<Revision> = before.flatten().map(|record| record.modified).collect();
    assert_eq!(before, revisions[5..]);
    Ok(())
}

pub(super) async fn watches_cannot_begin_before(store: Subject) -> Result<()> {
    let revisions = count_up(&*store, 10).await?;
    store.compact(revisions[5]).await?;
    for after in [Revision::ZERO, Revision::FIRST, revisions[0], revisions[3]] {
        assert_eq!(compacted(watch(&*store, "", after).await), revisions[5]);
        assert_eq!(compacted(watch(&*store, "elsewhere", after).await), revisions[5]);
    }
    Ok(())
}

pub(super) async fn deleted_keys_stay_deleted(store: Subject) -> Result<()> {
    put(&*store, "a", "1").await?;
    put(&*store, "b", "1").await?;
    let gone = delete(&*store, "a").await?;
    let last = put(&*store, "b", "2").await?;
    store.compact(gone).await?;
    assert_eq!(state(&*store, gone).await?, ["b=1"]);
    assert_eq!(store.get("a").await?, None);
    let again = put(&*store, "a", "2").await?;
    store.compact(last).await?;
    assert_eq!(state(&*store, last).await?, ["b=2"]);
    assert_eq!(state(&*store, again).await?, ["a=2", "b=2"]);
    let mut changes = watch(&*store, "", last).await?;
    assert_eq!(text(&next(&mut changes).await?.events[0]), "+a=2");
    Ok(())
}

pub(super) async fn versions_go_on_counting(store: Subject) -> Result<()> {
    let revisions = count_up(&*store, 5).await?;
    store.compact(revisions[4]).await?;
    put(&*store, "k", "more").await?;
    let record = present(&*store, "k").await?;
    assert_eq!((record.created, record.version), (revisions[0], 6));
    Ok(())
}
