//! The socket: one task reads, one writes, and replies are matched to commands by their ids.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use super::event::{self, Event};

/// Longest line taken from QEMU. Its longest, a description of all its commands, has 0.3 MB.
const LINE: u64 = 4 << 20;
/// Commands that may wait to be written.
const QUEUE: usize = 16;
/// Events kept for one who listens and is slow.
const EVENTS: usize = 256;

/// An open connection; its tasks end when it is dropped.
pub(super) struct Connection {
    lines: mpsc::Sender<Said>,
    open: Arc<Mutex<Open>>,
    events: broadcast::WeakSender<Event>,
    _tasks: JoinSet<()>,
}

/// A line to QEMU, and a file that goes with it.
struct Said(Vec<u8>, Option<OwnedFd>);

/// What is under way.
#[derive(Default)]
struct Open {
    last: u64,
    asked: HashMap<u64, oneshot::Sender<Result<Value, Refusal>>>,
    /// Why no more answers come.
    over: Option<&'static str>,
}

/// How QEMU refuses a command.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    class: String,
    desc: String,
}

/// A line from QEMU.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(rename = "QMP")]
    greeting: Option<Value>,
    id: Option<u64>,
    #[serde(rename = "return")]
    answer: Option<Value>,
    error: Option<Refusal>,
    event: Option<String>,
    data: Value,
}

impl Connection {
    /// Waits for the greeting, then reads on its own.
    pub(super) async fn open(
        stream: UnixStream,
    ) -> Result<(Self, Value, broadcast::Receiver<Event>)> {
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader).take(LINE);
        let greeting = match read_line(&mut reader).await.map(|line| line.greeting) {
            Ok(Some(greeting)) => greeting,
            Ok(None) => return Err(gone("what listens there is not QEMU")),
            Err(over) => return Err(gone(over)),
        };
        let (events, first) = broadcast::channel(EVENTS);
        let (lines, queue) = mpsc::channel(QUEUE);
        let open = Arc::new(Mutex::new(Open::default()));
        let weak = events.downgrade();
        let mut tasks = JoinSet::new();
        tasks.spawn(write(writer, queue));
        // The reader alone holds the sender: its end is the end of the events.
        tasks.spawn(read(reader, open.clone(), events));
        Ok((Self { lines, open, events: weak, _tasks: tasks }, greeting, first))
    }

    /// Sends a command, with a file for those that take one, and waits for its answer.
    pub(super) async fn ask(
        &self,
        command: &str,
        arguments: Value,
        file: Option<OwnedFd>,
    ) -> Result<Value> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked { id: lock(&self.open).add(answer)?, open: &self.open };
        let mut line = json!({"execute": command, "id": asked.id});
        if !arguments.is_null() {
            line["arguments"] = arguments;
        }
        let mut line = line.to_string().into_bytes();
        line.push(b'\n');
        let _ = self.lines.send(Said(line, file)).await;
        match answered.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refusal)) => Err(refusal.explain(command)),
            Err(_) => Err(gone(lock(&self.open).over.unwrap_or("it is closed"))),
        }
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Event> {
        match self.events.upgrade() {
            Some(events) => events.subscribe(),
            // A channel without a sender: its events are over.
            None => broadcast::channel(1).1,
        }
    }
}

impl Open {
    fn add(&mut self, answer: oneshot::Sender<Result<Value, Refusal>>) -> Result<u64> {
        if let Some(over) = self.over {
            return Err(gone(over));
        }
        self.last += 1;
        self.asked.insert(self.last, answer);
        Ok(self.last)
    }
}

/// A command under way. Forgotten when nobody waits for its answer any more.
struct Asked<'a> {
    id: u64,
    open: &'a Mutex<Open>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        lock(self.open).asked.remove(&self.id);
    }
}

impl Refusal {
    /// Classes: QMP specification, `QapiErrorClass`.
    fn explain(&self, command: &str) -> Error {
        let sentence = format!("QEMU refuses {command}: {}", self.desc);
        match self.class.as_str() {
            "CommandNotFound" | "KVMMissingCap" => Error::unsupported(sentence),
            "DeviceNotFound" => Error::not_found(sentence),
            // GenericError says everything else; it is the machine's state far more often than the
            // command's form, which is ours.
            _ => Error::conflict(sentence),
        }
    }
}

fn gone(why: &str) -> Error {
    Error::unavailable(format!("the connection to QEMU is gone: {why}"))
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Said>) {
    while let Some(Said(line, file)) = queue.recv().await {
        let begun = match file {
            Some(file) => crate::socket::send_with(writer.as_ref(), &line, &file).await,
            None => Ok(0),
        };
        let Ok(begun) = begun else { return };
        if writer.write_all(&line[begun..]).await.is_err() {
            // The reader sees the end as well and tells everybody.
            return;
        }
    }
}

async fn read(
    mut reader: Take<BufReader<OwnedReadHalf>>,
    open: Arc<Mutex<Open>>,
    events: broadcast::Sender<Event>,
) {
    let over = loop {
        match read_line(&mut reader).await {
            Ok(line) => take(line, &open, &events),
            Err(over) => break over,
        }
    };
    let mut open = lock(&open);
    open.over = Some(over);
    open.asked.clear();
}

fn take(line: Line, open: &Mutex<Open>, events: &broadcast::Sender<Event>) {
    if let Some(name) = line.event {
        // Nobody may be listening.
        let _ = events.send(event::parse(name, line.data));
        return;
    }
    let Some(asker) = line.id.and_then(|id| lock(open).asked.remove(&id)) else {
        return;
    };
    let _ = asker.send(match line.error {
        Some(refusal) => Err(refusal),
        None => Ok(line.answer.unwrap_or_default()),
    });
}

/// Reads one line that is an object; says why when there is none.
async fn read_line(reader: &mut Take<BufReader<OwnedReadHalf>>) -> Result<Line, &'static str> {
    reader.set_limit(LINE);
    let mut bytes = Vec::new();
    match reader.read_until(b'\n', &mut bytes).await {
        Ok(0) | Err(_) => Err("it ended"),
        Ok(_) if bytes.ends_with(b"\n") => parse(&bytes).ok_or("it sent what is not its protocol"),
        Ok(length) if length as u64 == LINE => Err("it sent a line without an end"),
        Ok(_) => Err("it ended in the middle of a line"),
    }
}

fn parse(bytes: &[u8]) -> Option<Line> {
    // serde would take an array for a struct as well.
    let object = bytes.trim_ascii_start().starts_with(b"{");
    object.then(|| serde_json::from_slice(bytes).ok()).flatten()
}
