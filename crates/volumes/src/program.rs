//! Programs of the distribution, run with a deadline.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use model::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};

/// Longest a program may take. Making a file system takes tenths of a second; a disk that needs
/// longer than this does not answer.
const DEADLINE: Duration = Duration::from_secs(120);

/// Runs `program` and waits for its success.
///
/// # Errors
/// `Unsupported` when it is not installed; `Exhausted` when it says that the disk is full;
/// `Unavailable` with its own words when it fails, or when it does not end in time.
pub fn run<'a>(program: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<()> {
    run_until(0, program, arguments)
}

/// As [`run`]; exit codes up to `highest` are successes.
///
/// # Errors
/// As [`run`].
pub fn run_until<'a>(
    highest: i32,
    program: &str,
    arguments: impl IntoIterator<Item = &'a OsStr>,
) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| not_started(program, error))?;
    wait(&mut child).map_err(|error| {
        let _ = child.kill();
        let _ = child.wait();
        Error::unavailable(format!("{program} did not end")).caused_by(error)
    })?;
    finish(program, child, highest)
}

fn not_started(program: &str, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        let package = match program {
            "mkfs.xfs" | "xfs_growfs" => "xfsprogs",
            _ => "e2fsprogs",
        };
        return Error::unsupported(format!("{program} is not installed"))
            .next(format!("install the package {package}"));
    }
    Error::unavailable(format!("{program} cannot be started")).caused_by(error)
}

fn wait(child: &mut Child) -> io::Result<()> {
    let pid = rustix::process::Pid::from_child(child);
    let handle = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    let limit = Timespec::try_from(DEADLINE).map_err(io::Error::other)?;
    let mut ready = [PollFd::new(&handle, PollFlags::IN)];
    match rustix::event::poll(&mut ready, Some(&limit))? {
        0 => Err(io::Error::from(io::ErrorKind::TimedOut)),
        _ => Ok(()),
    }
}

fn finish(program: &str, mut child: Child, highest: i32) -> Result<()> {
    let status = child
        .wait()
        .map_err(|error| Error::internal(format!("{program} was lost")).caused_by(error))?;
    if status.code().is_some_and(|code| code <= highest) {
        return Ok(());
    }
    let mut words = String::new();
    if let Some(mut pipe) = child.stderr.take() {
        let _ = pipe.read_to_string(&mut words);
    }
    let cause = io::Error::other(format!("{status}: {}", words.trim()));
    if words.contains("No space left on device") {
        return Err(Error::exhausted(format!("{program} found the disk full"))
            .next("free some space where the volumes are kept")
            .caused_by(cause));
    }
    Err(Error::unavailable(format!("{program} failed")).caused_by(cause))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ErrorKind;

    #[test]
    fn a_program_says_why_it_failed() {
        assert!(run("true", []).is_ok());
        let error = run("ls", ["/no/such/place".as_ref()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.chain().contains("/no/such/place"), "{}", error.chain());
        assert_eq!(run("no-such-program", []).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
