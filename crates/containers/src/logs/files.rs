//! The files of a log: `<directory>/<sequence>.log`, the highest the newest, and `lock`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

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

/// How long the last holder may take to drain what it has.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How often it is looked whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Takes the lock, waiting for the last holder to drain what it has. One that does not end is asked to: where a
/// start was cut short, the shim may hold that one's pipes open for as long as it lives.
pub(super) fn lock(directory: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(directory.join(LOCK))?;
    if !lock_within(&file, LAST_WORDS)? {
        ask_to_end(directory, &mut file)?;
        flock(&file, FlockOperation::LockExclusive)?;
    }
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(std::process::id().to_string().as_bytes())?;
    Ok(file)
}

fn lock_within(file: &File, patience: Duration) -> io::Result<bool> {
    let end = Instant::now() + patience;
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(LOOK_AGAIN),
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Who holds the lock wrote down who it is.
fn ask_to_end(directory: &Path, file: &mut File) -> io::Result<()> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text)?;
    // An older hull's does not say: it is waited for.
    let Some(holder) = text.parse().ok().and_then(Pid::from_raw) else { return Ok(()) };
    if keeps(holder, directory) { Ok(kill_process(holder, Signal::TERM)?) } else { Ok(()) }
}

/// Whether a process is a driver of this log: the number may be another's by now.
fn keeps(process: Pid, directory: &Path) -> bool {
    let words = std::fs::read(format!("/proc/{}/cmdline", process.as_raw_nonzero()));
    let log = directory.as_os_str().as_encoded_bytes();
    words.is_ok_and(|words| words.windows(log.len().max(1)).any(|it| it == log))
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
