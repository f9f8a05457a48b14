//! A process in the guest with streams and an exit code, as `exec` of a container has.
//!
//! The agent alone tells a process's output only at its end. So a shell in the guest
//! ([`script`]) writes what the process writes into regular files of a directory of its own, at most
//! 1 MiB each, and begins a new one only when we have said that an old one was read; we read them as
//! they grow. What is to be the process's input goes the other way. Nothing is lost, and neither side
//! fills the other's memory.
//!
//! ```text
//! process > pipe out > dd > 1.0 1.1 1.2…  read by guest-file-read; ack1 < a line for each
//! process < pipe in < cat < 0.0 0.1 0.2…  written by guest-file-write; ack0 < its number
//! ```
//!
//! The agent cannot wait for anything, so it is asked: every 5 ms while there is something, less and
//! less often, down to every 50 ms, while there is nothing, and not at all when no process runs.

mod feed;
mod script;
mod stream;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use model::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::{Ended, GuestAgent, Process};
use feed::{FILE, Feed};
use stream::Stream;

/// First wait between two questions.
const SHORTEST: Duration = Duration::from_millis(5);
/// Longest wait between two questions.
const LONGEST: Duration = Duration::from_millis(50);
/// Longest wait for the shell in the guest to be ready: it is loaded from a disk.
const BEGIN: Duration = Duration::from_secs(60);
/// How long the agent may be away, as while the machine is paused or its file systems are frozen,
/// before the process is given up.
const AWAY: Duration = Duration::from_secs(120);
/// Pieces of output that may wait, of 192 KiB at most.
const OUTPUTS: usize = 4;
/// Pieces of input that may wait, of the user's size.
const INPUTS: usize = 32;
/// Where the directory is made: the first of these that can be written.
const PLACES: [&str; 2] = ["/run", "/tmp"];

/// A process to run in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exec {
    /// The program, looked up in the guest's `PATH`, and its arguments.
    pub command: Vec<String>,
    /// `NAME=value`, added to the agent's environment.
    pub env: Vec<String>,
    /// `user[:group]`, names or numbers; root when empty.
    pub user: String,
    /// Its working directory; the agent's when empty.
    pub workdir: String,
    /// It runs on a terminal, of that width and height if they are known. It has no standard error
    /// of its own then.
    pub terminal: Option<Option<(u16, u16)>>,
    /// It has a standard input.
    pub stdin: bool,
    /// It runs on when nobody listens, on a terminal too.
    pub detach: bool,
}

/// What the user sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// For the process's standard input.
    Stdin(Bytes),
    /// The end of its standard input.
    StdinEnd,
    /// A new size of the terminal.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// A signal by name (`TERM`, `SIGTERM`) or number.
    Signal(String),
}

/// What the process does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// It wrote to its standard output, or its terminal.
    Stdout(Bytes),
    /// It wrote to its standard error.
    Stderr(Bytes),
    /// It ended with this code, or 128 and its signal. The last that comes.
    Exit(i32),
}

/// A process that runs. When both are dropped it loses its input, and its terminal hangs up;
/// otherwise it goes on, and what it writes is lost.
pub struct Session {
    /// To the process.
    pub input: mpsc::Sender<Input>,
    /// From the process.
    pub output: mpsc::Receiver<Result<Output>>,
}

/// Tells what this daemon runs from what one before it ran.
fn own() -> u32 {
    static OWN: OnceLock<u32> = OnceLock::new();
    *OWN.get_or_init(rand::random)
}

/// Name of a process's directory. One that runs on by itself is nobody's to sweep.
fn name(detached: bool) -> String {
    let unique = rand::random::<u128>();
    match detached {
        true => format!("hull-alone-{unique:032x}"),
        false => format!("hull-exec-{:08x}-{unique:032x}", own()),
    }
}

impl GuestAgent {
    /// Ends what a daemon that is gone ran in the guest for somebody, and removes its files.
    ///
    /// # Errors
    ///
    /// As [`GuestAgent::run`].
    pub async fn sweep(&self) -> Result<()> {
        let script = script::sweep(own(), &PLACES);
        self.run("/bin/sh", &["-s"], script.as_bytes(), BEGIN).await.map(drop)
    }

