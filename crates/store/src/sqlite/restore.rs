//! Putting a backup in the place of a store.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};
use tokio::task;

use super::{
    FileError, backup, connect,
    lock::Lock,
    open,
    paths::{self, Paths, beside},
    schema::Meta,
};
use crate::Revision;

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The revision the store is at now. It is far beyond the backup's, and everything before it
    /// is compacted, so that whoever still holds a revision of the lost store starts anew.
    pub revision: Revision,
    /// Records there are.
    pub records: u64,
    /// Where the file that was replaced is now.
    pub kept: Option<PathBuf>,
}

/// Replaces the store at `to`, which must not be in use, by the backup `from`, which stays as it
/// is. The backup is checked completely before anything is touched; a crash on the way leaves the
/// old store or the new one. The old file is kept beside it as `NAME.replaced-N`.
///
/// # Errors
/// [`FileError::Locked`] when the store is in use; [`FileError::Damaged`], [`FileError::Newer`] and
/// [`FileError::Foreign`] of the backup.
pub async fn restore(from: &Path, to: &Path) -> Result<Restored, FileError> {
    let (from, paths) = (from.to_owned(), Paths::of(to));
    let path = to.to_owned();
    task::spawn_blocking(move || restore_now(&from, &paths)).await.unwrap_or_else(|failed| {
        Err(FileError::Engine { action: "restore", path, source: failed.into() })
    })
}

fn restore_now(from: &Path, paths: &Paths) -> Result<Restored, FileError> {
    let _lock = Lock::take(paths)?;
    paths.remove_draft()?;
    let drafted = draft(from, paths);
    if drafted.is_err() {
        paths.remove_draft()?;
    }
    let (revision, records) = drafted?;
    let kept = put_aside(paths)?;
    paths::put_in_place(&paths.draft, &paths.db)?;
    Ok(Restored { revision, records, kept })
}

/// Makes the new store beside the old one. Returns its revision and how many records it has.
fn draft(from: &Path, paths: &Paths) -> Result<(Revision, u64), FileError> {
    let source = open_backup(from)?;
    open::check_format(&source, from)?;
    open::check_pages(&source, from, "integrity_check")?;
    open::check_meta(&source, from)?;
    let copy = backup::copy(&source, &paths.draft)?;
    open::migrate(&copy, &paths.draft)?;
    leave_revisions_out(&copy).map_err(FileError::engine("renumber", &paths.draft))
}

/// A backup may lie on a disk that cannot be written to.
fn open_backup(path: &Path) -> Result<Connection, FileError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    fs::metadata(path).map_err(FileError::io("read", path))?;
    Connection::open_with_flags(path, flags).map_err(FileError::engine("read", path))
}

fn leave_revisions_out(db: &Connection) -> rusqlite::Result<(Revision, u64)> {
    let tx = db.unchecked_transaction()?;
    let mut meta = Meta::load(&tx)?;
    meta.leave_revisions_out(&tx)?;
    let records = tx.query_one("SELECT count(*) FROM live", [], |row| row.get::<_, i64>(0))?;
    tx.commit()?;
    Ok((meta.revision, records.cast_unsigned()))
}

/// Gives the old store a second name, and takes its log out of the way of the new one.
fn put_aside(paths: &Paths) -> Result<Option<PathBuf>, FileError> {
    if paths::size(&paths.db).is_none() {
        keep_log(paths, &free_name(&paths.db))?;
        return Ok(None);
    }
    merge_log(&paths.db);
    let kept = free_name(&paths.db);
    fs::hard_link(&paths.db, &kept).map_err(FileError::io("keep the old store as", &kept))?;
    keep_log(paths, &kept)?;
    Ok(Some(kept))
}

/// Brings what stands in the log of the old store into its file, if it is healthy enough.
fn merge_log(path: &Path) {
    let merged = connect::plain(path)
        .and_then(|db| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    if let Err(error) = merged {
        tracing::warn!(%error, path = %path.display(), "old store is kept with its log unmerged");
    }
}

/// Moves a log that could not be merged beside the kept store; the new store must not find it.
fn keep_log(paths: &Paths, kept: &Path) -> Result<(), FileError> {
    if paths::size(&paths.wal).is_some_and(|bytes| bytes > 0) {
        let log = beside(kept, "-wal");
        fs::rename(&paths.wal, &log).map_err(FileError::io("keep the old log as", &log))?;
    }
    paths::remove_if_there(&paths.wal)?;
    paths::remove_if_there(&paths.shm)?;
    paths::sync_directory_of(&paths.db)
}

/// The first of `NAME.replaced-1`, `-2`, ... that is not taken.
fn free_name(path: &Path) -> PathBuf {
    (1..)
        .map(|n: u32| beside(path, &format!(".replaced-{n}")))
        .find(|name| fs::symlink_metadata(name).is_err_and(|e| e.kind() == io::ErrorKind::NotFound))
        .expect("one of four billion names is free")
}
