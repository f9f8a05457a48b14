//! Many at once.

use futures::{StreamExt, future};

use super::{
    Subject,
    probe::{delete, present, put, until, watch},
};
use crate::{
    Commit, Error, Event, Expect, RangeRequest, Record, Result, Revision, Store, WatchRequest,
};

/// Runs `count` tasks at once and returns what they return.
async fn together<T, Fut>(count: usize, task: impl Fn(usize) -> Fut) -> Result<Vec<T>>
where
    T: Send + 'static,
    Fut: Future<Output = Result<T>> + Send + 'static,
{
    let tasks = (0..count).map(|i| tokio::spawn(task(i)));
    let done = future::join_all(tasks).await;
    done.into_iter().map(|result| result.expect("a task panicked")).collect()
}

pub(super) async fn many_committers_all_get_through(store: Subject) -> Result<()> {
    const TASKS: usize = 64;
    const EACH: usize = 20;
    let start = store.current().await?;
    let mut changes = watch(&*store, "", start).await?;
    let shared = store.clone();
    let written = together(TASKS, move |task| commit_some(shared.clone(), task, EACH)).await?;
    for revisions in &written {
        assert!(revisions.is_sorted_by(|a, b| a < b), "a task's commits are in its order");
    }
    let mut all: Vec<Revision> = written.into_iter().flatten().collect();
    all.sort_unstable();
    let total = all.len();
    all.dedup();
    assert_eq!((all.len(), total), (TASKS * EACH, TASKS * EACH), "a revision came twice");
    let batches = until(&mut changes, all[total - 1]).await?;
    assert_eq!(batches.iter().map(|batch| batch.revision).collect::<Vec<_>>(), all);
    assert!(batches.iter().all(|batch| batch.events.len() == 2));
    assert_eq!(store.range(RangeRequest::all()).await?.records.len(), TASKS * EACH + TASKS);
    Ok(())
}

/// Makes commits of two keys each; returns their revisions.
async fn commit_some(store: Subject, task: usize, count: usize) -> Result<Vec<Revision>> {
    let mut revisions = Vec::new();
    for i in 0..count {
        let commit =
            Commit::new().put(format!("own/{task}"), i.to_string()).put(format!("{task}/{i}"), "v");
        revisions.push(store.commit(commit).await?);
    }
    Ok(revisions)
}

pub(super) async fn counting_together_counts_right(store: Subject) -> Result<()> {
    const TASKS: usize = 8;
    const EACH: usize = 20;
    put(&*store, "n", "0").await?;
    let shared = store.clone();
    let conflicts = together(TASKS, move |_| {
        let store = shared.clone();
        async move {
            let mut conflicts = 0_usize;
            for _ in 0..EACH {
                conflicts += increment(&*store).await?;
            }
            Ok(conflicts)
        }
    })
    .await?;
    let record = present(&*store, "n").await?;
    assert_eq!(record.value, (TASKS * EACH).to_string(), "{conflicts:?}");
    assert_eq!(record.version, (TASKS * EACH) as u64 + 1);
    Ok(())
}

/// Adds one to `n`; returns how often others came first.
async fn increment(store: &dyn Store) -> Result<usize> {
    let mut conflicts = 0;
    loop {
        let record = present(store, "n").await?;
        let n: usize = String::from_utf8_lossy(&record.value).parse().expect("a number");
        let commit = Commit::new()
            .expect(Expect::modified_at("n", record.modified))
            .put("n", (n + 1).to_string());
        match store.commit(commit).await {
            Ok(_) => return Ok(conflicts),
            Err(Error::Conflict { found, .. }) => {
                assert!(found > Some(record.modified), "found {found:?}");
                conflicts += 1;
            }
            Err(other) => return Err(other),
        }
    }
}

pub(super) async fn reads_see_no_half_commit(store: Subject) -> Result<()> {
    let write =
        |i: usize| (0..20).fold(Commit::new(), |all, k| all.put(k.to_string(), i.to_string()));
    store.commit(write(0)).await?;
    let writer = store.clone();
    let writer = tokio::spawn(async move {
        for i in 1..200 {
            writer.commit(write(i)).await?;
        }
        Ok::<_, Error>(())
    });
    let mut reads = 0;
    while reads < 20 || !writer.is_finished() {
        let records = store.range(RangeRequest::all()).await?.records;
        assert_eq!(records.len(), 20);
        assert!(records.iter().all(|record| record.value == records[0].value), "{records:?}");
        reads += 1;
    }
    writer.await.expect("the writer panicked")
}

