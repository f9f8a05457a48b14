//! A connection that was taken over from HTTP: bytes both ways, and a sign when its peer is gone.

use std::io::Cursor;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::held::Held;
use crate::lingering::Lingering;

/// Reads what the peer sends.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// Writes to the peer; its shutdown ends this direction only.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;
/// Ends when the peer has closed both directions. A peer that only ended its own (as `docker exec -i`
/// does at the end of its input) still listens.
pub type Gone = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection taken over.
pub struct Connection {
    reader: Reader,
    writer: Writer,
    watched: Option<OwnedFd>,
}

impl From<Upgraded> for Connection {
    fn from(upgraded: Upgraded) -> Self {
        let upgraded = match downcast::<TokioIo<Lingering<Held<UnixStream>>>>(upgraded) {
            Ok(parts) => {
                let stream = parts.io.into_inner().into_inner();
                let watched = stream.as_fd().try_clone_to_owned().ok();
                return Self::new(stream, parts.read_buf, watched);
            }
            Err(upgraded) => upgraded,
        };
        match downcast::<TokioIo<Lingering<Held<TlsStream<TcpStream>>>>>(upgraded) {
            Ok(parts) => {
                let stream = parts.io.into_inner().into_inner();
                let watched = stream.get_ref().get_ref().0.as_fd().try_clone_to_owned().ok();
                Self::new(stream, parts.read_buf, watched)
            }
            Err(upgraded) => Self::new(TokioIo::new(upgraded), axum::body::Bytes::new(), None),
        }
    }
}

impl Connection {
    fn new<S>(stream: S, read: axum::body::Bytes, watched: Option<OwnedFd>) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader: Box::new(Cursor::new(read).chain(reader)),
            writer: Box::new(writer),
            watched,
        }
    }

    /// Its two directions, and the sign.
    #[must_use]
    pub fn split(self) -> (Reader, Writer, Gone) {
        let Self { reader, writer, watched } = self;
        (reader, writer, Box::pin(gone(watched)))
    }
}

#[expect(deprecated, reason = "the descriptor is owned, and stays open and the same")]
/// Ends when the peer has closed both directions. The kernel tells of a hang-up whatever else was asked
/// for, and urgent data never comes.
pub(crate) async fn gone(watched: Option<OwnedFd>) {
    let watch = watched.and_then(|fd| AsyncFd::with_interest(fd, Interest::PRIORITY).ok());
    let Some(watch) = watch else { return std::future::pending().await };
    loop {
        match watch.ready(Interest::PRIORITY).await {
            Ok(ready) if ready.ready().is_read_closed() => return,
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => return std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_ended_one_direction_is_not_gone() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let watched = ours.as_fd().try_clone_to_owned().unwrap();
        let mut gone = Box::pin(gone(Some(watched)));
        let theirs = theirs.into_std().unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let early = tokio::time::timeout(std::time::Duration::from_millis(50), &mut gone).await;
        assert!(early.is_err(), "a half-closed peer still listens");
        drop(theirs);
        tokio::time::timeout(std::time::Duration::from_secs(5), gone).await.unwrap();
        drop(ours);
    }
}
