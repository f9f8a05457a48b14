//! Engine's words for why a program could not be started: clients choose their exit code by them.

use http::StatusCode;
use model::Error;

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
pub(crate) fn of_start(message: &str) -> String {
    if let Some((_, path)) = message.split_once(NO_SOURCE) {
        return format!("invalid mount config for type \"bind\": {NO_SOURCE}{path}");
    }
    user(message).unwrap_or_else(|| {
        reason(message).map_or_else(|| message.to_owned(), |reason| format!("{START}{reason}"))
    })
}

/// Why a further process could not be started.
pub(crate) fn of_exec(message: &str) -> String {
    user(message).unwrap_or_else(|| {
        reason(message).map_or_else(|| message.to_owned(), |reason| format!("{EXEC}{reason}"))
    })
}

/// A user or group that the image does not have.
pub(crate) fn user(message: &str) -> Option<String> {
    let named = |what: &str| {
        let (_, rest) = message.split_once(what)?;
        rest.split('"').nth(1).map(str::to_owned)
    };
    if let Some(name) = named("the image has no user ") {
        return Some(format!("unable to find user {name}: no matching entries in passwd file"));
    }
    let name = named("the image has no group ")?;
    Some(format!("unable to find group {name}: no matching entries in group file"))
}

/// Whether the working directory is not there.
pub(crate) fn no_directory(message: &str) -> bool {
    message.contains("chdir to cwd")
}

/// What is said of a program.
type Words = fn(&str) -> String;

/// The fault of the program, as runc tells it.
fn reason(message: &str) -> Option<String> {
    let cases: [(&str, Words); 4] = [
        (": not found in the container", |program| match program.starts_with('/') {
            true => format!("exec: {program:?}: stat {program}: no such file or directory"),
            false => format!("exec: {program:?}: executable file not found in $PATH"),
        }),
        (": is a directory, permission denied", |program| {
            format!("exec: {program:?}: is a directory: permission denied")
        }),
        (": permission denied", |program| format!("exec: {program:?}: permission denied")),
        (": made for another kind of machine: exec format error", |program| {
            format!("exec {program}: exec format error")
        }),
    ];
    if let Some((_, rest)) = message.split_once("chdir to cwd ") {
        return Some(format!("chdir to cwd {rest}"));
    }
    cases.into_iter().find_map(|(end, words)| {
        let (before, _) = message.split_once(end)?;
        let program = before.rsplit(": ").next().unwrap_or(before).trim_matches('"');
        Some(words(program))
    })
}

/// The exit code that stands for such a fault, as a shell's: 127 for what is not there, 126 for what
/// cannot be run, 128 otherwise.
pub(crate) fn code(words: &str) -> i64 {
    let says = |all: &[&str]| all.iter().any(|word| words.contains(word));
    if says(&["executable file not found", "no such file or directory"]) {
        return 127;
    }
    if says(&["permission denied", "is a directory"]) { 126 } else { 128 }
}

/// Why a container cannot have an address or a port that it asks for, as others have it.
pub(crate) fn of_claim(name: Option<&str>, error: &Error) -> Option<Failure> {
    let message = error.message();
    if let Some((_, rest)) = message.split_once("port ")
        && let Some((port, _)) = rest.split_once(" is taken by ")
    {
        let bound = port.split('/').next().unwrap_or(port);
        let bound = if bound.contains(':') { bound.to_owned() } else { format!("0.0.0.0:{bound}") };
        return Some(Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!(
                "failed to set up container networking: driver failed programming external connectivity on \
                 endpoint {}: Bind for {bound} failed: port is already allocated",
                name.unwrap_or_default()
            ),
        ));
    }
    let (_, rest) = message.split_once("cannot give ")?;
    let (address, why) = rest.split_once(": ")?;
    if why.ends_with("has it") {
        return Some(Failure::conflict(format!(
            "failed to set up container networking: Address already in use: {address}: {why}"
        )));
    }
    Some(Failure::bad(format!(
        "invalid config for network: invalid endpoint settings:\nno configured subnet or ip-range contain \
         the IP address {address}: {why}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_cannot_be_started() {
        for (message, end, exit) in [
            (
                "nosuch: not found in the container",
                "exec: \"nosuch\": executable file not found in $PATH",
                127,
            ),
            (
                "instance x could not be started: /bin/x: not found in the container",
                "exec: \"/bin/x\": stat /bin/x: no such file or directory",
                127,
            ),
            (
                "/etc: is a directory, permission denied",
                "exec: \"/etc\": is a directory: permission denied",
                126,
            ),
            ("the disk is full", "the disk is full", 128),
        ] {
            let words = of_start(message);
            assert!(words.ends_with(end), "{words}");
            assert_eq!(code(&words), exit, "{words}");
        }
    }
}
