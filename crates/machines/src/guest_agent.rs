//! The agent inside the guest (`qemu-guest-agent`): its protocol over the socket that QEMU carries into
//! the guest.
//!
//! [`GuestAgent`] speaks to the agent of one machine. The agent answers one command at a time and
//! does not say which; so a command has the line for itself until it is answered. When an answer did
//! not come, or was not waited for, the line is brought into step again before the next command: the
//! agent is asked to repeat a number after a byte that no JSON has.
//!
//! Everything that comes from a guest may be a lie: lines and answers are bounded, and what has
//! another form than expected is refused.
//!
//! | module | holds |
//! |---|---|
//! | `line` | the socket, kept in step |
//! | `system` | what the guest is, its addresses, its clock, its power, its file systems frozen |
//! | `plugged` | processors and memory that came while it ran |
//! | `file` | files of the guest, opened by the agent |
//! | `process` | processes started by the agent |
//! | `exec` | a process with streams, as `exec` of a container has |
//!
//! Source: QEMU Guest Agent protocol reference; `qga/commands-posix.c` for what files do.

mod exec;
#[cfg(test)]
mod fake;
mod file;
mod line;
mod plugged;
mod process;
mod system;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::PoisonError;
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

pub use exec::{Exec, Input, Output, Session};
pub use file::GuestFile;
use line::{Failure, Line};
pub use plugged::InUse;
pub use process::{Ended, Process};
pub use system::{GuestAddress, GuestInterface, Info, OsInfo, Shutdown};

/// Longest wait for an answer to what the agent does at once.
const ANSWER: Duration = Duration::from_secs(15);

/// The agent in one machine. Nothing is connected before the first command; one socket has one
/// client, so there should be one of these for a machine.
pub struct GuestAgent {
    machine: std::sync::Mutex<String>,
    line: Mutex<Line>,
}

impl GuestAgent {
    /// The agent that the `socket` of the machine called `machine` leads to.
    pub fn new(machine: impl Into<String>, socket: impl Into<PathBuf>) -> Self {
        let machine = std::sync::Mutex::new(machine.into());
        Self { machine, line: Mutex::new(Line::new(socket.into())) }
    }

    /// Takes in what the machine is called now.
    pub fn is_called(&self, name: &str) {
        let mut machine = self.machine.lock().unwrap_or_else(PoisonError::into_inner);
        if *machine != name {
            name.clone_into(&mut machine);
        }
    }

    /// What the machine is called.
    fn machine(&self) -> String {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Carries out a command; `arguments` is an object, or null for none.
    ///
    /// # Errors
    ///
    /// `Unavailable` when no agent answers, `Unsupported` for a command that the agent does not know
    /// or does not allow, `Conflict` for what fails in the guest, or when the machine does not run.
    pub async fn call(&self, command: &str, arguments: Value) -> Result<Value> {
        self.call_within(command, arguments, ANSWER).await
    }

    /// The same with a bound of the caller's.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn call_within(
        &self,
        command: &str,
        arguments: Value,
        bound: Duration,
    ) -> Result<Value> {
        let mut line = self.line.lock().await;
        let answer = line.ask(command, arguments, bound).await;
        answer.map_err(|failure| self.explain(command, failure))
    }

    /// An answer of a known shape.
    async fn query<T: DeserializeOwned>(&self, command: &str, arguments: Value) -> Result<T> {
        let answer = self.call(command, arguments).await?;
        serde_json::from_value(answer).context(ErrorKind::Unavailable, || {
            format!(
                "the guest agent in machine {:?} answers {command} with what is not understood",
                self.machine()
            )
        })
    }

    fn explain(&self, command: &str, failure: Failure) -> Error {
        let machine = self.machine();
        match failure {
            Failure::Silent => Error::unavailable(format!(
                "the guest agent in machine {machine:?} does not answer"
            ))
            .next("install qemu-guest-agent in the guest, or wait until it has started"),
            Failure::NoSocket(cause) => {
                Error::conflict(format!("machine {machine:?} does not run")).caused_by(cause)
            }
            Failure::Late(bound) => Error::unavailable(format!(
                "the guest agent in machine {machine:?} has not answered {command} for {} seconds",
                bound.as_secs()
            )),
            Failure::Refused { class, desc } if class == "CommandNotFound" => Error::unsupported(
                format!("the guest agent in machine {machine:?} does not allow {command}: {desc}"),
            )
            .next("allow it in the guest's /etc/sysconfig/qemu-ga or /etc/qemu/qemu-ga.conf"),
            Failure::Refused { desc, .. } => {
                Error::conflict(format!("{command} failed in machine {machine:?}: {desc}"))
            }
        }
    }
}
