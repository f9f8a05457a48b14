//! Hearing of changes.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future};

use super::{
    Subject,
    probe::{
        assert_in_order, compacted, delete, in_the_future, lines, next, put, text, until, watch,
    },
};
use crate::{
    Commit, Error, Event, Expect, RangeRequest, Result, Revision, Store, WatchBatch, WatchStream,
};

pub(super) async fn changes_are_delivered_live(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let mut changes = watch(&*store, "", start).await?;
    assert!(changes.next().now_or_never().is_none(), "nothing has happened yet");
    let first = put(&*store, "k", "1").await?;
    assert_eq!(lines(&[next(&mut changes).await?]), [format!("{first} +k=1")]);
    let second = delete(&*store, "k").await?;
    assert_eq!(lines(&[next(&mut changes).await?]), [format!("{second} -k")]);
    Ok(())
}

pub(super) async fn history_is_replayed_then_live(store: Subject) -> Result<()> {
    let mut revisions = Vec::new();
    for i in 0..10 {
        revisions.push(put(&*store, "k", &i.to_string()).await?);
    }
    let mut changes = watch(&*store, "", revisions[3]).await?;
    for i in 10..15 {
        revisions.push(put(&*store, "k", &i.to_string()).await?);
    }
    let batches = until(&mut changes, revisions[14]).await?;
    let expected: Vec<String> = (4..15).map(|i| format!("{} +k={i}", revisions[i])).collect();
    assert_eq!(lines(&batches), expected);
    Ok(())
}

pub(super) async fn everything_is_replayed_after_zero(store: Subject) -> Result<()> {
    let first = put(&*store, "a", "1").await?;
    let second = put(&*store, "b", "1").await?;
    let mut changes = watch(&*store, "", Revision::ZERO).await?;
    let batches = until(&mut changes, second).await?;
    assert_eq!(lines(&batches), [format!("{first} +a=1"), format!("{second} +b=1")]);
    Ok(())
}

pub(super) async fn one_revision_is_one_batch_in_order_of_writes(store: Subject) -> Result<()> {
    let start = put(&*store, "m", "0").await?;
    let mut live = watch(&*store, "", start).await?;
    let commit = Commit::new().put("z", "1").delete("m").put("a", "1").delete("none").put("k", "1");
    let revision = store.commit(commit).await?;
    let mut replayed = watch(&*store, "", start).await?;
    for changes in [&mut live, &mut replayed] {
        let batch = next(changes).await?;
        assert_eq!(batch.revision, revision);
        let mut events: Vec<String> = batch.events.iter().map(text).collect();
        assert_eq!(events, ["+z=1", "-m", "+a=1", "+k=1"]);
        events.dedup();
        assert_eq!(events.len(), 4);
    }
    Ok(())
}

pub(super) async fn only_the_prefix_is_delivered(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let mut changes = watch(&*store, "a/", start).await?;
    put(&*store, "a", "").await?;
    put(&*store, "a0", "").await?;
    let first = store.commit(Commit::new().put("b", "").put("a/1", "x").put("a.", "")).await?;
    put(&*store, "A/1", "").await?;
    let second = put(&*store, "a/", "y").await?;
    let expected = [format!("{first} +a/1=x"), format!("{second} +a/=y")];
    assert_eq!(lines(&until(&mut changes, second).await?), expected);
    let mut replayed = watch(&*store, "a/", start).await?;
    assert_eq!(lines(&until(&mut replayed, second).await?), expected);
    Ok(())
}

pub(super) async fn events_tell_what_was_before(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let mut live = watch(&*store, "k", start).await?;
    let mut records = Vec::new();
    for value in ["1", "2"] {
        put(&*store, "k", value).await?;
        records.extend(store.get("k").await?);
    }
    delete(&*store, "k").await?;
    put(&*store, "k", "3").await?;
    records.extend(store.get("k").await?);
    let [first, second, third] = [0, 1, 2].map(|i| records[i].clone());
    let expected = [
        Event::Put { record: first.clone(), prev: None },
        Event::Put { record: second.clone(), prev: Some(first) },
        Event::Delete { key: "k".into(), prev: Some(second) },
        Event::Put { record: third, prev: None },
    ];
    let mut replayed = watch(&*store, "k", start).await?;
    for changes in [&mut live, &mut replayed] {
        for event in &expected {
            assert_eq!(next(changes).await?.events, std::slice::from_ref(event));
        }
    }
    Ok(())
}

