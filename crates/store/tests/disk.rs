//! A disk that fails in the middle.
//!
//! A child process runs with a limit on the size of files, whose breach the kernel reports like a
//! failed write (EFBIG), not like a full disk.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{env, process::Command};

use store::{
    Commit, Error, RangeRequest, Store,
    sqlite::{Config, SqliteStore},
};

const STORE: &str = "HULL_DISK_STORE";

#[test]
#[ignore = "runs with a limit on files; the other test starts it"]
fn the_process_with_a_bad_disk() {
    let Some(path) = env::var_os(STORE) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(Config::new(path)).await.unwrap();
        let mut written = 0;
        let first = loop {
            let commit = Commit::new().put("n", written.to_string());
            match store.commit(commit.put(format!("k/{written:04}"), vec![7; 3000])).await {
                Ok(_) => written += 1,
                Err(error) => break error,
            }
        };
        assert!(matches!(first, Error::Uncertain(_) | Error::Unavailable(_)), "{first:?}");
        // What was synced before is no longer sure to go on well: no more is written, also what
        // would fit.
        let later = store.commit(Commit::new().put("small", "v")).await.unwrap_err();
        assert!(matches!(later, Error::Unavailable(_)), "{later:?}");
        assert!(std::error::Error::source(&later).unwrap().to_string().contains("restart hull"));
        // Reading goes on.
        let records = store.range(RangeRequest::prefix("k/")).await.unwrap().records;
        assert_eq!(records.len(), written);
        println!("\n@written {written}");
    });
}

#[tokio::test]
async fn a_disk_that_fails_stops_commits_and_loses_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let run = "trap '' XFSZ; ulimit -f 1000; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", run])
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "the_process_with_a_bad_disk"])
        .env(STORE, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let told = said.lines().find_map(|line| line.strip_prefix("@written "));
    let written: usize = told.unwrap_or_else(|| panic!("{output:?}")).parse().unwrap();
    assert!(output.status.success() && written > 5, "{written}: {output:?}");

    let store = SqliteStore::open(Config::new(path)).await.unwrap();
    let found = store.range(RangeRequest::prefix("k/")).await.unwrap().records.len();
    // The one whose outcome was not known may be there.
    assert!((written..=written + 1).contains(&found), "{found} of {written}");
    let n = store.get("n").await.unwrap().unwrap();
    assert_eq!(n.value, (found - 1).to_string());
    store.commit(Commit::new().put("small", "v")).await.unwrap();
}
