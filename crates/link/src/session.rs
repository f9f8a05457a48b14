//! A two-way conversation with a process: attach and exec.

use bytes::Bytes;
use model::error::Code;
use tokio::sync::mpsc;

use crate::ResultStream;

/// What goes to the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Bytes for its standard input.
    Stdin(Bytes),
    /// End of its standard input.
    StdinEnd,
    /// Its terminal has this size now, in characters.
    Resize {
        /// Characters in a line.
        width: u16,
        /// Lines.
        height: u16,
    },
    /// Send it this signal, by name or number.
    Signal(String),
}

/// What comes from the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// It has started; the first item when the process is new. With its id, as the node numbers it; 0 when
    /// that is not known.
    Started(u32),
    /// Its program could not be started; the exit code that a shell has for that follows.
    Unable {
        /// What exactly is wrong.
        code: Option<Code>,
        /// The sentence.
        why: String,
    },
    /// Bytes of its standard output, or of its terminal.
    Stdout(Bytes),
    /// Bytes of its standard error.
    Stderr(Bytes),
    /// It ended with this code; always the last item, after all its bytes.
    Exit(i32),
}

/// A conversation. Dropping `input` detaches: it ends standard input only where the process was
/// told to end it with its first user (`stdinOnce`, and every exec). Dropping `output` stops the
/// reading and nothing else.
pub struct Session {
    /// To the process. Bounded: a full channel means that the process does not read.
    pub input: mpsc::Sender<Input>,
    /// From the process.
    pub output: ResultStream<Output>,
}
