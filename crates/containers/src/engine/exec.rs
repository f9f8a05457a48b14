//! Further processes in a running container.

use std::fmt;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

use super::ExecId;

/// A stream of bytes out of a container.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// A stream of bytes into a container.
pub type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// A further process to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecConfig {
    /// Its name, unique in the container.
    pub id: ExecId,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the container's environment; `NAME=value` each.
    pub env: Vec<String>,
    /// `user[:group]`; the container's when empty.
    pub user: String,
    /// Working directory; the container's when empty.
    pub workdir: String,
    /// Give it a terminal; its error output then comes with its output.
    pub tty: bool,
    /// Give it an input; else it reads nothing.
    pub stdin: bool,
    /// With all capabilities.
    pub privileged: bool,
    /// First size of its terminal.
    pub size: Option<WindowSize>,
}

impl ExecConfig {
    /// A process with the container's user, directory and environment, without terminal or input.
    pub fn new(id: ExecId, command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            id,
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            user: String::new(),
            workdir: String::new(),
            tty: false,
            stdin: false,
            privileged: false,
            size: None,
        }
    }
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize {
    /// Columns.
    pub width: u16,
    /// Lines.
    pub height: u16,
}

/// A further process that began. Each output ends when the process and all that inherited it did.
pub struct ExecStreams {
    /// As the host numbers it; 0 when it has ended already.
    pub pid: u32,
    /// Its input, if it was asked for; dropping it ends it.
    pub stdin: Option<Writer>,
    /// Its output.
    pub stdout: Reader,
    /// Its error output, unless it has a terminal.
    pub stderr: Option<Reader>,
}

impl fmt::Debug for ExecStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecStreams").field("pid", &self.pid).finish_non_exhaustive()
    }
}
