//! Processes started by the agent.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Error, Result};
use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::GuestAgent;

/// A process of the guest. Its end is to be asked for: the agent remembers it until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pid: i64,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, or 128 and the signal.
    pub code: i32,
    /// What it wrote, as far as the agent kept it: the agent keeps 16 MiB, an answer takes 1 MiB.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

#[derive(Deserialize)]
struct Started {
    pid: i64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    exited: bool,
    exitcode: Option<i32>,
    signal: Option<i32>,
    #[serde(rename = "out-data")]
    out: String,
    #[serde(rename = "err-data")]
    err: String,
}

impl GuestAgent {
    /// Starts a program with `input` as its whole standard input. What it writes is told at its end.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn start(&self, program: &str, args: &[&str], input: &[u8]) -> Result<Process> {
        let arguments = json!({
            "path": program,
            "arg": args,
            "input-data": STANDARD.encode(input),
            "capture-output": true,
        });
        let started: Started = self.query("guest-exec", arguments).await?;
        Ok(Process { pid: started.pid })
    }

    /// How a process ended; `None` while it runs. Its end is told once.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`].
    pub async fn ended(&self, process: Process) -> Result<Option<Ended>> {
        let status: Status = self.query("guest-exec-status", json!({"pid": process.pid})).await?;
        let code = status.exitcode.or(status.signal.map(|signal| signal.saturating_add(128)));
        Ok(status.exited.then(|| Ended {
            code: code.unwrap_or_default(),
            stdout: STANDARD.decode(status.out).unwrap_or_default(),
            stderr: STANDARD.decode(status.err).unwrap_or_default(),
        }))
    }

    /// Starts a program and waits for its end, at most `bound`.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::call`]; `Unavailable` when it takes longer: it then goes on in the guest.
    pub async fn run(
        &self,
        program: &str,
        args: &[&str],
        input: &[u8],
        bound: Duration,
    ) -> Result<Ended> {
        let process = self.start(program, args, input).await?;
        let deadline = Instant::now() + bound;
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(ended) = self.ended(process).await? {
                return Ok(ended);
            }
            if Instant::now() > deadline {
                return Err(Error::unavailable(format!(
                    "{program} in machine {:?} took longer than {} seconds",
                    self.machine(),
                    bound.as_secs()
                )));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }
}
