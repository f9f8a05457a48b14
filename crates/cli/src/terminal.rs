//! A conversation with a process through the user's terminal.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use link::{Input, Output, Session};
use model::{Error, Result};
use rustix::termios::{OptionalActions, Termios};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::{exit, out};

/// How the user's side takes part.
#[derive(Debug, Clone)]
pub struct Part {
    /// Send what the user types.
    pub stdin: bool,
    /// The process has a terminal: pass every key on.
    pub tty: bool,
    /// Pass signals on.
    pub signals: bool,
    /// The process runs already: have it draw its screen again.
    pub redraw: bool,
    /// Keys that leave the process running and end the conversation.
    pub detach: Vec<u8>,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The process ended with this code.
    Exit(i32),
    /// The user left.
    Detached,
    /// The user interrupted again and again, and the process goes on all the same.
    GivenUp,
}

/// Interrupts this close together are impatience: so many of them end the conversation.
const IMPATIENCE: (usize, Duration) = (3, Duration::from_secs(2));

/// Exit code of a program that SIGINT ended, as a shell tells it.
const INTERRUPTED: u8 = 130;

impl End {
    /// The exit code of the command.
    pub fn code(self) -> ExitCode {
        match self {
            End::Exit(code) => exit::of_process(code),
            End::Detached => ExitCode::SUCCESS,
            End::GivenUp => ExitCode::from(INTERRUPTED),
        }
    }
}

/// Reads detach keys: `ctrl-p,ctrl-q`, single characters, or nothing for none.
pub fn detach_keys(text: &str) -> Result<Vec<u8>> {
    let key = |word: &str| match word.strip_prefix("ctrl-") {
        Some(letter) => match letter.as_bytes() {
            [c @ (b'a'..=b'z' | b'@' | b'['..=b'_')] => Some(c & 0x1f),
            _ => None,
        },
        None => match word.as_bytes() {
            [c] => Some(*c),
            _ => None,
        },
    };
    let words = text.split(',').filter(|word| !word.is_empty());
    words.map(key).collect::<Option<_>>().ok_or_else(|| {
        Error::invalid(format!("{text:?} are not detach keys"))
            .at("--detach-keys")
            .next("write keys like ctrl-p,ctrl-q")
    })
}

/// Holds the conversation to its end. The terminal is as it was when this returns or panics.
pub async fn converse(session: Session, part: &Part) -> Result<End> {
    let Session { input, mut output } = session;
    let raw = part.tty && part.stdin && std::io::stdin().is_terminal();
    let saved = if raw { Some(Raw::enter()?) } else { None };
    let (left, mut leaves) = mpsc::channel(1);
    if part.stdin {
        tokio::spawn(keys(input.clone(), part.detach.clone(), raw, left.clone()));
    }
    if part.tty && std::io::stdout().is_terminal() {
        tokio::spawn(sizes(input.clone(), part.redraw));
    }
    if part.signals && !raw {
        tokio::spawn(signals(input.clone(), left));
    }
    let end = loop {
        tokio::select! {
            item = output.next() => match item {
                Some(Ok(Output::Exit(code))) => break Ok(End::Exit(code)),
                Some(Ok(item)) => print(item),
                Some(Err(error)) => break Err(error),
                None => break Err(Error::unavailable("the connection to the process was lost")
                    .next("see whether it still runs: hull ps")),
            },
            Some(end) = leaves.recv() => break Ok(end),
        }
    };
    let raw = saved.is_some();
    drop(saved);
    match end {
        // The prompt that follows begins a line.
        Ok(End::Detached) if raw => out::remark(""),
        Ok(End::GivenUp) => {
            out::remark("hull: it goes on without you; hull stop or hull kill ends it");
        }
        Ok(End::Exit(_) | End::Detached) | Err(_) => {}
    }
    end
}

fn print(item: Output) {
    // Whoever reads our output may have gone; the process runs on regardless.
    match item {
        Output::Stdout(bytes) => {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(&bytes).and_then(|()| out.flush());
        }
        Output::Stderr(bytes) => {
            let _ = std::io::stderr().lock().write_all(&bytes);
        }
        Output::Unable { code: _, why } => {
            let _ = writeln!(std::io::stderr(), "{why}");
        }
        Output::Started(_) | Output::Exit(_) => {}
    }
}

