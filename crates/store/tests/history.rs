//! How much of the past is kept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use store::{
    Commit, RangeRequest, Revision, Stats, Store,
    sqlite::{Clock, Config, History, SqliteStore},
};

/// A clock that a test sets, in seconds since 1970.
#[derive(Clone)]
struct Hand(Arc<AtomicI64>);

impl Hand {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(1_800_000_000)))
    }

    fn turn(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let hand = self.0.clone();
        Clock::new(move || {
            let seconds = u64::try_from(hand.load(Ordering::SeqCst)).unwrap();
            SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
        })
    }
}

/// Keeps everything.
fn endless() -> History {
    History { keep_for: Duration::MAX, keep_revisions: u64::MAX, keep_bytes: u64::MAX }
}

async fn open(dir: &Path, history: History, clock: Clock) -> SqliteStore {
    let config = Config { history, clock, ..Config::new(dir.join("state.db")) };
    SqliteStore::open(config).await.unwrap()
}

async fn put(store: &SqliteStore, count: usize, bytes: usize) {
    for i in 0..count {
        let key = format!("k{}", i % 10);
        store.commit(Commit::new().put(key, vec![b'v'; bytes])).await.unwrap();
    }
}

/// The stats once everything compacted is deleted.
async fn swept(store: &SqliteStore) -> Stats {
    loop {
        let stats = store.stats().await.unwrap();
        // Ten keys: one row each at the oldest revision, and one for each later revision.
        if stats.history <= 10 + (stats.revision.0 - stats.oldest.0) {
            return stats;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_bounds_everything_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let hand = Hand::new();
    let store = open(dir.path(), endless(), hand.clock()).await;
    for _ in 0..10 {
        put(&store, 50, 1000).await;
        hand.turn(100_000);
    }
    let stats = store.stats().await.unwrap();
    assert_eq!((stats.oldest, stats.history), (Revision::FIRST, 500));
    store.range(RangeRequest::all().at(Revision(2))).await.unwrap();
}

#[tokio::test]
async fn no_more_revisions_are_kept_than_asked() {
    let dir = tempfile::tempdir().unwrap();
    let history = History { keep_revisions: 80, ..endless() };
    let store = open(dir.path(), history, Clock::default()).await;
    for _ in 0..5 {
        put(&store, 100, 10).await;
        let stats = swept(&store).await;
        let kept = stats.revision.0 - stats.oldest.0;
        assert!((80..=110).contains(&kept), "{kept}");
    }
}

#[tokio::test]
async fn history_gets_no_older_than_asked() {
    let dir = tempfile::tempdir().unwrap();
    let history = History { keep_for: Duration::from_secs(80), ..endless() };
    let hand = Hand::new();
    let store = open(dir.path(), history, hand.clock()).await;
    for _ in 0..30 {
        hand.turn(10);
        put(&store, 5, 10).await;
    }
    let stats = swept(&store).await;
    let kept = stats.revision.0 - stats.oldest.0;
    assert!((40..=50).contains(&kept), "5 in 10 seconds: {kept}");
    // After a quiet time one commit is enough to forget what was before the last mark.
    hand.turn(1000);
    put(&store, 1, 10).await;
    let stats = swept(&store).await;
    assert!(stats.revision.0 - stats.oldest.0 <= 6, "{stats:?}");
}

#[tokio::test]
async fn no_more_bytes_are_kept_than_asked() {
    let dir = tempfile::tempdir().unwrap();
    let history = History { keep_bytes: 4 << 20, ..endless() };
    let store = open(dir.path(), history, Clock::default()).await;
    put(&store, 200, 64 << 10).await;
    let stats = swept(&store).await;
    let kept = stats.revision.0 - stats.oldest.0;
    assert!((62..=75).contains(&kept), "64 KiB each: {kept}");
    assert!(stats.bytes - stats.free_bytes < 14 << 20, "{stats:?}");
}

#[tokio::test]
async fn a_clock_that_is_set_forgets_too_much_or_too_little_but_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let history = History { keep_for: Duration::from_secs(80), ..endless() };
    let hand = Hand::new();
    let store = open(dir.path(), history.clone(), hand.clock()).await;
    put(&store, 10, 10).await;
    hand.turn(-1_000_000);
    put(&store, 10, 10).await;
    assert_eq!(store.stats().await.unwrap().oldest, Revision::FIRST);
    drop(store);
    let store = open(dir.path(), history, hand.clock()).await;
    for _ in 0..20 {
        hand.turn(10);
        put(&store, 5, 10).await;
    }
    let stats = swept(&store).await;
    let kept = stats.revision.0 - stats.oldest.0;
    assert!((40..=50).contains(&kept), "{kept}");
    hand.turn(10_000_000);
    put(&store, 1, 10).await;
    let stats = swept(&store).await;
    assert!(stats.revision.0 - stats.oldest.0 <= 6, "{stats:?}");
}

#[tokio::test]
async fn space_that_is_no_longer_used_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), endless(), Clock::default()).await;
    put(&store, 250, 64 << 10).await;
    assert!(store.stats().await.unwrap().bytes > 16 << 20);
    store.compact(store.current().await.unwrap()).await.unwrap();
    swept(&store).await;
    while store.stats().await.unwrap().free_bytes > 4 << 20 {
        tokio::task::yield_now().await;
    }
    drop(store);
    let bytes = std::fs::metadata(dir.path().join("state.db")).unwrap().len();
    assert!(bytes < 10 << 20, "{bytes}");
}
