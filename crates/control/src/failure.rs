//! What errors of the store mean to those who asked for something.

use model::{Error, ErrorKind};
use store::Error as StoreError;

/// The platform's error for one of the store's. A conflict is told by [`crate::transact`] where it
/// can be named better; here it is one that did not go away.
pub(crate) fn of_store(error: StoreError) -> Error {
    let (kind, message, next) = match &error {
        StoreError::Conflict { .. } => (
            ErrorKind::Conflict,
            "the object was changed by somebody else meanwhile",
            "read it again and repeat the change",
        ),
        StoreError::Compacted { .. } => (
            ErrorKind::Conflict,
            "the revision asked for is no longer kept",
            "list again and watch from the revision the list gives",
        ),
        StoreError::FutureRevision { .. } => (
            ErrorKind::Conflict,
            "the revision asked for has not happened yet",
            "list again and watch from the revision the list gives",
        ),
        StoreError::Invalid { .. } => (
            ErrorKind::Invalid,
            "the object is too big to be kept",
            "make it smaller: labels, annotations and embedded files count",
        ),
        StoreError::Full(_) => (
            ErrorKind::Exhausted,
            "there is no room to keep the change",
            "free space on the disk that holds the state of hull",
        ),
        StoreError::Uncertain(_) => (
            ErrorKind::Unavailable,
            "it is not known whether the change was kept",
            "read the object to see",
        ),
        StoreError::Damaged { .. } => (
            ErrorKind::Internal,
            "the store is damaged",
            "stop hull and run `hull backup restore FILE`",
        ),
        StoreError::Backup { .. } => (
            ErrorKind::Invalid,
            "the backup could not be written",
            "give a path to a new file in a directory that exists",
        ),
        StoreError::Unavailable(_) | StoreError::Closed => (
            ErrorKind::Unavailable,
            "the store does not answer",
            "see `hull status`; try again when hull runs",
        ),
        StoreError::DuplicateKey { .. } => (
            ErrorKind::Internal,
            "one change wrote a record twice",
            "report this as a fault of hull",
        ),
    };
    Error::new(kind, message).next(next).caused_by(error)
}
