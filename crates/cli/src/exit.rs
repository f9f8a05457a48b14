//! Exit codes: the one place that maps the kinds of errors to them.

use std::process::ExitCode;

use model::{Error, ErrorKind};

/// Refused or failed.
const FAILED: u8 = 1;
/// Used wrongly.
const USAGE: u8 = 2;
/// Not found.
const NOT_FOUND: u8 = 3;
/// In conflict with what is there.
const CONFLICT: u8 = 4;
/// The platform, or a part of it, does not answer.
const UNREACHABLE: u8 = 5;

/// The exit code of a failure.
pub fn code(error: &Error) -> ExitCode {
    ExitCode::from(match error.kind() {
        ErrorKind::Invalid => USAGE,
        ErrorKind::NotFound => NOT_FOUND,
        ErrorKind::Exists | ErrorKind::Conflict => CONFLICT,
        ErrorKind::Unavailable => UNREACHABLE,
        ErrorKind::Forbidden
        | ErrorKind::Unauthenticated
        | ErrorKind::Exhausted
        | ErrorKind::Unsupported
        | ErrorKind::Internal => FAILED,
    })
}

/// The exit code of a program that could not be started: as a shell's where the program is at fault
/// (POSIX.1-2024, shell command language, 2.8.2), else that of any failure.
pub fn of_start(error: &Error) -> ExitCode {
    let why = error.chain();
    if error.kind() != ErrorKind::Invalid || !why.contains("start") {
        return code(error);
    }
    let missing = ["not found in the container", "executable file not found", "no such file"];
    if missing.iter().any(|words| why.contains(words)) {
        return ExitCode::from(127);
    }
    let not_run = ["permission denied", "exec format error"];
    let not_run = not_run.iter().any(|words| why.contains(words));
    if not_run { ExitCode::from(126) } else { code(error) }
}

/// The exit code of a process, passed on.
pub fn of_process(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(FAILED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_failure_have_the_codes_of_the_contract() {
        let text = |code: ExitCode| format!("{code:?}");
        for (kind, expected) in [
            (ErrorKind::Invalid, 2),
            (ErrorKind::NotFound, 3),
            (ErrorKind::Exists, 4),
            (ErrorKind::Conflict, 4),
            (ErrorKind::Unavailable, 5),
            (ErrorKind::Forbidden, 1),
            (ErrorKind::Internal, 1),
        ] {
            assert_eq!(text(code(&Error::new(kind, "x"))), text(ExitCode::from(expected)));
        }
    }

    #[test]
    fn programs_that_cannot_be_run_have_a_shells_codes() {
        for (message, expected) in [
            ("instance \"web\" could not be started: xx: not found in the container", 127),
            ("instance \"web\" could not be started: /etc: is a directory, permission denied", 126),
            ("instance \"web\" could not be started: /x: exec format error", 126),
            ("the image is not a name", 2),
        ] {
            let code = format!("{:?}", of_start(&Error::invalid(message)));
            assert_eq!(code, format!("{:?}", ExitCode::from(expected)), "{message}");
        }
    }
}
