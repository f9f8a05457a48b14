//! Opening a store: made when new, checked when not.

use std::{path::Path, sync::Arc};

use rusqlite::Connection;

use super::{
    Config, FileError, connect,
    lock::Lock,
    paths::{self, Paths},
    schema::{self, Meta},
};

/// A store that was found in order.
#[derive(Debug)]
pub(super) struct Opened {
    /// The connection that writes.
    pub db: Connection,
    /// Where the store is.
    pub meta: Meta,
    /// Its files.
    pub paths: Paths,
    /// The right to have it open.
    pub lock: Arc<Lock>,
}

/// Opens the store, making it when it is not there.
pub(super) fn open(config: &Config) -> Result<Opened, FileError> {
    let paths = Paths::of(&config.path);
    let lock = Arc::new(Lock::take(&paths)?);
    paths.remove_draft()?;
    if paths::size(&paths.db).is_none() {
        refuse_lone_log(&paths)?;
        create(&paths)?;
    }
    paths.make_private()?;
    // SQLite would take an empty file for a new store, and throw away the log of the lost one.
    if paths::size(&paths.db) == Some(0) {
        return Err(FileError::damaged(&paths.db, "it is empty"));
    }
    let reader = connect::reader(&paths.db).map_err(FileError::engine("open", &paths.db))?;
    check_format(&reader, &paths.db)?;
    let db = connect::writer(config).map_err(FileError::engine("open", &paths.db))?;
    drop(reader);
    migrate(&db, &paths.db)?;
    check_pages(&db, &paths.db, "quick_check")?;
    let mut meta = check_meta(&db, &paths.db)?;
    if let Some(boot) = &config.boot {
        enter_boot(&db, &mut meta, boot).map_err(FileError::engine("renumber", &paths.db))?;
    }
    Ok(Opened { db, meta, paths, lock })
}

/// Writes down in which boot of the machine the store is open. The end of the last one may have
/// taken deferred commits along.
fn enter_boot(db: &Connection, meta: &mut Meta, boot: &str) -> rusqlite::Result<()> {
    let last: Option<String> = db.query_one("SELECT boot FROM meta", [], |row| row.get(0))?;
    if last.as_deref() == Some(boot) {
        return Ok(());
    }
    let tx = db.unchecked_transaction()?;
    if last.is_some() {
        meta.leave_revisions_out(&tx)?;
    }
    tx.execute("UPDATE meta SET boot = ?1", [boot])?;
    tx.commit()
}

/// Makes an empty store. It takes its name when it is complete.
fn create(paths: &Paths) -> Result<(), FileError> {
    paths::create_private(&paths.draft)?;
    let make = || {
        let db = connect::plain(&paths.draft)?;
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        db.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
        db.execute_batch("BEGIN; COMMIT")?;
        Ok(db)
    };
    let db = make().map_err(FileError::engine("create", &paths.draft))?;
    migrate(&db, &paths.draft)?;
    drop(db);
    paths::put_in_place(&paths.draft, &paths.db)
}

/// A log without its store means that somebody lost the store, not that it is new.
fn refuse_lone_log(paths: &Paths) -> Result<(), FileError> {
    match paths::size(&paths.wal) {
        None | Some(0) => Ok(()),
        Some(_) => Err(FileError::damaged(&paths.db, "its log is there, but it is not")),
    }
}

/// Whether this is a store and one we can read. Changes nothing.
pub(super) fn check_format(db: &Connection, path: &Path) -> Result<(), FileError> {
    let number = |pragma| {
        let read = db.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0));
        read.map_err(FileError::engine("read", path))
    };
    if number("application_id")? != schema::APPLICATION_ID {
        return Err(FileError::Foreign { path: path.into() });
    }
    let (found, known) = (number("user_version")?, schema::newest());
    if found > known {
        return Err(FileError::Newer { path: path.into(), found, known });
    }
    Ok(())
}

/// Brings the tables up to the newest format, all steps or none.
pub(super) fn migrate(db: &Connection, path: &Path) -> Result<(), FileError> {
    let run = || {
        let found: u32 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if found == schema::newest() {
            return Ok(());
        }
        let tx = db.unchecked_transaction()?;
        for step in schema::MIGRATIONS.iter().skip(found as usize) {
            tx.execute_batch(step)?;
        }
        tx.pragma_update(None, "user_version", schema::newest())?;
        tx.commit()
    };
    run().map_err(FileError::engine("bring up to date", path))
}

/// Reads every page. `check` is `quick_check`, or the slower `integrity_check` that also compares
/// the indexes with their tables.
pub(super) fn check_pages(db: &Connection, path: &Path, check: &str) -> Result<(), FileError> {
    let found: String = db
        .query_row(&format!("PRAGMA {check}(1)"), [], |row| row.get(0))
        .map_err(FileError::engine("check", path))?;
    if found == "ok" { Ok(()) } else { Err(FileError::damaged(path, found)) }
}

/// Whether what the store says of itself fits its content.
pub(super) fn check_meta(db: &Connection, path: &Path) -> Result<Meta, FileError> {
    let read = || {
        let meta = Meta::load(db)?;
        let newest: Option<i64> = db.query_one("SELECT max(id) FROM history", [], |r| r.get(0))?;
        Ok((meta, newest))
    };
    let (meta, newest) = read().map_err(FileError::engine("read", path))?;
    if newest.is_some_and(|id| schema::revision(id) > meta.revision) {
        return Err(FileError::damaged(path, "it holds records newer than its revision"));
    }
    if meta.compacted > meta.revision {
        return Err(FileError::damaged(path, "it is compacted beyond its revision"));
    }
    Ok(meta)
}