    /// Runs a process in the guest and waits until it has begun. A program that is not there ends it
    /// with code 127 and a word on its standard error, as a shell does.
    ///
    /// # Errors
    ///
    /// `Invalid` for what no shell can run, `Unavailable` when no agent answers, `Unsupported` when it
    /// does not start programs, `Conflict` when the guest has no shell that can do this.
    pub async fn exec(self: &Arc<Self>, exec: &Exec) -> Result<Session> {
        let name = name(exec.detach);
        let script = script::write(exec, &name)?;
        let process = self.start("/bin/sh", &["-s"], script.as_bytes()).await?;
        let (dir, ended) = self.begun(process, &name).await?;
        let mut running = Running {
            agent: self.clone(),
            process,
            stdout: Stream::open(self, &dir, 1).await?,
            stderr: match exec.terminal {
                Some(_) => None,
                None => Some(Stream::open(self, &dir, 2).await?),
            },
            feed: match exec.stdin {
                true => Some(Feed::open(self, &dir).await?),
                false => None,
            },
            hangs_up: exec.terminal.is_some() && !exec.detach,
            tried: None,
            waiting: None,
            ended,
            dir,
        };
        let (input, inputs) = mpsc::channel(INPUTS);
        let (outputs, output) = mpsc::channel(OUTPUTS);
        tokio::spawn(async move {
            running.converse(inputs, outputs).await;
            running.clean().await;
        });
        Ok(Session { input, output })
    }

    /// Waits until the shell has made its directory and started the process, which may have ended
    /// already: that is told once.
    async fn begun(&self, process: Process, name: &str) -> Result<(String, Option<Ended>)> {
        let deadline = Instant::now() + BEGIN;
        let mut pause = SHORTEST;
        let mut ended = None;
        while Instant::now() < deadline {
            if let Some(dir) = self.place(name).await? {
                return Ok((dir, ended));
            }
            if let Some(ended) = ended {
                return Err(self.not_begun(&ended));
            }
            ended = self.ended(process).await?;
            if ended.is_none() {
                sleep(pause).await;
                pause = LONGEST.min(pause * 2);
            }
        }
        Err(Error::unavailable(format!(
            "machine {:?} has not started a shell for {} seconds",
            self.machine(),
            BEGIN.as_secs()
        )))
    }

    async fn place(&self, name: &str) -> Result<Option<String>> {
        for place in PLACES {
            let dir = format!("{place}/{name}");
            if let Some(file) = self.file_if_there(&format!("{dir}/1.0")).await? {
                self.file_close(file).await?;
                return Ok(Some(dir));
            }
        }
        Ok(None)
    }

    fn not_begun(&self, ended: &Ended) -> Error {
        if ended.code == script::NO_TERMINAL {
            return Error::unsupported(format!(
                "machine {:?} has no program script, which makes terminals",
                self.machine()
            ))
            .next("install bsdutils or util-linux in the guest, or leave -t out");
        }
        let said = String::from_utf8_lossy(&ended.stderr);
        let said: String = said.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        Error::conflict(format!("machine {:?} cannot run a program: {said}", self.machine()))
            .next("see that the guest has /bin/sh, mkfifo, dd and room in /run or /tmp")
    }
}

struct Running {
    agent: Arc<GuestAgent>,
    process: Process,
    dir: String,
    stdout: Stream,
    stderr: Option<Stream>,
    feed: Option<Feed>,
    hangs_up: bool,
    /// Input that is being passed on, or that there was no room for yet.
    tried: Option<Input>,
    /// Input that comes after it.
    waiting: Option<Input>,
    ended: Option<Ended>,
}

type Outputs = mpsc::Sender<Result<Output>>;

impl Running {
    /// Carries bytes both ways until the process has ended and everything it wrote is told.
    async fn converse(&mut self, mut inputs: mpsc::Receiver<Input>, outputs: Outputs) {
        let mut open = true;
        let mut pause = SHORTEST;
        let mut heard = Instant::now();
        loop {
            match self.turn(&mut inputs, &outputs).await {
                Ok(Turn::Over(code)) => return drop(outputs.send(Ok(Output::Exit(code))).await),
                Ok(Turn::Moved) => {
                    (pause, heard) = (SHORTEST, Instant::now());
                    continue;
                }
                Ok(Turn::Still) => heard = Instant::now(),
                Err(error) if is_away(&error) && heard.elapsed() < AWAY => {}
                Err(error) if is_away(&error) => {
                    return drop(outputs.send(Err(self.lost(error))).await);
                }
                Err(error) => return drop(outputs.send(Err(error)).await),
            }
            tokio::select! {
                () = sleep(pause) => pause = LONGEST.min(pause * 2),
                input = inputs.recv(), if open && self.tried.is_none() && self.waiting.is_none() => {
                    open = input.is_some();
                    self.waiting = Some(input.unwrap_or(Input::StdinEnd));
                    pause = SHORTEST;
                }
                () = outputs.closed(), if self.hangs_up => {
                    // A terminal whose user is gone hangs up, as a line would.
                    self.hangs_up = false;
                    self.waiting = Some(Input::Signal("HUP".to_owned()));
                    // What it would have been sent is not missed.
                    self.tried = None;
                    self.feed.iter_mut().for_each(Feed::forget);
                }
            }
        }
    }

