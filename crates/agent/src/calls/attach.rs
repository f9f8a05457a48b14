//! Attaching to a container's main process: what it prints comes out of its log, which loses and
//! reorders nothing; what the user types goes into its standard input.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use containers::logs::{ReadOptions, Reader, Stream};
use containers::{ContainerId, Engine, WindowSize};
use futures::StreamExt;
use futures::stream::Peekable;
use link::instance::{AttachRequest, Target};
use link::{Input, Output, Session};
use model::error::Code;
use model::instance::{ContainerState, Phase};
use model::{Error, ErrorKind, Result, Time};
use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, watch};

use super::logs::{when, written};
use super::sessions::{Ends, open};
use super::{Calls, Found};
use crate::local::Local;

/// How long the node may take to hear of an instance that control has placed on it.
const HEARSAY: Duration = Duration::from_secs(10);
/// Exit code of a container whose end nobody saw.
const UNKNOWN_EXIT: i32 = 255;

/// Talks to a container's main process.
pub async fn attach(calls: &Calls, target: &Target, request: AttachRequest) -> Result<Session> {
    let found = match request.run {
        0 => calls.find_live(target, true)?,
        _ => {
            calls.context.roster.awaited(&target.instance, HEARSAY).await;
            calls.find(target)?
        }
    };
    let serial_line = found.handle.known.borrow().status.machine.is_some();
    if request.stdin && !found.container.stdin && !serial_line {
        return Err(Error::conflict(format!(
            "instance {:?} was created without an open standard input",
            found.instance.meta.name
        ))
        .next("create it with -i"));
    }
    let (ends, session) = open();
    let conversation = Conversation {
        dir: calls.context.places.log(&found.instance.meta.id, &found.container),
        engine: calls.context.engine.clone(),
        guard: found.handle.logs.clone().read_owned().await,
        found,
        request,
    };
    tokio::spawn(conversation.hold(ends));
    Ok(session)
}

struct Conversation {
    engine: Arc<dyn Engine>,
    dir: std::path::PathBuf,
    found: Found,
    request: AttachRequest,
    /// Removal of the log waits for this.
    guard: tokio::sync::OwnedRwLockReadGuard<()>,
}

type Records = Peekable<Reader>;

/// Reads the first record as soon as it is there, which holds what follows it.
async fn held(records: &mut Option<Records>) -> Infallible {
    if let Some(records) = records {
        Pin::new(records).peek().await;
    }
    std::future::pending().await
}

/// A run that has begun.
struct Begun {
    run: u64,
    restarts: u32,
    since: Option<Time>,
}

impl Conversation {
    async fn hold(self, ends: Ends) {
        let Ends { input, output } = ends;
        let (mut early, over) = match self.early() {
            Ok(found) => found.unzip(),
            Err(error) => return drop(output.send(Err(error)).await),
        };
        let begun = tokio::select! {
            begun = self.begun() => begun,
            never = held(&mut early) => match never {},
            () = output.closed() => return,
        };
        let opened = begun.and_then(|begun| match (early, over) {
            (Some(records), Some(over)) => Ok((records, over)),
            _ => self.records(&begun),
        });
        let (records, over) = match opened {
            Ok(opened) => opened,
            Err(error) => return drop(output.send(Err(error)).await),
        };
        // Only now: what follows, from here or from the user's first words, is to be seen.
        if output.send(Ok(Output::Started(0))).await.is_err() {
            return;
        }
        let feeder = tokio::spawn(feed(self.feed(), input));
        self.print(records, over, &output).await;
        feeder.abort();
        drop(self.guard);
    }

    /// The log of a run that has not begun. Whoever is there before it misses nothing, however fast
    /// it writes.
    fn early(&self) -> Result<Option<(Records, watch::Receiver<bool>)>> {
        let run = self.request.run;
        if self.judge(&self.found.handle.known.borrow()).is_some() {
            return Ok(None);
        }
        let name = self.found.container.name.clone();
        let over = move |known: &Local| known.status.runs >= run && is_over(known, &name, run, 0);
        let opened = self.read(over, None, Some(0))?;
        self.found.handle.attention.send_replace(true);
        Ok(Some(opened))
    }

    /// The log of a run that has begun.
    fn records(&self, begun: &Begun) -> Result<(Records, watch::Receiver<bool>)> {
        let name = self.found.container.name.clone();
        let (run, restarts) = (begun.run, begun.restarts);
        let over = move |known: &Local| is_over(known, &name, run, restarts);
        let AttachRequest { replay, tail, .. } = self.request;
        self.read(over, begun.since.filter(|_| replay), if replay { tail } else { Some(0) })
    }

    /// Opens the log; it ends when `over` first holds.
    fn read(
        &self,
        over: impl FnMut(&Local) -> bool + Send + 'static,
        since: Option<Time>,
        tail: Option<u64>,
    ) -> Result<(Records, watch::Receiver<bool>)> {
        let over = when(&self.found, over);
        let follow = Some(over.clone());
        let options = ReadOptions { follow, since, until: None, tail, hold: true };
        Ok((Reader::open(&self.dir, options)?.peekable(), over))
    }

