//! The files of a log: `<directory>/<sequence>.log`, the highest the newest, and `lock`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

/// Name of the file whose lock says that more may come.
pub(super) const LOCK: &str = "lock";

/// The sequence number of a log's first file.
pub(super) const FIRST: u64 = 1;

/// The file of that sequence number.
pub(super) fn path(directory: &Path, sequence: u64) -> PathBuf {
    directory.join(format!("{sequence}.log"))
}

/// The sequence numbers there are, lowest first; none when there is no directory.
pub(super) fn sequences(directory: &Path) -> io::Result<Vec<u64>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        found.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the directory of a log, for root only.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Opens a file of a log to write to, made if it is not there.
pub(super) fn open(directory: &Path, sequence: u64) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path(directory, sequence))
}

/// Takes the lock, waiting for the last holder to drain what it has.
pub(super) fn lock(directory: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(LOCK))?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(file)
}

/// Whether a driver holds the lock: more may come.
pub fn is_written(directory: &Path) -> bool {
    let Ok(file) = File::open(directory.join(LOCK)) else {
        return false;
    };
    flock(&file, FlockOperation::NonBlockingLockShared) == Err(Errno::WOULDBLOCK)
}

/// Holds a file of the log until its reader closes it: a writer that is to remove it waits a while.
pub(super) fn hold(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockShared).is_ok()
}

/// Whether somebody holds a file of the log.
pub(super) fn is_held(file: &File) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
}

/// Bytes all files of a log take.
pub fn size(directory: &Path) -> u64 {
    let sequences = sequences(directory).unwrap_or_default();
    sequences
        .into_iter()
        .filter_map(|sequence| path(directory, sequence).metadata().ok())
        .map(|meta| meta.len())
        .sum()
}
