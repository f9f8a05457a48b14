//! A connection that is closed gently.
//!
//! A server that answers before it has read all of a request, and then closes, makes the kernel tell the
//! client that its writing failed: the answer, which says why, may then never be looked at. So the end of
//! the answer is told first, and what still comes is thrown away for a moment.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Longest wait for the client to have read the answer and hang up.
const WAIT: Duration = Duration::from_millis(500);

/// A stream whose shutdown waits a moment for the peer's.
pub(crate) struct Lingering<S> {
    stream: S,
    state: State,
}

enum State {
    Open,
    /// The peer has said that it writes no more.
    Heard,
    /// Our end is told; what comes is thrown away until then.
    Draining(Pin<Box<Sleep>>),
}

impl<S> Lingering<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, state: State::Open }
    }

    /// The stream itself, for who takes it over.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lingering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            self.state = State::Heard;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, state } = &mut *self;
        loop {
            match state {
                State::Heard => return Pin::new(stream).poll_shutdown(cx),
                State::Open => {
                    ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
                    *state = State::Draining(Box::pin(tokio::time::sleep(WAIT)));
                }
                State::Draining(end) => {
                    return match end.as_mut().poll(cx) {
                        Poll::Ready(()) => Poll::Ready(Ok(())),
                        Poll::Pending => drain(stream, cx),
                    };
                }
            }
        }
    }
}

/// Reads until nothing more comes. Who sends without end is left when the time is over.
fn drain<S: AsyncRead + Unpin>(stream: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    /// Before others have their turn.
    const ROUNDS: usize = 16;
    let mut room = [0; 16 << 10];
    for _ in 0..ROUNDS {
        let mut buffer = ReadBuf::new(&mut room);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            // Whoever is gone has been told.
            Poll::Ready(_) => return Poll::Ready(Ok(())),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn an_answer_is_read_by_who_still_writes() {
        let (ours, mut theirs) = tokio::net::UnixStream::pair().unwrap();
        let mut ours = Lingering::new(ours);
        let serving = tokio::spawn(async move {
            ours.write_all(b"no").await.unwrap();
            ours.shutdown().await.unwrap();
        });
        // More than the kernel keeps: it is read, or this would hang.
        theirs.write_all(&vec![0; 4 << 20]).await.unwrap();
        let mut answer = Vec::new();
        theirs.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"no");
        drop(theirs);
        serving.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_waited_for_without_end() {
        let (ours, theirs) = duplex(64);
        let begun = tokio::time::Instant::now();
        Lingering::new(ours).shutdown().await.unwrap();
        assert!(begun.elapsed() <= 2 * WAIT, "{:?}", begun.elapsed());
        drop(theirs);
    }
}
