//! Opens listeners, serves them, and stops in good order.

use std::any::Any;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use model::{Error, Result};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bounds::Bounds;
use crate::{socket, tls};

/// Makes what is held for as long as a connection is open.
pub type Opened = Arc<dyn Fn() -> Box<dyn Any + Send> + Send + Sync>;

/// Where and how to listen.
pub struct Settings {
    /// What listens, for messages: `the API`.
    pub title: &'static str,
    /// The setting that chooses another address, for messages: `[api] listen`.
    pub setting: &'static str,
    /// Addresses for TLS; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The server's side of TLS. Which protocols are offered (ALPN) is set here, not there; without it
    /// nothing listens on the network.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Offer HTTP/1.1 alone: only its connections can be taken over (RFC 9110, section 7.8).
    pub upgrades: bool,
    /// Path of the local socket; none when absent.
    pub socket: Option<PathBuf>,
    /// Bounds.
    pub bounds: Bounds,
}

/// Listeners that are open; nothing is accepted before [`Listeners::serve`].
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, PathBuf)>,
    tls: Option<Arc<rustls::ServerConfig>>,
    bounds: Bounds,
}

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) router: Router,
    pub(crate) bounds: Arc<Bounds>,
    pub(crate) opened: Opened,
    pub(crate) connections: TaskTracker,
    /// Accepting ends, and requests under way may end.
    pub(crate) drain: CancellationToken,
}

impl Listeners {
    /// Opens them.
    ///
    /// # Errors
    /// `Conflict` when another daemon answers on the socket, `Unavailable` when an address or the
    /// socket cannot be had, `Invalid` for an address without TLS.
    pub async fn bind(settings: Settings) -> Result<Self> {
        let Settings { title, setting, listen, tls, upgrades, socket, bounds } = settings;
        if tls.is_none() && !listen.is_empty() {
            return Err(Error::invalid(format!("{title} would listen without TLS")).at(setting));
        }
        let mut tcp = Vec::new();
        for address in listen {
            let listener = TcpListener::bind(address).await;
            tcp.push(listener.map_err(|error| {
                Error::unavailable(format!("{title} cannot listen on {address}"))
                    .next(format!(
                        "is the port taken? another one is chosen in hull.toml: {setting}"
                    ))
                    .caused_by(error)
            })?);
        }
        let unix = match socket {
            Some(path) => Some((socket::bind(&path, title).await?, path)),
            None => None,
        };
        Ok(Self { tcp, unix, tls: tls.map(|tls| tls::offer_protocols(&tls, upgrades)), bounds })
    }

    /// Addresses listened on, with the ports that were chosen.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `shutdown` comes; then accepts nothing more, cancels `stop` (which is to end
    /// streams and sessions), gives other requests [`Bounds::drain`] to end, and returns.
    pub async fn serve(
        self,
        router: Router,
        opened: Opened,
        stop: CancellationToken,
        shutdown: impl Future<Output = ()>,
    ) {
        let Self { tcp, unix, tls, bounds } = self;
        let shared = Shared {
            router,
            bounds: Arc::new(bounds),
            opened,
            connections: TaskTracker::new(),
            drain: CancellationToken::new(),
        };
        let listeners = TaskTracker::new();
        for listener in tcp {
            let Some(tls) = tls.clone() else { continue };
            listeners.spawn(tls::accept(shared.clone(), listener, tls, permits(&shared)));
        }
        let path = unix.map(|(listener, path)| {
            listeners.spawn(socket::accept(shared.clone(), listener, permits(&shared)));
            path
        });
        shutdown.await;
        shared.drain.cancel();
        stop.cancel();
        listeners.close();
        listeners.wait().await;
        if let Some(path) = path {
            // A socket that nobody listens on would look like a daemon that hangs.
            let _ = tokio::fs::remove_file(path).await;
        }
        shared.connections.close();
        if tokio::time::timeout(shared.bounds.drain, shared.connections.wait()).await.is_err() {
            tracing::warn!(open = shared.connections.len(), "connections cut off at shutdown");
        }
    }
}

fn permits(shared: &Shared) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(shared.bounds.connections.max(1)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::extract::Request;
    use axum::response::IntoResponse;
    use axum::routing::get;
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;
    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Takes its connection over, and holds it until the peer is gone.
    async fn take_over(mut request: Request) -> impl IntoResponse {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let connection = crate::Connection::from(upgrade.await.expect("it upgrades"));
            let (_reader, _writer, gone) = connection.split();
            gone.await;
        });
        let head = [(http::header::CONNECTION, "Upgrade"), (http::header::UPGRADE, "tcp")];
        (StatusCode::SWITCHING_PROTOCOLS, head)
    }

    async fn ask(path: &std::path::Path, of: &str) -> UnixStream {
        let mut stream = UnixStream::connect(path).await.unwrap();
        let head =
            format!("GET {of} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    async fn status(stream: &mut UnixStream) -> String {
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        String::from_utf8_lossy(&first[9..]).into_owned()
    }

    #[tokio::test]
    async fn a_connection_that_was_taken_over_counts_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let listeners = Listeners::bind(Settings {
            title: "a test",
            setting: "none",
            listen: Vec::new(),
            tls: None,
            upgrades: true,
            socket: Some(path.clone()),
            bounds: Bounds { connections: 1, ..Bounds::default() },
        });
        let listeners = listeners.await.unwrap();
        let router = Router::new()
            .route("/over", get(take_over))
            .route("/", get(|| async { StatusCode::OK }));
        let stop = CancellationToken::new();
        let end = stop.clone();
        let opened: Opened = Arc::new(|| Box::new(()));
        let shutdown = async move { end.cancelled().await };
        let serving =
            tokio::spawn(listeners.serve(router, opened, CancellationToken::new(), shutdown));
        let mut first = ask(&path, "/over").await;
        assert_eq!(status(&mut first).await, "101");
        let mut second = ask(&path, "/").await;
        let early = timeout(Duration::from_millis(100), status(&mut second)).await;
        assert!(early.is_err(), "there is room for one");
        drop(first);
        assert_eq!(timeout(SOON, status(&mut second)).await.unwrap(), "200");
        stop.cancel();
        drop(second);
        timeout(SOON, serving).await.unwrap().unwrap();
    }
}
