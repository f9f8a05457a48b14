//! Connections and their settings.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};

use super::Config;

/// SQLite's page, in bytes: its default, and that of most file systems.
const PAGE_BYTES: u64 = 4096;

/// How long a connection waits for another one. They only meet at checkpoints, which are short.
const BUSY: Duration = Duration::from_secs(1);

/// The log is cut to this many bytes when it is merged.
const KEPT_LOG_BYTES: u32 = 16 << 20;

/// A connection to a file that has to be there.
pub(super) fn plain(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(BUSY)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}

/// The connection that writes: each transaction is on the disk before it is acknowledged.
pub(super) fn writer(config: &Config) -> rusqlite::Result<Connection> {
    let db = plain(&config.path)?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |r| r.get(0))?;
    debug_assert_eq!(mode, "wal");
    sync_commits(&db, true)?;
    db.pragma_update(None, "cache_size", -4096)?; // KiB
    db.pragma_update(None, "temp_store", "MEMORY")?;
    set(&db, "wal_autocheckpoint", config.checkpoint_pages)?;
    set(&db, "journal_size_limit", KEPT_LOG_BYTES)?;
    if let Some(bytes) = config.max_bytes {
        set(&db, "max_page_count", u32::try_from(bytes / PAGE_BYTES).unwrap_or(u32::MAX - 1))?;
    }
    Ok(db)
}

/// Whether transactions from now on are on the disk when they are committed. Those that are not are
/// with the next one that is, or when the log is merged (SQLite's `synchronous`, FULL and NORMAL).
pub(super) fn sync_commits(db: &Connection, on: bool) -> rusqlite::Result<()> {
    db.pragma_update(None, "synchronous", if on { "FULL" } else { "NORMAL" })
}

/// A connection that only reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let db = plain(path)?;
    db.pragma_update(None, "query_only", true)?;
    db.pragma_update(None, "cache_size", -1024)?; // KiB
    db.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(db)
}

/// Sets a pragma that answers with its new value.
fn set(db: &Connection, pragma: &str, value: u32) -> rusqlite::Result<()> {
    db.pragma_update_and_check(None, pragma, value, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::open;

    fn pragma(db: &Connection, name: &str) -> i64 {
        db.pragma_query_value(None, name, |row| row.get(0)).unwrap()
    }

    #[test]
    fn the_writer_syncs_and_readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path().join("state.db"));
        drop(open::open(&config).unwrap());
        let db = writer(&config).unwrap();
        assert_eq!(pragma(&db, "synchronous"), 2); // FULL
        assert_eq!(pragma(&db, "auto_vacuum"), 2); // INCREMENTAL
        assert_eq!(db.pragma_query_value(None, "journal_mode", |r| r.get(0)), Ok("wal".to_owned()));
        let reader = reader(&config.path).unwrap();
        reader.execute("DELETE FROM history", []).unwrap_err();
    }
}