pub(super) async fn one_of_many_creators_wins(store: Subject) -> Result<()> {
    for round in 0..10 {
        let shared = store.clone();
        let outcomes = together(16, move |task| {
            let store = shared.clone();
            async move {
                let create = Commit::new()
                    .expect(Expect::absent("lock"))
                    .put("lock", task.to_string())
                    .put(format!("won/{task}"), "v");
                match store.commit(create).await {
                    Ok(_) => Ok(Some(task)),
                    Err(Error::Conflict { key, found }) => {
                        assert!(key == "lock" && found.is_some());
                        Ok(None)
                    }
                    Err(other) => Err(other),
                }
            }
        })
        .await?;
        let winners: Vec<usize> = outcomes.into_iter().flatten().collect();
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(present(&*store, "lock").await?.value, winners[0].to_string());
        let won = store.range(RangeRequest::prefix("won/")).await?.records;
        assert_eq!(won.len(), 1);
        delete(&*store, &won[0].key).await?;
        delete(&*store, "lock").await?;
    }
    Ok(())
}

pub(super) async fn followers_miss_nothing_while_history_is_cut(store: Subject) -> Result<()> {
    const COUNT: u64 = 300;
    let writer = store.clone();
    let writer = tokio::spawn(async move {
        for n in 1..=COUNT {
            let revision = put(&*writer, "n", &n.to_string()).await?;
            if n % 10 == 0 {
                writer.compact(revision).await?;
            }
        }
        Ok::<_, Error>(())
    });
    let shared = store.clone();
    together(12, move |slowness| follow(shared.clone(), slowness * slowness, COUNT)).await?;
    writer.await.expect("the writer panicked")
}

/// Follows `n` up to `last` as a client does: read, watch, and read again when cut off. Each number
/// follows the one before; the slower it is the more often it is cut off.
async fn follow(store: Subject, slowness: usize, last: u64) -> Result<()> {
    'read: loop {
        let reply = store.range(RangeRequest::key("n")).await?;
        let mut n = reply.records.first().map_or(0, number);
        let mut changes = match store.watch(WatchRequest::prefix("n", reply.revision)).await {
            Err(Error::Compacted { .. }) => continue 'read,
            other => other?,
        };
        while n < last {
            let batch = match changes.next().await.expect("a watch ended") {
                Err(Error::Compacted { oldest }) => {
                    assert!(oldest > reply.revision, "cut off at {oldest} for no reason");
                    continue 'read;
                }
                other => other?,
            };
            let Event::Put { record, .. } = &batch.events[0] else { panic!("a deletion") };
            assert_eq!(number(record), n + 1, "a change was skipped");
            n += 1;
            for _ in 0..slowness {
                tokio::task::yield_now().await;
            }
        }
        return Ok(());
    }
}

fn number(record: &Record) -> u64 {
    String::from_utf8_lossy(&record.value).parse().expect("a number")
}

pub(super) async fn a_backup_is_made_under_load(store: Subject) -> Result<()> {
    let path = std::env::temp_dir().join(format!(
        "store-conformance-{}-{:p}.backup",
        std::process::id(),
        std::sync::Arc::as_ptr(&store)
    ));
    let before = put(&*store, "k", "v").await?;
    let writer = tokio::spawn(commit_some(store.clone(), 0, 100));
    let saved = store.backup(&path).await?;
    let written = writer.await.expect("the writer panicked")?;
    assert!(saved >= before && saved <= written[written.len() - 1]);
    assert!(std::fs::metadata(&path).is_ok_and(|meta| meta.len() > 0));
    let again = store.backup(&path).await;
    assert!(matches!(again, Err(Error::Backup { .. })), "got {again:?}");
    assert!(std::fs::remove_file(&path).is_ok());
    Ok(())
}

pub(super) async fn stats_count(store: Subject) -> Result<()> {
    for i in 0..10 {
        put(&*store, &format!("k{}", i % 5), "v").await?;
    }
    let revision = delete(&*store, "k0").await?;
    let open = store.watch(WatchRequest::prefix("", revision)).await?;
    let stats = store.stats().await?;
    assert_eq!((stats.revision, stats.records, stats.watches), (revision, 4, 1));
    assert!(stats.oldest <= revision && stats.history >= stats.records && stats.bytes > 0);
    drop(open);
    Ok(())
}