pub(super) async fn commits_that_change_nothing_are_silent(store: Subject) -> Result<()> {
    let start = put(&*store, "k", "v").await?;
    let mut changes = watch(&*store, "", start).await?;
    delete(&*store, "none").await?;
    store.commit(Commit::new()).await?;
    let refused = store.commit(Commit::new().expect(Expect::absent("k")).put("k", "w")).await;
    assert!(refused.is_err());
    let last = put(&*store, "k", "x").await?;
    assert_eq!(next(&mut changes).await?.revision, last);
    Ok(())
}

pub(super) async fn the_future_cannot_be_watched(store: Subject) -> Result<()> {
    let now = put(&*store, "k", "v").await?;
    in_the_future(watch(&*store, "", now.next()).await);
    in_the_future(watch(&*store, "", Revision(u64::MAX >> 1)).await);
    Ok(())
}

pub(super) async fn a_range_and_a_watch_have_no_gap(store: Subject) -> Result<()> {
    let writer = tokio::spawn(write_numbers(store.clone(), "k", 150));
    for _ in 0..20 {
        let reply = store.range(RangeRequest::prefix("k")).await?;
        let newest = reply.records.iter().map(|record| record.modified).max();
        let mut changes = watch(&*store, "k", reply.revision).await?;
        let batch = match changes.next().now_or_never() {
            Some(batch) => batch.expect("a watch ended")?,
            None if writer.is_finished() => continue,
            None => match future::select(Box::pin(next(&mut changes)), Box::pin(finished(&writer)))
                .await
            {
                future::Either::Left((batch, _)) => batch?,
                future::Either::Right(_) => continue,
            },
        };
        assert!(batch.revision > reply.revision);
        let Event::Put { prev, .. } = &batch.events[0] else { panic!("nothing was deleted") };
        assert_eq!(prev.as_ref().map(|record| record.modified), newest, "a change is missing");
    }
    writer.await.expect("the writer panicked")?;
    Ok(())
}

/// Ends when the task has.
async fn finished<T>(task: &tokio::task::JoinHandle<T>) {
    while !task.is_finished() {
        tokio::task::yield_now().await;
    }
}

/// Puts `key` to 0, 1, 2, ...; returns the revisions.
async fn write_numbers(store: Subject, key: &'static str, count: usize) -> Result<Vec<Revision>> {
    let mut revisions = Vec::new();
    for i in 0..count {
        revisions.push(put(&*store, key, &i.to_string()).await?);
    }
    Ok(revisions)
}

pub(super) async fn watches_begin_anywhere_under_load(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let writers: Vec<_> =
        ["a", "b", "c", "d"].map(|key| tokio::spawn(write_numbers(store.clone(), key, 250))).into();
    // Each watch begins where the one before is, while the writers go on.
    let mut all = watch(&*store, "", start).await?;
    let mut streams = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..1000 {
        let batch = next(&mut all).await?;
        if seen.len() % 50 == 0 {
            streams.push((batch.revision, watch(&*store, "", batch.revision).await?));
        }
        seen.push(batch);
    }
    assert_in_order(&seen);
    let mut written = Vec::new();
    for writer in writers {
        written.extend(writer.await.expect("a writer panicked")?);
    }
    written.sort_unstable();
    assert_eq!(seen.iter().map(|batch| batch.revision).collect::<Vec<_>>(), written);
    for (after, mut changes) in streams {
        let expected: Vec<&WatchBatch> = seen.iter().filter(|b| b.revision > after).collect();
        for batch in expected {
            assert_eq!(next(&mut changes).await?, *batch);
        }
    }
    Ok(())
}

