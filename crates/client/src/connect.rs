//! Makes connections: to a local socket, or over TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use model::{Error, Result};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::{Config, Host};

/// A connection, handshake included, that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes connections to one host, whatever address is asked for.
#[derive(Clone)]
pub struct Connector {
    target: Arc<Target>,
}

enum Target {
    Unix(std::path::PathBuf),
    Tls { address: (String, u16), name: ServerName<'static>, tls: TlsConnector },
}

/// Bytes both ways.
pub trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection of either sort.
pub struct Stream(Pin<Box<dyn Io>>);

impl Connector {
    /// Fails with `Invalid` when the trust anchors cannot be read, or there are none for TLS.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let target = match &config.host {
            Host::Unix(path) => Target::Unix(path.clone()),
            Host::Https { name, port } => {
                let tls = crate::tls::client_config(&config.trust)?;
                let server = ServerName::try_from(name.clone()).map_err(|error| {
                    Error::invalid(format!("{name:?} is not a host name")).caused_by(error)
                })?;
                Target::Tls {
                    address: (name.clone(), *port),
                    name: server,
                    tls: TlsConnector::from(Arc::new(tls)),
                }
            }
        };
        Ok(Self { target: Arc::new(target) })
    }
}

impl Target {
    async fn connect(&self) -> io::Result<Stream> {
        match self {
            Target::Unix(path) => Ok(Stream(Box::pin(UnixStream::connect(path).await?))),
            Target::Tls { address: (host, port), name, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                Ok(Stream(Box::pin(tls.connect(name.clone(), stream).await?)))
            }
        }
    }
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<TokioIo<Stream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let target = self.target.clone();
        Box::pin(async move {
            match tokio::time::timeout(TIMEOUT, target.connect()).await {
                Ok(stream) => stream.map(TokioIo::new),
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no connection after {} s", TIMEOUT.as_secs()),
                )),
            }
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }
}
