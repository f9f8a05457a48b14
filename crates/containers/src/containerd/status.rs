//! containerd's answers as errors of the platform.

use model::error::Code as Fault;
use model::{Error, ErrorKind};
use tonic::{Code, Status};

use crate::engine::ContainerId;

/// Says what was being done when containerd refused.
pub(super) trait Explain<T> {
    /// The error for a call that did `what` (`"container web cannot be created"`).
    fn explain(self, what: impl FnOnce() -> String) -> model::Result<T>;
}

impl<T> Explain<T> for Result<T, Status> {
    fn explain(self, what: impl FnOnce() -> String) -> model::Result<T> {
        self.map_err(|status| error(status, what()))
    }
}

/// The error for a status.
pub(super) fn error(status: Status, what: String) -> Error {
    let kind = kind(&status);
    let error = Error::new(kind, what);
    let error = match kind {
        ErrorKind::Unavailable => error.next("wait until containerd answers again"),
        ErrorKind::Exhausted => error.next("make room on the disk of the node's state"),
        ErrorKind::Invalid
        | ErrorKind::NotFound
        | ErrorKind::Exists
        | ErrorKind::Conflict
        | ErrorKind::Forbidden
        | ErrorKind::Unauthenticated
        | ErrorKind::Unsupported
        | ErrorKind::Internal => error,
    };
    error.caused_by(Cause(status))
}

/// Nothing begins in a container that is frozen.
pub(super) fn paused(id: &ContainerId) -> Error {
    Error::conflict(format!("container {id} is paused")).next("unpause it first")
}

fn kind(status: &Status) -> ErrorKind {
    match status.code() {
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::Exists,
        Code::InvalidArgument | Code::OutOfRange => ErrorKind::Invalid,
        Code::FailedPrecondition | Code::Aborted => ErrorKind::Conflict,
        Code::PermissionDenied => ErrorKind::Forbidden,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::ResourceExhausted => ErrorKind::Exhausted,
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => ErrorKind::Unavailable,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => told(status.message()),
    }
}

/// containerd passes on what others told it without a code.
fn told(message: &str) -> ErrorKind {
    let has = |part: &str| message.contains(part);
    if has("no space left on device") || has("disk quota exceeded") {
        ErrorKind::Exhausted
    } else if has("transport error") || has("connection refused") || has("ttrpc: closed") {
        ErrorKind::Unavailable
    } else {
        ErrorKind::Internal
    }
}

/// The error for a program that could not be begun, told from faults of the engine: `Invalid` at
/// `command`, with the words a shell would use.
pub(super) fn not_begun(status: Status, name: &str, program: &str) -> Error {
    let message = status.message();
    let has = |part: &str| message.contains(part);
    let missing = has("executable file not found") || has("no such file or directory");
    let (why, code) = if has("chdir to cwd") {
        return error(status, format!("{name} cannot be started")).coded(Fault::WorkdirMissing);
    } else if has("exec: ") && missing {
        ("not found in the container", Fault::ProgramMissing)
    } else if has("exec: ") && has("is a directory") {
        ("is a directory, permission denied", Fault::ProgramIsDirectory)
    } else if has("exec: ") && has("permission denied") {
        ("permission denied", Fault::ProgramNotPermitted)
    } else if has("exec format error") {
        ("made for another kind of machine: exec format error", Fault::ProgramForeign)
    } else {
        return error(status, format!("{name} cannot be started"));
    };
    // The engine's own words, which name its layers, would say no more.
    Error::invalid(format!("{program}: {why}"))
        .coded(code)
        .at("command")
        .next("check the command against what the image has")
}

/// A status in words only.
#[derive(Debug)]
struct Cause(Status);

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.0.message();
        f.write_str(message.strip_suffix(": unknown").unwrap_or(message))
    }
}

impl std::error::Error for Cause {}

/// Whether an error came of containerd not answering: it is away, hangs, or is being replaced.
pub fn is_away(error: &Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Cause(status)) = error.downcast_ref() {
            return kind(status) == ErrorKind::Unavailable;
        }
        cause = error.source();
    }
    false
}

/// What is gone already need not be removed.
pub(super) fn gone<T>(answer: Result<T, Status>) -> Result<Option<T>, Status> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_away() {
        let timed_out = error(Status::deadline_exceeded("late"), "container web".to_owned());
        assert!(is_away(&timed_out));
        assert!(is_away(&Error::conflict("above").caused_by(timed_out)));
        assert!(!is_away(&error(Status::not_found("gone"), "container web".to_owned())));
        assert!(!is_away(&Error::unavailable("a registry")));
    }

    #[test]
    fn programs_that_cannot_be_begun() {
        let runc = "failed to create shim task: OCI runtime create failed: runc create failed: \
            unable to start container process: exec: ";
        for (message, kind, part) in [
            (
                format!("{runc}\"x\": executable file not found in $PATH: unknown"),
                ErrorKind::Invalid,
                "not found",
            ),
            (
                format!("{runc}\"/x\": stat /x: no such file or directory: unknown"),
                ErrorKind::Invalid,
                "not found",
            ),
            (
                format!("{runc}\"/x\": permission denied: unknown"),
                ErrorKind::Invalid,
                "permission denied",
            ),
            (format!("{runc}\"/\": is a directory"), ErrorKind::Invalid, "permission denied"),
            ("write: no space left on device".to_owned(), ErrorKind::Exhausted, "started"),
            ("else".to_owned(), ErrorKind::Internal, "started"),
        ] {
            let error = not_begun(Status::unknown(message), "container web", "x");
            assert_eq!(error.kind(), kind);
            assert!(error.message().contains(part), "{error}");
        }
    }
}