pub(super) async fn a_watch_that_is_dropped_disturbs_nobody(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let mut kept = watch(&*store, "", start).await?;
    let never_read = watch(&*store, "", start).await?;
    let mut waiting = watch(&*store, "", start).await?;
    assert!(waiting.next().now_or_never().is_none());
    let mut half_read = watch(&*store, "", start).await?;
    let mut last = put(&*store, "k", "1").await?;
    next(&mut half_read).await?;
    drop((never_read, waiting, half_read));
    for i in 0..10 {
        last = put(&*store, "k", &i.to_string()).await?;
    }
    assert_eq!(until(&mut kept, last).await?.len(), 11);
    drop(kept);
    put(&*store, "k", "end").await?;
    // A backend may take a moment to note that they are gone.
    while store.stats().await?.watches > 0 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

pub(super) async fn giving_up_a_wait_loses_nothing(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let mut changes = watch(&*store, "", start).await?;
    let mut seen = Vec::new();
    let writer = tokio::spawn(write_numbers(store.clone(), "k", 200));
    while seen.len() < 200 {
        let wait = tokio::time::timeout(Duration::from_micros(200), changes.next());
        if let Ok(batch) = wait.await {
            seen.push(batch.expect("a watch ended")?.revision);
        }
    }
    assert_eq!(seen, writer.await.expect("the writer panicked")?);
    Ok(())
}

pub(super) async fn watches_that_are_not_polled_hold_nothing_up(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let revisions = flood(&*store).await?;
    let mut stuck = Vec::new();
    for _ in 0..64 {
        let mut changes = watch(&*store, "", start).await?;
        // Begins to wait for something, and is never asked again.
        let _ = changes.next().now_or_never();
        stuck.push(changes);
    }
    let last = revisions[revisions.len() - 1];
    assert_eq!(store.range(RangeRequest::all()).await?.revision, last);
    let after = put(&*store, "k", "v").await?;
    let mut changes = watch(&*store, "", start).await?;
    assert_eq!(until(&mut changes, after).await?.len(), revisions.len() + 1);
    drop(stuck);
    Ok(())
}

/// Commits 8 MiB, more than a reasonable buffer, while nobody reads.
async fn flood(store: &dyn Store) -> Result<Vec<Revision>> {
    let mut revisions = Vec::new();
    for i in 0..128 {
        let value = vec![i; 64 << 10];
        revisions.push(store.commit(Commit::new().put(format!("k{}", i % 10), value)).await?);
    }
    Ok(revisions)
}

pub(super) async fn a_slow_watch_delays_no_commit_and_misses_nothing(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let mut untouched = watch(&*store, "", start).await?;
    let mut begun = watch(&*store, "", start).await?;
    let first = put(&*store, "k", "1").await?;
    assert_eq!(next(&mut begun).await?.revision, first);
    let revisions = flood(&*store).await?;
    assert_eq!(next(&mut untouched).await?.revision, first);
    for changes in [&mut untouched, &mut begun] {
        let batches = until(changes, revisions[revisions.len() - 1]).await?;
        assert_eq!(batches.iter().map(|batch| batch.revision).collect::<Vec<_>>(), revisions);
    }
    Ok(())
}

pub(super) async fn a_slow_watch_is_cut_off_not_skipped(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let mut slow = watch(&*store, "", start).await?;
    let revisions = flood(&*store).await?;
    let last = revisions[revisions.len() - 1];
    store.compact(last).await?;
    // Either all of it, from a buffer, or without a hole up to where it was cut off.
    let (seen, end) = drain(&mut slow, last).await;
    assert_eq!(seen, revisions[..seen.len()]);
    match end {
        None => assert_eq!(seen.len(), revisions.len()),
        Some(Error::Compacted { oldest }) => {
            assert_eq!(oldest, last);
            assert!(slow.next().await.is_none(), "the error is the end");
        }
        Some(other) => panic!("unexpected end of a watch: {other:?}"),
    }
    compacted(watch(&*store, "", start).await);
    Ok(())
}

/// The revisions up to `last`, or up to an error.
async fn drain(stream: &mut WatchStream, last: Revision) -> (Vec<Revision>, Option<Error>) {
    let mut seen = Vec::new();
    while seen.last() != Some(&last) {
        match next(stream).await {
            Ok(batch) => seen.push(batch.revision),
            Err(error) => return (seen, Some(error)),
        }
    }
    (seen, None)
}

pub(super) async fn a_quiet_watch_outlives_compaction(store: Subject) -> Result<()> {
    let start = put(&*store, "quiet/k", "1").await?;
    let mut quiet = watch(&*store, "quiet/", start).await?;
    assert!(quiet.next().now_or_never().is_none());
    for round in 0..3 {
        let revisions = write_numbers(store.clone(), "noise", 60).await?;
        store.compact(revisions[59]).await?;
        let change = put(&*store, "quiet/k", &round.to_string()).await?;
        assert_eq!(lines(&[next(&mut quiet).await?]), [format!("{change} +quiet/k={round}")]);
    }
    Ok(())
}

pub(super) async fn many_watches_see_the_same(store: Subject) -> Result<()> {
    let start = store.current().await?;
    let mut tasks = Vec::new();
    for i in 0..50 {
        let prefix = ["", "k", "k1"][i % 3];
        let mut changes = watch(&*store, prefix, start).await?;
        tasks.push(tokio::spawn(async move {
            let mut seen = Vec::new();
            while seen.len() < 100 {
                seen.extend(next(&mut changes).await?.events.iter().map(text));
            }
            Ok::<_, Error>(seen)
        }));
    }
    let expected: Vec<String> = (0..100).map(|i| format!("+k1={i}")).collect();
    let store = Arc::clone(&store);
    write_numbers(store, "k1", 100).await?;
    for task in tasks {
        assert_eq!(task.await.expect("a watcher panicked")?, expected);
    }
    Ok(())
}
