//! Exit codes: the one place that maps the kinds of errors to them.

use std::process::ExitCode;

use model::error::Code;
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
/// The program is there and cannot be run.
const NOT_RUN: u8 = 126;
/// The program is not there.
const MISSING: u8 = 127;

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
    match error.code() {
        Some(Code::ProgramMissing) => ExitCode::from(MISSING),
        Some(Code::ProgramIsDirectory | Code::ProgramNotPermitted | Code::ProgramForeign) => {
            ExitCode::from(NOT_RUN)
        }
        Some(_) | None => code(error),
    }
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
        let text = |code: ExitCode| format!("{code:?}");
        for (fault, expected) in [
            (Some(Code::ProgramMissing), 127),
            (Some(Code::ProgramIsDirectory), 126),
            (Some(Code::ProgramNotPermitted), 126),
            (Some(Code::ProgramForeign), 126),
            (Some(Code::WorkdirMissing), 2),
            (None, 2),
        ] {
            // Its words say something else.
            let error = Error::invalid("could not be started: not found, permission denied");
            let error = fault.into_iter().fold(error, Error::coded);
            assert_eq!(text(of_start(&error)), text(ExitCode::from(expected)), "{fault:?}");
        }
    }
}