    /// Why a process is given up whose guest stands still, or has lost its agent.
    fn lost(&self, error: Error) -> Error {
        Error::unavailable(format!(
            "the guest agent in machine {:?} has not answered for {} seconds: the process is given up",
            self.agent.machine(),
            AWAY.as_secs()
        ))
        .next("see on its console what the guest does")
        .caused_by(error)
    }

    async fn turn(
        &mut self,
        inputs: &mut mpsc::Receiver<Input>,
        outputs: &Outputs,
    ) -> Result<Turn> {
        let mut moved = self.take(inputs).await?;
        moved |= self.print(outputs).await?;
        if moved {
            return Ok(Turn::Moved);
        }
        if let Some(ended) = &self.ended {
            return Ok(Turn::Over(ended.code));
        }
        self.ended = self.agent.ended(self.process).await?;
        // All it wrote was written before: once more, then it is over.
        Ok(if self.ended.is_some() { Turn::Moved } else { Turn::Still })
    }

    /// Passes the user's words on, as far as there is room.
    async fn take(&mut self, inputs: &mut mpsc::Receiver<Input>) -> Result<bool> {
        let mut moved = false;
        while let Some(input) = self.next(inputs) {
            // It stays until it is done: what fails midway is tried again.
            self.tried = Some(input.clone());
            if !self.pass(input).await? {
                break;
            }
            self.tried = None;
            moved = true;
        }
        Ok(moved)
    }

    /// The next of the user's words; bytes that are there already in one.
    fn next(&mut self, inputs: &mut mpsc::Receiver<Input>) -> Option<Input> {
        if let Some(tried) = self.tried.take() {
            return Some(tried);
        }
        let first = self.waiting.take().or_else(|| inputs.try_recv().ok())?;
        let Input::Stdin(bytes) = first else { return Some(first) };
        let mut all = BytesMut::from(bytes);
        while all.len() < FILE {
            match inputs.try_recv() {
                Ok(Input::Stdin(more)) => all.extend_from_slice(&more),
                Ok(other) => {
                    self.waiting = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        Some(Input::Stdin(all.freeze()))
    }

    /// Whether there was room.
    async fn pass(&mut self, input: Input) -> Result<bool> {
        match (input, &mut self.feed) {
            (Input::Stdin(bytes), Some(feed)) => return feed.write(&self.agent, bytes).await,
            (Input::StdinEnd, Some(feed)) => feed.end(&self.agent).await?,
            (Input::Stdin(_) | Input::StdinEnd, None) => {}
            (Input::Resize { width, height }, _) => {
                self.aside(&script::resize(&self.dir, width, height)).await;
            }
            (Input::Signal(name), _) => {
                if let Some(script) = script::signal(&self.dir, &name) {
                    self.aside(&script).await;
                }
            }
        }
        Ok(true)
    }

    /// A further script, whose failure changes nothing.
    async fn aside(&self, script: &str) {
        let _ = self.agent.run("/bin/sh", &["-s"], script.as_bytes(), BEGIN).await;
    }

    /// Tells what the process wrote; whether it had.
    async fn print(&mut self, outputs: &Outputs) -> Result<bool> {
        let mut wrote = false;
        if let Some(bytes) = self.stdout.read(&self.agent).await? {
            wrote = true;
            let _ = outputs.send(Ok(Output::Stdout(bytes))).await;
        }
        if let Some(stderr) = &mut self.stderr
            && let Some(bytes) = stderr.read(&self.agent).await?
        {
            wrote = true;
            let _ = outputs.send(Ok(Output::Stderr(bytes))).await;
        }
        Ok(wrote)
    }

    async fn clean(&self) {
        self.stdout.close(&self.agent).await;
        if let Some(stderr) = &self.stderr {
            stderr.close(&self.agent).await;
        }
        if let Some(feed) = &self.feed {
            feed.close(&self.agent).await;
        }
        self.aside(&script::remove(&self.dir)).await;
    }
}

enum Turn {
    Moved,
    Still,
    Over(i32),
}

/// The agent does not answer, or not this, for the time being.
fn is_away(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Unsupported)
}
