//! The system's errors as the platform's.

use std::io;

use model::{Error, ErrorKind};

/// An error of the system met while doing `what`, e.g. `volume "data" cannot be made`. A full disk or
/// quota is told as such, with its remedy.
pub fn io(error: impl Into<io::Error>, what: impl Into<String>) -> Error {
    let error = error.into();
    let code = error.raw_os_error();
    match code {
        Some(libc::ENOSPC) => Error::exhausted(format!("{}: the disk is full", what.into()))
            .next("free some space, or give the volume a larger disk")
            .caused_by(error),
        Some(libc::EDQUOT) => Error::exhausted(format!("{}: its size is used up", what.into()))
            .next("make the volume larger, or remove files from it")
            .caused_by(error),
        _ => Error::new(kind(&error), what).caused_by(error),
    }
}

fn kind(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Exhausted,
        io::ErrorKind::ResourceBusy => ErrorKind::Conflict,
        io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
        io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        io::ErrorKind::NotFound => ErrorKind::Internal,
        _ => ErrorKind::Unavailable,
    }
}

/// Adds the sentence to an error of the system.
pub trait Fault<T> {
    /// Turns a failure into the platform's error, as [`io`] does.
    fn fault(self, what: impl FnOnce() -> String) -> model::Result<T>;
}

impl<T, E: Into<io::Error>> Fault<T> for Result<T, E> {
    fn fault(self, what: impl FnOnce() -> String) -> model::Result<T> {
        self.map_err(|error| io(error, what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_as_such() {
        for code in [libc::ENOSPC, libc::EDQUOT] {
            let error = io(io::Error::from_raw_os_error(code), "volume \"data\" cannot be made");
            assert_eq!(error.kind(), ErrorKind::Exhausted);
            assert!(error.message().starts_with("volume \"data\""), "{}", error.message());
            assert!(error.next_step().is_some());
        }
        let busy = io(io::Error::from_raw_os_error(libc::EBUSY), "x");
        assert_eq!(busy.kind(), ErrorKind::Conflict);
    }
}