async fn keys(input: mpsc::Sender<Input>, detach: Vec<u8>, raw: bool, left: mpsc::Sender<End>) {
    let mut stdin = tokio::io::stdin();
    let mut buffer = vec![0; 32 * 1024];
    let mut watcher = Detach { keys: detach, matched: 0 };
    loop {
        let read = match stdin.read(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(read) => read,
        };
        let (bytes, leave) =
            if raw { watcher.pass(&buffer[..read]) } else { (buffer[..read].to_vec(), false) };
        if !bytes.is_empty() && input.send(Input::Stdin(Bytes::from(bytes))).await.is_err() {
            return;
        }
        if leave {
            let _ = left.send(End::Detached).await;
            return;
        }
    }
    let _ = input.send(Input::StdinEnd).await;
}

/// Finds the detach keys in what is typed; keys that only began the sequence are passed on late.
struct Detach {
    keys: Vec<u8>,
    matched: usize,
}

impl Detach {
    fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(self.keys.first() == Some(byte));
            if self.matched == 0 {
                passed.push(*byte);
            }
        }
        (passed, false)
    }
}

async fn sizes(input: mpsc::Sender<Input>, redraw: bool) {
    let Ok(mut changes) = signal(SignalKind::window_change()) else { return };
    // Only a size that differs from the one before is told to the process.
    if let Some((width, height)) = size().filter(|_| redraw) {
        let _ = input.send(Input::Resize { width, height: height.saturating_add(1) }).await;
    }
    loop {
        if let Ok(size) = rustix::termios::tcgetwinsize(std::io::stdout()) {
            let (width, height) = (size.ws_col, size.ws_row);
            if width > 0 && input.send(Input::Resize { width, height }).await.is_err() {
                return;
            }
        }
        changes.recv().await;
    }
}

async fn signals(input: mpsc::Sender<Input>, left: mpsc::Sender<End>) {
    let listen = |kind| signal(kind).ok();
    let (Some(mut int), Some(mut term), Some(mut hup), Some(mut quit)) = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
        listen(SignalKind::hangup()),
        listen(SignalKind::quit()),
    ) else {
        return;
    };
    let mut interrupts = Vec::new();
    loop {
        let name = tokio::select! {
            _ = int.recv() => {
                interrupts.push(Instant::now());
                interrupts.retain(|then| then.elapsed() < IMPATIENCE.1);
                "SIGINT"
            }
            _ = term.recv() => "SIGTERM",
            _ = hup.recv() => "SIGHUP",
            _ = quit.recv() => "SIGQUIT",
        };
        if input.send(Input::Signal(name.into())).await.is_err() {
            return;
        }
        if interrupts.len() >= IMPATIENCE.0 {
            let _ = left.send(End::GivenUp).await;
            return;
        }
    }
}

/// The size of the user's terminal in characters: width, height.
pub fn size() -> Option<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
}

/// The terminal passes every key on while this lives.
struct Raw {
    saved: Termios,
}

impl Raw {
    fn enter() -> Result<Self> {
        let failed = |error| Error::internal("the terminal cannot be set").caused_by(error);
        let saved = rustix::termios::tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut raw = saved.clone();
        raw.make_raw();
        rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { saved })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.saved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detach_keys_are_found_across_reads_and_false_starts_passed_on() {
        let keys = detach_keys("ctrl-p,ctrl-q").unwrap();
        assert_eq!(keys, [16, 17]);
        let mut detach = Detach { keys, matched: 0 };
        assert_eq!(detach.pass(b"a\x10"), (b"a".to_vec(), false));
        assert_eq!(detach.pass(b"b\x10"), (b"\x10b".to_vec(), false));
        assert_eq!(detach.pass(b"\x11"), (Vec::new(), true));
        assert!(detach_keys("ctrl-1").is_err());
        assert!(detach_keys("").unwrap().is_empty());
    }
}
