//! QEMU's control protocol (QMP): JSON, a value a line, over a Unix socket.
//!
//! [`Qmp`] is one connection. Many commands may be under way on it; each is bounded in time. QEMU
//! is not trusted more than its guest: lines are bounded, and what is not understood is passed over.
//! The structs know only the fields that are used, so that any QEMU from 6 on can be talked to.
//!
//! | module | holds |
//! |---|---|
//! | `connection` | the socket, replies matched to commands |
//! | [`event`](Event) | what QEMU tells unasked |
//! | `run_state` | run, pause, power button, end |
//! | `job` | work that goes on after its command was answered |
//! | `snapshot` | states saved in the machine's disks |
//! | `block` | disks |
//! | `device` | devices plugged and unplugged |
//! | `memory`, `processor` | more and less of them |
//! | `screen` | what the graphical console shows |
//!
//! QEMU serves one client at a time on a socket; a second one gets no greeting until the first goes.
//!
//! Source: `docs/interop/qmp-spec.rst` and the QEMU QMP reference manual, versions 6.0 to 10.

mod block;
mod connection;
mod device;
mod event;
#[cfg(test)]
mod fake;
mod job;
mod memory;
mod processor;
mod run_state;
mod screen;
mod snapshot;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::UnixStream;
use tokio::sync::broadcast;

pub use block::BlockTraffic;
use connection::Connection;
pub use device::Slots;
pub use event::{Event, Events};
pub use memory::MemorySize;
pub use processor::{ProcessorSlot, processors};
pub use run_state::Status;

/// Longest wait for the greeting.
const GREETING: Duration = Duration::from_secs(5);
/// Longest wait for an answer. QEMU answers at once, but for a screen dump or a flush of a disk.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to one QEMU. It ends when this is dropped.
pub struct Qmp {
    connection: Connection,
    /// Hears everything from the beginning, for the first who asks.
    first: Mutex<Option<broadcast::Receiver<Event>>>,
    version: Version,
}

/// QEMU's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(default)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub micro: u32,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Greeting {
    version: Package,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Package {
    qemu: Version,
}

impl Qmp {
    /// Connects to the socket of a QEMU.
    ///
    /// # Errors
    ///
    /// `Unavailable` when nobody listens there, or QEMU is busy with another client.
    pub async fn connect(path: &Path) -> Result<Self> {
        let stream = crate::socket::connect(path).await.context(ErrorKind::Unavailable, || {
            format!("QEMU's control socket {} cannot be reached", path.display())
        })?;
        Self::over(stream).await
    }

    /// Speaks over a socket that is connected already.
    ///
    /// # Errors
    ///
    /// `Unavailable` when the other end does not greet as QEMU does.
    pub async fn over(stream: UnixStream) -> Result<Self> {
        let (connection, greeting, first) = match tokio::time::timeout(
            GREETING,
            Connection::open(stream),
        )
        .await
        {
            Ok(opened) => opened?,
            Err(_) => {
                return Err(Error::unavailable(
                    "QEMU does not greet on its control socket: it hangs, or talks to somebody else",
                )
                .next("try again in a moment"));
            }
        };
        let greeting: Greeting = serde_json::from_value(greeting).unwrap_or_default();
        let first = Mutex::new(Some(first));
        let qmp = Self { connection, first, version: greeting.version.qemu };
        qmp.execute("qmp_capabilities", Value::Null).await?;
        Ok(qmp)
    }

    /// The version QEMU says it has.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Carries out a command; `arguments` is an object, or null for none.
    ///
    /// # Errors
    ///
    /// `Unavailable` when QEMU is gone or does not answer in time, `Unsupported` for a command this
    /// QEMU does not know, `NotFound` for a device that is not there, `Conflict` for what it refuses.
    pub async fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        self.execute_within(command, arguments, ANSWER).await
    }

    /// The same with a bound of the caller's.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn execute_within(
        &self,
        command: &str,
        arguments: Value,
        bound: Duration,
    ) -> Result<Value> {
        match tokio::time::timeout(bound, self.connection.ask(command, arguments, None)).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::unavailable(format!(
                "QEMU has not answered {command} for {} seconds",
                bound.as_secs()
            ))),
        }
    }

    /// Carries out a command that takes a file.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    async fn execute_with(&self, command: &str, arguments: Value, file: OwnedFd) -> Result<Value> {
        match tokio::time::timeout(ANSWER, self.connection.ask(command, arguments, Some(file)))
            .await
        {
            Ok(answer) => answer,
            Err(_) => Err(Error::unavailable(format!("QEMU has not answered {command}"))),
        }
    }

    /// What QEMU tells from now on; the first who asks hears what it told since the connection was
    /// made.
    pub fn events(&self) -> Events {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        Events::new(first.unwrap_or_else(|| self.connection.listen()))
    }

    /// What QEMU tells from now on, for a verb that waits.
    fn listen(&self) -> Events {
        Events::new(self.connection.listen())
    }

    /// An answer of a known shape.
    async fn query<T: DeserializeOwned>(&self, command: &str, arguments: Value) -> Result<T> {
        let answer = self.execute(command, arguments).await?;
        serde_json::from_value(answer).context(ErrorKind::Unsupported, || {
            format!("QEMU's answer to {command} is not understood")
        })
    }

    /// A command whose answer says nothing.
    async fn command(&self, command: &str, arguments: Value) -> Result<()> {
        self.execute(command, arguments).await.map(drop)
    }

    /// A property of an object in QEMU's tree of objects.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn qom_get(&self, path: &str, property: &str) -> Result<Value> {
        self.execute("qom-get", json!({"path": path, "property": property})).await
    }

    /// Sets a property of an object in QEMU's tree of objects.
    ///
    /// # Errors
    ///
    /// As [`Qmp::execute`].
    pub async fn qom_set(&self, path: &str, property: &str, value: Value) -> Result<()> {
        self.command("qom-set", json!({"path": path, "property": property, "value": value})).await
    }
}
