//! Files and directories that are there after a power cut.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Puts `value` as JSON into the file `path`: the old contents or the new, never a mixture.
///
/// # Errors
/// The file system's.
pub fn write(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let draft = path.with_extension("draft");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync(parent)
}

/// Reads what [`write`] wrote; `None` when there is no such file.
///
/// # Errors
/// The file system's; `InvalidData` when it was not written by us.
pub fn read<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    match fs::read(path) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes out a directory: the names in it.
///
/// # Errors
/// The file system's.
pub fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Moves a directory to another name, for good.
///
/// # Errors
/// The file system's.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    for moved in [from, to] {
        sync(moved.parent().unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Whether an error says that there is no such file.
pub fn absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR))
}
