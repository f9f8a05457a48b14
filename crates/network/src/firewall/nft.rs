//! The program nft(8), which knows the kernel's tables.

use std::io::{self, Write};
use std::process::{Command, Output, Stdio};

use model::{Error, Result};

/// Runs a script as one transaction, in the calling thread's namespace.
pub(super) fn load(script: &str) -> Result<()> {
    let output = run(&["-f", "-"], script)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or_default().to_owned();
    let error = match said.contains("Operation not permitted") {
        true => Error::forbidden("the firewall refused a change of our table")
            .next("run hull as root, with CAP_NET_ADMIN"),
        false => Error::internal("the firewall refused a change of our table")
            .next("run `hull check`: it names what this kernel lacks"),
    };
    Err(error.caused_by(io::Error::other(said)))
}

fn run(arguments: &[&str], input: &str) -> Result<Output> {
    run_program("nft", arguments, input)
}

fn run_program(program: &str, arguments: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot_run)?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // nft reads all of its input before it writes; it stops reading only to fail, and says why.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().map_err(cannot_run)
}

fn cannot_run(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::unsupported("the program nft is not installed")
            .next("install the package nftables: `apt install nftables`"),
        _ => Error::unavailable("the program nft could not be run"),
    }
    .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error = run_program("/nonexistent/nft", &[], "").unwrap_err();
        assert_eq!(error.kind(), model::ErrorKind::Unsupported);
        assert_eq!(error.message(), "the program nft is not installed");
        assert!(error.next_step().unwrap().contains("apt install nftables"));
    }
}
