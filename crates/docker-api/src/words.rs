//! Engine's words for why a program could not be started: clients choose their exit code by them.

use http::StatusCode;
use model::Error;
use model::error::Code;

use crate::failure::Failure;

/// What goes before them when a container is started.
const START: &str = "failed to create task for container: failed to create shim task: OCI runtime create \
                     failed: runc create failed: unable to start container process: error during \
                     container init: ";
/// What goes before them when a further process is.
const EXEC: &str = "OCI runtime exec failed: exec failed: unable to start container process: ";

/// What is said of a path of the host's that is not there.
const NO_SOURCE: &str = "bind source path does not exist: ";

/// Why a container could not be started.
pub(crate) fn of_start(code: Option<Code>, message: &str) -> String {
    told(code, message, START)
}

/// Why a further process could not be started.
pub(crate) fn of_exec(code: Option<Code>, message: &str) -> String {
    told(code, message, EXEC)
}

/// The fault as Engine, or runc behind `before`, tells it. What is named is taken from our own sentence.
fn told(code: Option<Code>, message: &str, before: &str) -> String {
    let named = |what: &str| {
        let rest = message.split_once(what).map_or("", |(_, rest)| rest);
        rest.split('"').nth(1).unwrap_or_default().to_owned()
    };
    let reason = match code {
        Some(Code::UserMissing) => {
            let name = named("no user ");
            return format!("unable to find user {name}: no matching entries in passwd file");
        }
        Some(Code::GroupMissing) => {
            let name = named("no group ");
            return format!("unable to find group {name}: no matching entries in group file");
        }
        Some(Code::ProgramMissing) => {
            let program = program(message, ": not found in the container");
            match program.starts_with('/') {
                true => format!("exec: {program:?}: stat {program}: no such file or directory"),
                false => format!("exec: {program:?}: executable file not found in $PATH"),
            }
        }
        Some(Code::ProgramIsDirectory) => {
            let program = program(message, ": is a directory");
            format!("exec: {program:?}: is a directory: permission denied")
        }
        Some(Code::ProgramNotPermitted) => {
            format!("exec: {:?}: permission denied", program(message, ": permission denied"))
        }
        Some(Code::ProgramForeign) => {
            format!("exec {}: exec format error", program(message, ": made for another kind"))
        }
        Some(Code::WorkdirMissing) => match message.split_once("chdir to cwd ") {
            Some((_, rest)) => format!("chdir to cwd {rest}"),
            None => message.to_owned(),
        },
        Some(_) | None => {
            return match message.split_once(NO_SOURCE) {
                Some((_, path)) => {
                    format!("invalid mount config for type \"bind\": {NO_SOURCE}{path}")
                }
                None => message.to_owned(),
            };
        }
    };
    format!("{before}{reason}")
}

/// The program that stands before what is said of it.
fn program<'a>(message: &'a str, said: &str) -> &'a str {
    let before = message.split_once(said).map_or(message, |(before, _)| before);
    before.rsplit(": ").next().unwrap_or(before).trim_matches('"')
}

/// The exit code that stands for such a fault, as a shell's: 127 for what is not there, 126 for what
/// cannot be run, 128 otherwise.
pub(crate) fn exit_code(code: Option<Code>) -> i64 {
    match code {
        Some(Code::ProgramMissing) => 127,
        Some(Code::ProgramIsDirectory | Code::ProgramNotPermitted) => 126,
        Some(_) | None => 128,
    }
}

/// Whether it is the request that is wrong where a container cannot be started.
pub(crate) fn is_of_the_request(code: Option<Code>) -> bool {
    matches!(
        code,
        Some(
            Code::ProgramMissing
                | Code::ProgramIsDirectory
                | Code::ProgramNotPermitted
                | Code::UserMissing
                | Code::GroupMissing
        )
    )
}

/// Why a container cannot have a network, an address or a port that it asks for.
pub(crate) fn of_claim(name: Option<&str>, error: &Error) -> Option<Failure> {
    let message = error.message();
    let (_, claim) = message.split_once("cannot give ").unwrap_or(("", message));
    let (address, why) = claim.split_once(": ").unwrap_or((claim, ""));
    match error.code()? {
        Code::PortTaken => {
            let port = message.split_once("port ").map_or("", |(_, rest)| rest);
            let port = port.split([' ', '/']).next().unwrap_or_default();
            let bound =
                if port.contains(':') { port.to_owned() } else { format!("0.0.0.0:{port}") };
            Some(Failure::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!(
                    "failed to set up container networking: driver failed programming external connectivity \
                     on endpoint {}: Bind for {bound} failed: port is already allocated",
                    name.unwrap_or_default()
                ),
            ))
        }
        Code::AddressTaken => Some(Failure::conflict(format!(
            "failed to set up container networking: Address already in use: {address}: {why}"
        ))),
        Code::AddressInvalid => Some(Failure::bad(format!(
            "invalid config for network: invalid endpoint settings:\nno configured subnet or ip-range \
             contain the IP address {address}: {why}"
        ))),
        Code::NetworkMissing => {
            let network = message.split('"').nth(1).unwrap_or_default();
            Some(Failure::not_found(format!(
                "failed to set up container networking: network {network} not found"
            )))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_cannot_be_started() {
        for (code, message, end, exit) in [
            (
                Some(Code::ProgramMissing),
                "nosuch: not found in the container",
                "exec: \"nosuch\": executable file not found in $PATH",
                127,
            ),
            (
                Some(Code::ProgramMissing),
                "instance x could not be started: /bin/x: not found in the container",
                "exec: \"/bin/x\": stat /bin/x: no such file or directory",
                127,
            ),
            (
                Some(Code::ProgramIsDirectory),
                "/etc: is a directory, permission denied",
                "exec: \"/etc\": is a directory: permission denied",
                126,
            ),
            (
                Some(Code::UserMissing),
                "instance x could not be started: the image has no user \"joe\"",
                "unable to find user joe: no matching entries in passwd file",
                128,
            ),
            // What a sentence says decides nothing.
            (None, "volume /x: permission denied", "volume /x: permission denied", 128),
            (None, "/d: no such file or directory", "/d: no such file or directory", 128),
        ] {
            let words = of_start(code, message);
            assert!(words.ends_with(end), "{words}");
            assert_eq!(exit_code(code), exit, "{words}");
        }
    }

    #[test]
    fn claims_that_cannot_be_met() {
        for (code, message, status, words) in [
            (
                Code::PortTaken,
                "no node can take instance \"a\": node n1: port 8080/tcp is taken by instance \"b\"",
                500,
                "endpoint a: Bind for 0.0.0.0:8080 failed: port is already allocated",
            ),
            (
                Code::AddressTaken,
                "network \"n\" cannot give 10.0.0.9: instance \"b\" has it",
                409,
                "Address already in use: 10.0.0.9: instance \"b\" has it",
            ),
            (
                Code::AddressInvalid,
                "network \"n\" cannot give 10.1.0.9: it is not an address for instances in 10.0.0.0/24",
                400,
                "the IP address 10.1.0.9: it is not an address for instances in 10.0.0.0/24",
            ),
            (Code::NetworkMissing, "there is no network \"n\"", 404, "network n not found"),
        ] {
            let error = Error::conflict(message).coded(code);
            let failure = of_claim(Some("a"), &error).unwrap();
            assert_eq!(failure.status.as_u16(), status, "{message}");
            assert!(failure.message.ends_with(words), "{}", failure.message);
        }
        assert!(of_claim(None, &Error::conflict("port 80 is taken by x")).is_none());
    }
}
