//! One process at a time.

use std::{
    fs::{File, TryLockError},
    io::{self, Read, Seek, Write},
};

use super::{FileError, paths, paths::Paths};

/// The right to open a store, until dropped. The kernel takes it back when the process dies.
///
/// It is held on a file of its own: SQLite's own locks are on the store's file, and opening and
/// closing that file by other means would lose them (<https://sqlite.org/howtocorrupt.html> 2.2).
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "holding it is its use")] File);

impl Lock {
    /// Takes the lock of a store, or tells who has it.
    pub(super) fn take(paths: &Paths) -> Result<Self, FileError> {
        let mut file =
            paths::open_lock_file(&paths.lock).map_err(FileError::io("open", &paths.lock))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FileError::Locked { path: paths.db.clone(), holder: holder(file) });
            }
            Err(TryLockError::Error(error)) => {
                return Err(FileError::io("lock", &paths.lock)(error));
            }
        }
        sign(&mut file).map_err(FileError::io("write", &paths.lock))?;
        Ok(Self(file))
    }
}

/// Writes who has the lock.
fn sign(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Who has the lock, as the file tells.
fn holder(mut file: File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<u32>().ok()) {
        Some(pid) if pid == std::process::id() => "this process".into(),
        Some(pid) => format!("process {pid}"),
        None => "another process".into(),
    }
}
