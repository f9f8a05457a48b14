//! Named pipes between us and a shim (fifo(7)).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use model::error::Context as _;
use model::{ErrorKind, Result};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use crate::engine::{Reader, Writer};

/// Makes a named pipe for root only; one that is there is used.
pub(super) fn make(path: &Path) -> Result<()> {
    match mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno)
            .context(ErrorKind::Exhausted, || format!("pipe {} cannot be made", path.display())),
    }
}

/// Opens a pipe to read what comes. Its other side may open it later.
pub(super) fn reader(path: &Path) -> Result<pipe::Receiver> {
    pipe::OpenOptions::new()
        .open_receiver(path)
        .context(ErrorKind::Exhausted, || format!("pipe {} cannot be opened", path.display()))
}

/// Opens a pipe to write to, before its other side has been opened.
pub(super) fn early_writer(path: &Path) -> Result<Early> {
    let held = reader(path)?;
    Ok(Early { writer: writer(path)?, _held: held })
}

/// A writer whose other side is held open until the shim has it.
#[derive(Debug)]
pub(super) struct Early {
    writer: pipe::Sender,
    _held: pipe::Receiver,
}

impl Early {
    /// The shim has the other side now.
    pub(super) fn settle(self) -> Writer {
        Box::pin(self.writer)
    }
}

/// Opens a pipe that somebody reads.
///
/// # Errors
/// `Conflict` when nobody does.
pub(super) fn writer(path: &Path) -> Result<pipe::Sender> {
    pipe::OpenOptions::new()
        .open_sender(path)
        .context(ErrorKind::Conflict, || format!("nothing reads pipe {}", path.display()))
}

/// A reader that tells when it has come to its end or is dropped.
pub(super) fn tracked(pipe: pipe::Receiver, end: mpsc::Sender<()>) -> Reader {
    Box::pin(Tracked { pipe, end: Some(end) })
}

struct Tracked {
    pipe: pipe::Receiver,
    /// Dropped at the end; the other side of this channel waits for that.
    end: Option<mpsc::Sender<()>>,
}

impl AsyncRead for Tracked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.pipe).poll_read(cx, buf);
        if polled.is_ready() && buf.filled().len() == before && buf.remaining() > 0 {
            self.end = None;
        }
        polled
    }
}

/// A writer that does something when it is closed or dropped.
pub(super) struct Closing<F: FnOnce()> {
    writer: Writer,
    close: Option<F>,
}

impl<F: FnOnce()> Closing<F> {
    pub(super) fn new(writer: Writer, close: F) -> Self {
        Self { writer, close: Some(close) }
    }

    fn close(&mut self) {
        if let Some(close) = self.close.take() {
            close();
        }
    }
}

impl<F: FnOnce()> Drop for Closing<F> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<F: FnOnce() + Unpin> AsyncWrite for Closing<F> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writer.as_mut().poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.writer.as_mut().poll_shutdown(cx);
        if polled.is_ready() {
            // What was written is in the pipe; the other side reads it before the end.
            self.writer = Box::pin(tokio::io::sink());
            self.close();
        }
        polled
    }
}

/// A descriptor of our own for what `/proc` shows of another process.
pub(super) fn open_path(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags =
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty())
}
