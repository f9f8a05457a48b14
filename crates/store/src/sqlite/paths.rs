//! The files of a store.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, Permissions},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::FileError;

/// Readable and writable by the owner only: records hold secrets.
const PRIVATE: u32 = 0o600;

/// The files of a store, all in one directory.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    /// The records.
    pub db: PathBuf,
    /// SQLite's write-ahead log.
    pub wal: PathBuf,
    /// SQLite's index of that log.
    pub shm: PathBuf,
    /// Held by the process that has the store open.
    pub lock: PathBuf,
    /// A new store or a restored one before it takes its name.
    pub draft: PathBuf,
}

impl Paths {
    pub(super) fn of(db: &Path) -> Self {
        Self {
            db: db.to_owned(),
            wal: beside(db, "-wal"),
            shm: beside(db, "-shm"),
            lock: beside(db, ".lock"),
            draft: beside(db, ".draft"),
        }
    }

    /// Removes what a process that was killed left half made.
    pub(super) fn remove_draft(&self) -> Result<(), FileError> {
        remove_if_there(&self.draft)?;
        remove_if_there(&beside(&self.draft, "-journal"))
    }

    /// Takes the rights of others away.
    pub(super) fn make_private(&self) -> Result<(), FileError> {
        for path in [&self.db, &self.wal, &self.shm] {
            match fs::set_permissions(path, Permissions::from_mode(PRIVATE)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(FileError::io("protect", path))?,
            }
        }
        Ok(())
    }

    /// Bytes of records and log.
    pub(super) fn bytes(&self) -> u64 {
        size(&self.db).unwrap_or(0) + size(&self.wal).unwrap_or(0)
    }
}

/// `path` with `suffix` behind its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Makes a new empty file that only its owner can read.
pub(super) fn create_private(path: &Path) -> Result<(), FileError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path);
    made.map(drop).map_err(FileError::io("create", path))
}

/// Opens the file that is locked, made when it is not there.
pub(super) fn open_lock_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(PRIVATE).open(path)
}

/// The size of a file in bytes, `None` when it is not there.
pub(super) fn size(path: &Path) -> Option<u64> {
    fs::metadata(path).ok().map(|meta| meta.len())
}

/// Gives a finished file its name, so that it is there whole or not at all, also after a power cut.
pub(super) fn put_in_place(draft: &Path, path: &Path) -> Result<(), FileError> {
    let synced = File::open(draft).and_then(|file| file.sync_all());
    synced.map_err(FileError::io("sync", draft))?;
    fs::rename(draft, path).map_err(FileError::io("rename to", path))?;
    sync_directory_of(path)
}

/// Makes the names in the directory of `path` durable.
pub(super) fn sync_directory_of(path: &Path) -> Result<(), FileError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let synced = File::open(directory).and_then(|file| file.sync_all());
    synced.map_err(FileError::io("sync", directory))
}

/// Removes a file that need not be there.
pub(super) fn remove_if_there(path: &Path) -> Result<(), FileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(FileError::io("remove", path)),
    }
}
