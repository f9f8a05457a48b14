//! Prints what the SQLite store does in a second on this disk: commits by 1 and by 64 committers,
//! reads of one record, and changes delivered to watches.
//!
//! `cargo run --release -p store --example commit_rate [DIRECTORY]`; the directory (default: the
//! temporary one) decides which disk is measured.

use std::{
    error::Error,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use store::{
    Commit, Revision, Store, WatchRequest,
    sqlite::{Config, SqliteStore},
};

/// How long each measurement takes.
const SPAN: Duration = Duration::from_secs(3);

/// About what a record of the platform has.
const VALUE_BYTES: usize = 1024;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let base = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = base.join(format!("store-commit-rate-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let measured = measure(dir.join("state.db")).await;
    std::fs::remove_dir_all(&dir)?;
    measured
}

async fn measure(path: PathBuf) -> Outcome<()> {
    let store = Arc::new(SqliteStore::open(Config::new(path)).await?);
    for committers in [1, 64] {
        let mut took = commits(&store, committers).await?;
        report(&format!("commits, {committers:2} at a time"), &mut took);
    }
    report("reads of one record", &mut reads(&store).await?);
    let (batches, took) = replay(&store).await?;
    println!("{:24} {:>8.0}/s", "changes replayed", batches as f64 / took.as_secs_f64());
    println!("{:?}", store.stats().await?);
    Ok(())
}

/// The times that commits took, by so many committers.
async fn commits(store: &Arc<SqliteStore>, committers: usize) -> Outcome<Vec<Duration>> {
    let tasks: Vec<_> = (0..committers)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let (begin, mut took) = (Instant::now(), Vec::new());
                while begin.elapsed() < SPAN {
                    let key = format!("instances/{task}/{}", took.len() % 100);
                    let one = Instant::now();
                    store.commit(Commit::new().put(key, vec![b'v'; VALUE_BYTES])).await?;
                    took.push(one.elapsed());
                }
                Ok::<_, store::Error>(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    Ok(all)
}

/// The times that reads took, one after the other.
async fn reads(store: &SqliteStore) -> Outcome<Vec<Duration>> {
    let (begin, mut took) = (Instant::now(), Vec::new());
    while begin.elapsed() < SPAN {
        let one = Instant::now();
        store.get(&format!("instances/0/{}", took.len() % 100)).await?;
        took.push(one.elapsed());
    }
    Ok(took)
}

/// How many changes a watch reads from the file, and how long that takes.
async fn replay(store: &SqliteStore) -> Outcome<(usize, Duration)> {
    let last = store.current().await?;
    let after = store.stats().await?.oldest;
    let mut changes = store.watch(WatchRequest::prefix("", after)).await?;
    let (begin, mut batches, mut seen) = (Instant::now(), 0, Revision::ZERO);
    while seen < last {
        seen = changes.next().await.ok_or("the watch ended")??.revision;
        batches += 1;
    }
    Ok((batches, begin.elapsed()))
}

fn report(what: &str, took: &mut [Duration]) {
    took.sort_unstable();
    let at = |part: usize| took[(took.len() - 1) * part / 100];
    let rate = took.len() as f64 / SPAN.as_secs_f64();
    println!("{what:24} {rate:>8.0}/s   median {:>9.1?}   p99 {:>9.1?}", at(50), at(99));
}
