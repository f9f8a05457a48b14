//! What is wrong with the file of the records, in words of the platform, and what helps.

use std::path::Path;

use model::{Error, ErrorKind};
use store::sqlite::{FileError, Restored};

/// Why the records cannot be opened.
pub fn cannot_open(path: &Path, error: FileError) -> Error {
    let message = format!("the records in {} cannot be opened", path.display());
    let (kind, next) = match &error {
        FileError::Damaged { .. } => (
            ErrorKind::Internal,
            "put a copy in their place, which keeps these beside it: hull backup restore FILE",
        ),
        FileError::Locked { .. } => {
            (ErrorKind::Conflict, "is another daemon of this root running?")
        }
        // It says itself what helps.
        FileError::Newer { .. } => (ErrorKind::Unsupported, "see hull version"),
        FileError::Foreign { .. } => {
            (ErrorKind::Conflict, "move the file away, or use another --root")
        }
        _ => (ErrorKind::Unavailable, "is the disk full or failing? see hull check"),
    };
    Error::new(kind, message).next(next).caused_by(error)
}

/// Why a backup cannot be put in the place of the records.
pub fn cannot_restore(backup: &Path, error: FileError) -> Error {
    let message = format!("{} cannot be put in the place of the records", backup.display());
    let (kind, next) = match &error {
        FileError::Damaged { .. } | FileError::Foreign { .. } => {
            (ErrorKind::Invalid, "take another backup; the records are as they were")
        }
        FileError::Locked { .. } => (ErrorKind::Conflict, "hull down, then try again"),
        FileError::Newer { .. } => (ErrorKind::Unsupported, "see hull version"),
        _ => (ErrorKind::Unavailable, "is the disk full or failing? the records are as they were"),
    };
    Error::new(kind, message).next(next).caused_by(error)
}

/// What a restore did, for people.
pub fn restored(backup: &Path, done: &Restored) -> String {
    let Restored { revision: _, records, kept } = done;
    let mut text = format!(
        "{records} records of {} are in place; hull up goes on with them.",
        backup.display()
    );
    if let Some(kept) = kept {
        text.push_str(&format!("\nThose that were there are kept as {}.", kept.display()));
    }
    text
}
