//! What can go wrong with a store's file, and what SQLite's errors mean.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::ErrorCode;

use crate::{Cause, Error};

/// What can go wrong when a store's file is opened or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Another process, or this one, has the store open.
    #[error("the store {path} is in use by {holder}")]
    Locked {
        /// The store.
        path: PathBuf,
        /// Who has it, as far as it said so.
        holder: String,
    },

    /// The content is damaged.
    #[error("the store {path} is damaged: {detail}")]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },

    /// A newer version wrote the file.
    #[error(
        "the store {path} was written by a newer hull (format {found}, this one knows {known}); \
         upgrade hull, or put an older copy back with `hull backup restore FILE`"
    )]
    Newer {
        /// The store.
        path: PathBuf,
        /// The format of the file.
        found: u32,
        /// The newest format this program knows.
        known: u32,
    },

    /// The file is a SQLite database of somebody else.
    #[error("{path} is not a store of hull")]
    Foreign {
        /// The file.
        path: PathBuf,
    },

    /// The operating system refused something.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },

    /// SQLite refused something.
    #[error("cannot {action} {path}")]
    Engine {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: Cause,
    },
}

impl FileError {
    /// Turns an error of the operating system into ours.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }

    /// Turns an error of SQLite into ours.
    pub(super) fn engine(
        action: &'static str,
        path: &Path,
    ) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| match Fault::of(&source) {
            Fault::Damage => Self::Damaged { path: path.into(), detail: source.to_string() },
            Fault::Full | Fault::Disk | Fault::Other => {
                Self::Engine { action, path: path.into(), source: source.into() }
            }
        }
    }

    /// A store whose content is not as it should be.
    pub(super) fn damaged(path: &Path, detail: impl Into<String>) -> Self {
        Self::Damaged { path: path.into(), detail: detail.into() }
    }
}

/// What an error of SQLite means for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No room.
    Full,
    /// The content is not what was written.
    Damage,
    /// The disk failed: what was written since the last sync may be lost.
    Disk,
    /// Anything else.
    Other,
}

impl Fault {
    pub(super) fn of(error: &rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Self::Full,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Self::Damage,
                ErrorCode::SystemIoFailure => Self::Disk,
                _ => Self::Other,
            },
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::QueryReturnedNoRows => Self::Damage,
            _ => Self::Other,
        }
    }
}

/// The error of a store whose file `path` gave `error`, when nothing was changed.
pub(super) fn of_store(path: &Path, error: Arc<rusqlite::Error>) -> Error {
    let fault = Fault::of(&error);
    let cause: Cause = Box::new(error);
    match fault {
        Fault::Full => Error::Full(cause),
        Fault::Damage => Error::Damaged { path: path.into(), source: cause },
        Fault::Disk | Fault::Other => Error::Unavailable(cause),
    }
}
