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
