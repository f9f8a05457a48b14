//! Processes as `top` shows them.

use std::time::Duration;

use model::{Bytes, Time};

/// One process of a container, as /proc of the host shows it (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number on the host.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its effective user outside.
    pub uid: u32,
    /// One letter: `R`, `S`, `D`, `Z`, `T` …
    pub state: char,
    /// Processor time it used.
    pub cpu: Duration,
    /// Memory it holds.
    pub resident: Bytes,
    /// Its threads.
    pub threads: u32,
    /// Controlling terminal, as `pts/0`; empty for none.
    pub tty: String,
    /// When it began.
    pub started: Option<Time>,
    /// Program and arguments; the bare name in brackets when it has none.
    pub command: Vec<String>,
}
