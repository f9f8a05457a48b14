//! Passwords: asked at the terminal without showing them, or read from standard input.

use model::error::Context as _;
use model::{Error, ErrorKind, Result};

use crate::out;

/// A password: from standard input where that is said, else from whoever sits at the terminal.
pub fn read(from_stdin: bool, prompt: &str) -> Result<String> {
    let password = match from_stdin {
        true => std::io::read_to_string(std::io::stdin())
            .context(ErrorKind::Invalid, || "the password cannot be read".into())?,
        false => ask(prompt)?,
    };
    Ok(password.trim_end_matches(['\r', '\n']).to_owned())
}

/// A new password, asked for twice: what is typed unseen is easily mistyped.
pub fn read_new(from_stdin: bool) -> Result<String> {
    let password = read(from_stdin, "New password:")?;
    if !from_stdin && read(false, "Once more:")? != password {
        return Err(Error::invalid("the two passwords differ").next("try again"));
    }
    Ok(password)
}

fn ask(prompt: &str) -> Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let stdin = std::io::stdin();
    let failed = |error| {
        Error::invalid("there is no terminal to ask for the password at")
            .caused_by(error)
            .next("pipe it in with --password-stdin")
    };
    let saved = tcgetattr(&stdin).map_err(failed)?;
    let mut silent = saved.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    out::remark(prompt);
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(failed)?;
    let mut password = String::new();
    let read = stdin.read_line(&mut password);
    tcsetattr(&stdin, OptionalActions::Flush, &saved).map_err(failed)?;
    read.context(ErrorKind::Invalid, || "the password cannot be read".into())?;
    Ok(password)
}
