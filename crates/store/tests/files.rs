//! The store's file as a whole: made, locked, checked, copied, put back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use futures::StreamExt;
use store::{
    Commit, Error, RangeRequest, Revision, Store, WatchRequest,
    sqlite::{Config, FileError, SqliteStore, restore},
};
use tempfile::TempDir;

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn db(&self) -> PathBuf {
        self.path("state.db")
    }

    async fn open(&self) -> Result<SqliteStore, FileError> {
        SqliteStore::open(Config::new(self.db())).await
    }

    /// A closed store with 200 records, and its revision.
    async fn filled(&self) -> Revision {
        let store = self.open().await.unwrap();
        let mut last = Revision::ZERO;
        for i in 0..200 {
            last = put(&store, &format!("k/{i:03}"), &"v".repeat(500)).await;
        }
        store.close().await;
        last
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

async fn put(store: &SqliteStore, key: &str, value: &str) -> Revision {
    store.commit(Commit::new().put(key, value.to_owned())).await.unwrap()
}

async fn count(store: &SqliteStore) -> usize {
    store.range(RangeRequest::all()).await.unwrap().records.len()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let place = Place::new();
    let last = place.filled().await;
    assert_eq!(place.names(), ["state.db", "state.db.lock"], "closing merges the log");
    let store = place.open().await.unwrap();
    assert_eq!(store.current().await.unwrap(), last);
    assert_eq!(count(&store).await, 200);
    assert!(put(&store, "k", "v").await > last);
}

#[tokio::test]
async fn history_and_compaction_outlive_reopening() {
    let place = Place::new();
    let last = place.filled().await;
    let store = place.open().await.unwrap();
    let middle = Revision(last.0 - 50);
    let replayed = store.watch(WatchRequest::prefix("", middle)).await.unwrap().take(50).count();
    assert_eq!(replayed.await, 50);
    store.compact(middle).await.unwrap();
    store.close().await;
    let store = place.open().await.unwrap();
    assert_eq!(store.stats().await.unwrap().oldest, middle);
    let early = store.range(RangeRequest::all().at(middle.previous())).await;
    assert!(matches!(early, Err(Error::Compacted { oldest }) if oldest == middle));
}

#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    put(&store, "k", "v").await;
    for suffix in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&place.path(&format!("state.db{suffix}"))), 0o600, "{suffix}");
    }
    store.backup(&place.path("copy")).await.unwrap();
    assert_eq!(mode(&place.path("copy")), 0o600);
    drop(store);
    fs::set_permissions(place.db(), fs::Permissions::from_mode(0o644)).unwrap();
    let _store = place.open().await.unwrap();
    assert_eq!(mode(&place.db()), 0o600);
}

#[tokio::test]
async fn a_store_is_open_once() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    let second = place.open().await.unwrap_err();
    assert!(matches!(second, FileError::Locked { .. }));
    assert!(second.to_string().ends_with("state.db is in use by this process"), "{second}");
    let restored = restore(&place.path("any"), &place.db()).await.unwrap_err();
    assert!(matches!(restored, FileError::Locked { .. }));
    drop(store);
    place.open().await.unwrap();
}

#[tokio::test]
async fn a_closed_store_ends_its_watches_and_answers_what_was_asked() {
    let place = Place::new();
    let store = place.open().await.unwrap();
    let mut watch = store.watch(WatchRequest::default()).await.unwrap();
    put(&store, "k", "v").await;
    assert_eq!(watch.next().await.unwrap().unwrap().events.len(), 1);
    store.close().await;
    assert!(matches!(watch.next().await, Some(Err(Error::Closed))));
    assert!(watch.next().await.is_none());
    // The stream that is left does not hold the file.
    place.open().await.unwrap();
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let place = Place::new();
    let config = Config::new(place.path("none/state.db"));
    let error = SqliteStore::open(config).await.unwrap_err();
    assert!(matches!(error, FileError::Io { .. }));
    assert!(error.to_string().contains("none/state.db"), "{error}");
}

#[tokio::test]
async fn the_draft_of_a_killed_process_is_in_nobodys_way() {
    let place = Place::new();
    fs::write(place.path("state.db.draft"), "half a sto").unwrap();
    fs::write(place.path("state.db.draft-journal"), "x").unwrap();
    put(&place.open().await.unwrap(), "k", "v").await;
    assert_eq!(place.names(), ["state.db", "state.db.lock"]);
}

/// The store has to be refused as damaged, with the file in the message.
async fn assert_damaged(place: &Place, what: &str) {
    let error = place.open().await.map(drop).expect_err(what);
    assert!(matches!(error, FileError::Damaged { .. }), "{what}: {error:?}");
    assert!(error.to_string().contains("state.db is damaged"), "{error}");
}

