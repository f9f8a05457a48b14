//! The SQLite backend under the suite of all backends, with the usual settings and with extreme
//! ones: no window at all, so that every watch reads from the file, and checkpoints all the time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use store::{
    Store, conformance,
    sqlite::{Config, SqliteStore},
};
use tempfile::TempDir;

async fn run(settings: impl Fn(&mut Config)) {
    let dirs: Arc<Mutex<Vec<TempDir>>> = Arc::default();
    conformance::run_all(|| {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().join("state.db"));
        settings(&mut config);
        dirs.lock().unwrap().push(dir);
        async { Box::new(SqliteStore::open(config).await.unwrap()) as Box<dyn Store> }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_the_usual_settings() {
    run(|_| {}).await;
}

#[tokio::test]
async fn on_one_thread() {
    run(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_window() {
    run(|config| {
        config.window_bytes = 0;
        config.readers = 1;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_checkpoint_every_few_commits() {
    run(|config| {
        config.window_bytes = 32 << 10;
        config.checkpoint_pages = 10;
    })
    .await;
}
