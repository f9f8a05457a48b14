//! A copy of a store in use.

use std::{ffi::c_int, io, path::Path, time::Duration};

use rusqlite::{Connection, backup::Backup};

use super::{FileError, connect, open, paths};
use crate::Revision;

/// Copies the store `from` into the new file `to`: one state of it, checked, and there whole or
/// not at all. Commits go on meanwhile.
pub(super) fn backup(from: &Path, to: &Path) -> Result<Revision, FileError> {
    refuse_existing(to)?;
    let draft = paths::beside(to, ".partial");
    paths::remove_if_there(&draft)?;
    let copied = copy_checked(from, &draft);
    let placed = copied.and_then(|revision| {
        refuse_existing(to)?;
        paths::put_in_place(&draft, to).map(|()| revision)
    });
    if placed.is_err() {
        paths::remove_if_there(&draft)?;
        paths::remove_if_there(&paths::beside(&draft, "-journal"))?;
    }
    placed
}

fn refuse_existing(path: &Path) -> Result<(), FileError> {
    if paths::size(path).is_none() {
        return Ok(());
    }
    let source = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(FileError::Io { action: "create", path: path.into(), source })
}

fn copy_checked(from: &Path, draft: &Path) -> Result<Revision, FileError> {
    let source = connect::reader(from).map_err(FileError::engine("read", from))?;
    let copy = copy(&source, draft)?;
    open::check_pages(&copy, draft, "quick_check")?;
    Ok(open::check_meta(&copy, draft)?.revision)
}

/// Copies a database into the new file `to`, which needs no log beside it.
pub(super) fn copy(from: &Connection, to: &Path) -> Result<Connection, FileError> {
    paths::create_private(to)?;
    let run = || {
        let mut copy = connect::plain(to)?;
        // In one step, so that no commit comes between and makes it begin again. Being in the way
        // of a checkpoint is the only reason to pause.
        Backup::new(from, &mut copy)?.run_to_completion(
            c_int::MAX,
            Duration::from_millis(10),
            None,
        )?;
        copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
        Ok(copy)
    };
    run().map_err(FileError::engine("copy to", to))
}