/// Something that happens to a file.
type Damage = fn(&File);

#[tokio::test]
async fn damage_is_found_at_start() {
    let damages: [(&str, Damage); 5] = [
        ("the header", |file| file.write_all_at(&[0xab; 100], 0).unwrap()),
        ("the page of a table", |file| file.write_all_at(&[0xab; 4096], 5 * 4096).unwrap()),
        ("many pages", |file| {
            for page in 2..20 {
                file.write_all_at(&[0; 64], page * 4096).unwrap();
            }
        }),
        ("the end", |file| file.set_len(8 * 4096).unwrap()),
        ("everything", |file| file.set_len(0).unwrap()),
    ];
    for (what, damage) in damages {
        let place = Place::new();
        place.filled().await;
        damage(&File::options().write(true).open(place.db()).unwrap());
        assert_damaged(&place, what).await;
    }
}

#[tokio::test]
async fn a_log_without_its_store_is_not_a_new_store() {
    let place = Place::new();
    fs::write(place.path("state.db-wal"), vec![7; 5000]).unwrap();
    assert_damaged(&place, "a lone log").await;
    assert!(place.path("state.db-wal").exists(), "it is left for whoever can use it");
}

#[tokio::test]
async fn newer_and_foreign_files_are_left_alone() {
    let place = Place::new();
    place.filled().await;
    let db = rusqlite::Connection::open(place.db()).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = place.open().await.unwrap_err();
    assert!(matches!(error, FileError::Newer { found: 99, known: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("upgrade hull"));

    let place = Place::new();
    let db = rusqlite::Connection::open(place.db()).unwrap();
    db.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    drop(db);
    let before = fs::read(place.db()).unwrap();
    let error = place.open().await.unwrap_err();
    assert!(matches!(error, FileError::Foreign { .. }), "{error:?}");
    assert_eq!(fs::read(place.db()).unwrap(), before);
}

#[tokio::test]
async fn a_backup_is_one_file_with_one_state() {
    let place = Place::new();
    let last = place.filled().await;
    let store = place.open().await.unwrap();
    assert_eq!(store.backup(&place.path("copy")).await.unwrap(), last);
    put(&store, "later", "v").await;
    let again = store.backup(&place.path("copy")).await.unwrap_err();
    assert!(matches!(&again, Error::Backup { path, .. } if *path == place.path("copy")));
    let nowhere = store.backup(&place.path("none/copy")).await.unwrap_err();
    assert!(matches!(nowhere, Error::Backup { .. }));
    drop(store);
    assert_eq!(place.names(), ["copy", "state.db", "state.db.lock"]);

    // A backup is a store itself.
    let copy = SqliteStore::open(Config::new(place.path("copy"))).await.unwrap();
    assert_eq!((copy.current().await.unwrap(), count(&copy).await), (last, 200));
}

#[tokio::test]
async fn a_restore_puts_the_backup_back_and_keeps_the_old_file() {
    let place = Place::new();
    let last = place.filled().await;
    let store = place.open().await.unwrap();
    store.backup(&place.path("copy")).await.unwrap();
    let lost = put(&store, "k/000", "changed").await;
    put(&store, "later", "v").await;
    store.close().await;
    // A backup may lie where nothing can be written.
    fs::set_permissions(place.path("copy"), fs::Permissions::from_mode(0o400)).unwrap();
    let backup = fs::read(place.path("copy")).unwrap();

    let restored = restore(&place.path("copy"), &place.db()).await.unwrap();
    assert_eq!(restored.records, 200);
    assert_eq!(restored.kept, Some(place.path("state.db.replaced-1")));
    assert_eq!(fs::read(place.path("copy")).unwrap(), backup);
    assert_eq!(place.names(), ["copy", "state.db", "state.db.lock", "state.db.replaced-1"]);
    assert_eq!(mode(&place.db()), 0o600);

    let store = place.open().await.unwrap();
    assert_eq!(count(&store).await, 200);
    assert_eq!(store.get("k/000").await.unwrap().unwrap().value, "v".repeat(500));
    assert_eq!(store.get("later").await.unwrap(), None);
    // Revisions go on far beyond any that the lost store had given out.
    assert_eq!(store.current().await.unwrap(), restored.revision);
    assert_eq!(restored.revision, Revision(last.0 + 1_000_000_000));
    for old in [last, lost] {
        let watch = store.watch(WatchRequest::prefix("", old)).await;
        assert!(matches!(watch, Err(Error::Compacted { .. })));
    }
    let mut watch = store.watch(WatchRequest::prefix("", restored.revision)).await.unwrap();
    let next = put(&store, "k", "v").await;
    assert_eq!(watch.next().await.unwrap().unwrap().revision, next);
    drop(store);

    let old = SqliteStore::open(Config::new(place.path("state.db.replaced-1"))).await.unwrap();
    assert_eq!(old.get("later").await.unwrap().unwrap().value, "v");
}

#[tokio::test]
async fn a_restore_heals_a_damaged_store_and_a_lost_one() {
    let place = Place::new();
    place.filled().await;
    place.open().await.unwrap().backup(&place.path("copy")).await.unwrap();
    File::options().write(true).open(place.db()).unwrap().write_all_at(&[9; 8192], 0).unwrap();
    fs::write(place.path("state.db-wal"), vec![7; 5000]).unwrap();
    assert_damaged(&place, "a header").await;
    restore(&place.path("copy"), &place.db()).await.unwrap();
    assert_eq!(count(&place.open().await.unwrap()).await, 200);
    assert!(place.path("state.db.replaced-1").exists());

    fs::remove_file(place.db()).unwrap();
    let restored = restore(&place.path("copy"), &place.db()).await.unwrap();
    assert_eq!(restored.kept, None);
    assert_eq!(count(&place.open().await.unwrap()).await, 200);
}

#[tokio::test]
async fn a_bad_backup_changes_nothing() {
    let place = Place::new();
    let last = place.filled().await;
    place.open().await.unwrap().backup(&place.path("damaged")).await.unwrap();
    let file = File::options().write(true).open(place.path("damaged")).unwrap();
    file.write_all_at(&[0xab; 4096], 6 * 4096).unwrap();
    fs::write(place.path("text"), "not a database, but longer than a header would be".repeat(50))
        .unwrap();
    fs::write(place.path("empty"), "").unwrap();
    let before = place.names();
    for name in ["damaged", "text", "empty", "missing"] {
        let error = restore(&place.path(name), &place.db()).await.expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(place.names(), before);
    let store = place.open().await.unwrap();
    assert_eq!((store.current().await.unwrap(), count(&store).await), (last, 200));
}

#[tokio::test]
async fn a_full_store_refuses_commits_and_recovers() {
    let place = Place::new();
    let config = Config { max_bytes: Some(1 << 20), ..Config::new(place.db()) };
    let store = SqliteStore::open(config).await.unwrap();
    let value = "v".repeat(20_000);
    let (mut last, mut written) = (Revision::ZERO, 0);
    let full = loop {
        let commit = Commit::new().put(format!("a/{written}"), value.clone()).put("n", "v");
        match store.commit(commit).await {
            Ok(revision) => (last, written) = (revision, written + 1),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, Error::Full(_)), "{full:?}");
    assert!((30..60).contains(&written), "{written}");
    assert_eq!(store.current().await.unwrap(), last);
    assert_eq!(count(&store).await, written + 1);
    assert_eq!(store.get("n").await.unwrap().unwrap().modified, last);

    // One that is too big does not take the others with it that are written together with it.
    let big = || store.commit(Commit::new().put("big", value.repeat(20)));
    let small = || store.commit(Commit::new().put("n", "w"));
    let (a, b, c, d) = tokio::join!(small(), big(), small(), big());
    assert!(matches!(b, Err(Error::Full(_))) && matches!(d, Err(Error::Full(_))), "{b:?} {d:?}");
    assert!(a.is_ok() && c.is_ok(), "{a:?} {c:?}");

    // Small commits may still fit; deleting and compacting makes room.
    store.commit(Commit::new().delete("a/0").delete("a/1").delete("a/2")).await.unwrap();
    store.compact(store.current().await.unwrap()).await.unwrap();
    let commit = || Commit::new().put("b", value.clone());
    while let Err(error) = store.commit(commit()).await {
        assert!(matches!(error, Error::Full(_)), "{error:?}");
    }
    assert_eq!(count(&store).await, written - 1);
    drop(store);
    assert_eq!(count(&place.open().await.unwrap()).await, written - 1);
}

#[tokio::test]
async fn another_boot_leaves_out_revisions_that_may_be_lost() {
    let place = Place::new();
    let open = async |boot: &str| {
        let config = Config { boot: Some(boot.to_owned()), ..Config::new(place.db()) };
        SqliteStore::open(config).await.unwrap()
    };
    let store = open("one").await;
    put(&store, "k", "v").await;
    let given = store.commit(Commit::new().put("k", "w").deferred()).await.unwrap();
    store.close().await;
    let same = open("one").await;
    assert_eq!(same.current().await.unwrap(), given);
    same.close().await;
    let other = open("two").await;
    let current = other.current().await.unwrap();
    assert!(current.0 > given.0 + 1_000_000, "{current:?} after {given:?}");
    assert_eq!(other.get("k").await.unwrap().unwrap().value, "w");
    let stale = WatchRequest { prefix: String::new(), after: given };
    assert!(matches!(other.watch(stale).await, Err(Error::Compacted { .. })));
}
