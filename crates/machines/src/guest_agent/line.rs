//! The socket, kept in step.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Longest answer taken from a guest: what a read of a file gives, with room.
const ANSWER: u64 = 1 << 20;
/// Longest wait for the agent to come into step. One that is there answers at once.
const STEP: Duration = Duration::from_secs(5);
/// Wait before another try on a socket that hung up.
const AGAIN: Duration = Duration::from_millis(100);
/// Bytes passed over while waiting for it: what may lie in the pipe from earlier.
const STALE: u64 = 4 << 20;
/// No JSON has it: before it, everything is forgotten (guest-sync-delimited).
const SENTINEL: u8 = 0xff;

/// Why there is no answer.
pub(super) enum Failure {
    /// Nobody listens on the socket.
    NoSocket(io::Error),
    /// No agent came into step.
    Silent,
    /// The agent was in step, and has not answered in time.
    Late(Duration),
    /// The agent's own words.
    Refused { class: String, desc: String },
}

/// The line to the agent of one machine.
pub(super) struct Line {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
    /// The last command was answered, and nothing else is on its way.
    in_step: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    #[serde(rename = "return")]
    value: Value,
    error: Option<Refusal>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    class: String,
    desc: String,
}

impl Line {
    pub(super) fn new(socket: PathBuf) -> Self {
        Self { socket, stream: None, in_step: false }
    }

    /// Sends a command and waits for its answer. When this is dropped midway the line is out of step,
    /// which the next command finds.
    pub(super) async fn ask(
        &mut self,
        command: &str,
        arguments: Value,
        bound: Duration,
    ) -> Result<Value, Failure> {
        if !self.in_step || self.has_changed() {
            self.come_into_step().await?;
        }
        let mut request = json!({"execute": command});
        if !arguments.is_null() {
            request["arguments"] = arguments;
        }
        self.in_step = false;
        let Ok(read) = timeout(bound, self.exchange(request)).await else {
            return Err(Failure::Late(bound));
        };
        let Some(answer) = read else {
            self.stream = None;
            return Err(Failure::Silent);
        };
        self.in_step = true;
        match answer.error {
            Some(Refusal { class, desc }) => Err(Failure::Refused { class, desc }),
            None => Ok(answer.value),
        }
    }

    /// Whether the other end has hung up, as QEMU does when its machine ends, or says something unasked.
    fn has_changed(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        match stream.get_mut().try_read(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Ok(1..) => true,
            Ok(0) | Err(_) => {
                self.stream = None;
                true
            }
        }
    }

    async fn exchange(&mut self, request: Value) -> Option<Answer> {
        let stream = self.stream.as_mut()?;
        let line = format!("{request}\n");
        stream.write_all(line.as_bytes()).await.ok()?;
        read_answer(stream).await
    }

    async fn come_into_step(&mut self) -> Result<(), Failure> {
        let deadline = Instant::now() + STEP;
        while Instant::now() < deadline {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => {
                    let stream = crate::socket::connect(&self.socket).await;
                    let stream = stream.map_err(Failure::NoSocket)?;
                    self.stream.insert(BufReader::new(stream))
                }
            };
            match timeout_at(deadline, sync(stream)).await {
                Ok(Some(())) => {
                    self.in_step = true;
                    return Ok(());
                }
                // It hung up: that of a machine that has ended, or is just beginning.
                Ok(None) => {
                    self.stream = None;
                    sleep_until(deadline.min(Instant::now() + AGAIN)).await;
                }
                Err(_) => break,
            }
        }
        self.stream = None;
        Err(Failure::Silent)
    }
}

/// Asks the agent to repeat a number and passes over everything before it.
async fn sync(stream: &mut BufReader<UnixStream>) -> Option<()> {
    let number = rand::random::<u32>();
    let mut request = vec![SENTINEL];
    let command = json!({"execute": "guest-sync-delimited", "arguments": {"id": number}});
    request.extend_from_slice(format!("{command}\n").as_bytes());
    stream.write_all(&request).await.ok()?;
    let mut left = STALE;
    loop {
        left = left.checked_sub(skip(stream, left).await?)?;
        let answer = read_answer(stream).await;
        if answer.is_some_and(|answer| answer.value == number) {
            return Some(());
        }
    }
}

/// Reads past the next sentinel; says how many bytes that were.
async fn skip(stream: &mut BufReader<UnixStream>, most: u64) -> Option<u64> {
    let mut passed = 0;
    while passed < most {
        let there = stream.fill_buf().await.ok()?;
        if there.is_empty() {
            return None;
        }
        let found = there.iter().position(|byte| *byte == SENTINEL);
        let used = found.map_or(there.len(), |at| at + 1);
        stream.consume(used);
        passed += used as u64;
        if found.is_some() {
            return Some(passed);
        }
    }
    None
}

async fn read_answer(stream: &mut BufReader<UnixStream>) -> Option<Answer> {
    let mut bytes = Vec::new();
    stream.take(ANSWER).read_until(b'\n', &mut bytes).await.ok()?;
    let object = bytes.ends_with(b"\n") && bytes.starts_with(b"{");
    object.then(|| serde_json::from_slice(&bytes).ok()).flatten()
}