    /// Waits for the run that was asked for.
    async fn begun(&self) -> Result<Begun> {
        let mut known = self.found.handle.known.clone();
        loop {
            if let Some(outcome) = self.judge(&known.borrow_and_update()) {
                return outcome;
            }
            if known.changed().await.is_err() {
                let name = &self.found.instance.meta.name;
                return Err(Error::not_found(format!("instance {name:?} was removed")));
            }
        }
    }

    fn judge(&self, known: &Local) -> Option<Result<Begun>> {
        let status = &known.status;
        if status.runs < self.request.run {
            return None;
        }
        let seen = status.container(&self.found.container.name);
        let state = seen.map(|seen| seen.state).unwrap_or_default();
        let begun = || Begun {
            run: status.runs,
            restarts: seen.map(|seen| seen.restarts).unwrap_or_default(),
            since: known.begun.filter(|_| status.runs > 1),
        };
        match state {
            ContainerState::Running | ContainerState::Paused | ContainerState::Exited => {
                Some(Ok(begun()))
            }
            ContainerState::Waiting if status.phase == Phase::Failed => {
                Some(Err(self.why_failed(known)))
            }
            ContainerState::Waiting => None,
        }
    }

    fn why_failed(&self, known: &Local) -> Error {
        let name = &self.found.instance.meta.name;
        let Some(reason) = &known.status.reason else {
            return Error::conflict(format!("instance {name:?} could not be started"));
        };
        let code = Code::named(&reason.code);
        let kind =
            ErrorKind::ALL.into_iter().find(|kind| crate::worker::code_of(*kind) == reason.code);
        let kind = kind.or(code.map(Code::kind));
        let message = format!("instance {name:?} could not be started: {}", reason.message);
        let error = Error::new(kind.unwrap_or(ErrorKind::Conflict), message);
        let error = code.into_iter().fold(error, Error::coded);
        match &reason.next {
            Some(next) => error.next(next.clone()),
            None => error,
        }
    }

    /// Prints to the end of the container's run, and its exit code.
    async fn print(
        &self,
        mut records: Records,
        over: watch::Receiver<bool>,
        output: &mpsc::Sender<Result<Output>>,
    ) {
        while let Some(record) = records.next().await {
            let item = record.map(|record| match record.stream {
                Stream::Stdout => Output::Stdout(written(record)),
                Stream::Stderr => Output::Stderr(written(record)),
            });
            if output.send(item).await.is_err() {
                return;
            }
        }
        let code = self.exit_code(over).await;
        let _ = output.send(Ok(Output::Exit(code))).await;
    }

    async fn exit_code(&self, mut over: watch::Receiver<bool>) -> i32 {
        // An error only says that it was true before the sender went.
        let _ = over.wait_for(|over| *over).await;
        let known = self.found.handle.known.borrow();
        let seen = known.status.container(&self.found.container.name);
        seen.and_then(|seen| seen.exit_code).unwrap_or(UNKNOWN_EXIT)
    }

    fn feed(&self) -> Feed {
        Feed {
            engine: self.engine.clone(),
            id: self.found.id.clone(),
            stdin: self.request.stdin,
            close: self.found.container.stdin_once && !self.found.container.tty,
        }
    }
}

/// Whether the run that is attached to has ended.
fn is_over(known: &Local, container: &str, run: u64, restarts: u32) -> bool {
    let status = &known.status;
    let Some(seen) = status.container(container) else { return true };
    seen.state == ContainerState::Exited
        || seen.restarts > restarts
        || status.runs != run
        || status.phase == Phase::Removing
}

struct Feed {
    engine: Arc<dyn Engine>,
    id: ContainerId,
    stdin: bool,
    close: bool,
}

/// Gives the process what the user sends, until the user leaves.
async fn feed(to: Feed, mut input: mpsc::Receiver<Input>) {
    let mut stdin = match to.stdin {
        true => to.engine.open_stdin(&to.id).await.ok(),
        false => None,
    };
    while let Some(input) = input.recv().await {
        match input {
            Input::Stdin(bytes) => {
                if let Some(writer) = stdin.as_mut()
                    && writer.write_all(&bytes).await.is_err()
                {
                    stdin = None;
                }
            }
            Input::StdinEnd => break,
            Input::Resize { width, height } => {
                let _ = to.engine.resize(&to.id, WindowSize { width, height }).await;
            }
            Input::Signal(name) => {
                if let Ok(signal) = name.parse() {
                    let _ = to.engine.kill(&to.id, signal).await;
                }
            }
        }
    }
    if let Some(mut writer) = stdin.take() {
        let _ = writer.flush().await;
    }
    if to.stdin && to.close {
        let _ = to.engine.close_stdin(&to.id).await;
    }
    // What follows the end of the input, such as a new size, is still taken.
    while let Some(input) = input.recv().await {
        if let Input::Resize { width, height } = input {
            let _ = to.engine.resize(&to.id, WindowSize { width, height }).await;
        } else if let Input::Signal(name) = input
            && let Ok(signal) = name.parse()
        {
            let _ = to.engine.kill(&to.id, signal).await;
        }
    }
}
