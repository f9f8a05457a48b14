//! Listens, accepts, and stops in good order.

mod connection;
mod peer;
mod socket;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use control::Control;
use model::{Error, Result, Time};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::meters::Meters;
use crate::rate::Rates;
use crate::tickets::Tickets;
use crate::{Api, routes};
pub(crate) use peer::Peer;

/// The API with its listeners open; nothing is accepted before [`Server::serve`].
pub struct Server {
    shared: Shared,
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, PathBuf)>,
    tls: Arc<rustls::ServerConfig>,
}

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Shared {
    api: Arc<Api>,
    router: Router,
    connections: TaskTracker,
    /// Accepting ends, and requests under way may end.
    drain: CancellationToken,
}

/// Opens the listeners and puts the routes together.
///
/// Fails with `Conflict` when another daemon answers on the socket, with `Unavailable` when an
/// address or the socket cannot be had.
pub async fn bind(config: Config, control: Arc<Control>) -> Result<Server> {
    let Config { listen, tls, authority, socket, node, version, scratch, limits, metrics } = config;
    let mut tcp = Vec::new();
    for address in listen {
        let listener = TcpListener::bind(address).await;
        tcp.push(listener.map_err(|error| {
            Error::unavailable(format!("the API cannot listen on {address}"))
                .next("is the port taken? another one is chosen in hull.toml: [api] listen")
                .caused_by(error)
        })?);
    }
    let unix = match socket {
        Some(path) => Some((socket::bind(&path).await?, path)),
        None => None,
    };
    let api = Arc::new(Api {
        addresses: tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
        authority,
        control,
        document: routes::document(),
        meters: Meters::new(metrics),
        node,
        rates: Rates::new(limits.rate, limits.burst),
        tickets: Tickets::default(),
        limits,
        scratch,
        started: Time::now(),
        stop: CancellationToken::new(),
        version,
    });
    let router = routes::router(&api);
    let (connections, drain) = (TaskTracker::new(), CancellationToken::new());
    let shared = Shared { api, router, connections, drain };
    Ok(Server { shared, tcp, unix, tls: tls::offer_protocols(&tls) })
}

impl Server {
    /// Addresses listened on, with the ports that were chosen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.shared.api.addresses.clone()
    }

    /// Serves until `shutdown` comes; then accepts nothing more, ends streams and sessions, gives
    /// other requests [`crate::Limits::drain`] to end, and returns.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { shared, tcp, unix, tls } = self;
        let listeners = TaskTracker::new();
        for listener in tcp {
            let permits = permits(&shared);
            listeners.spawn(tls::accept(shared.clone(), listener, tls.clone(), permits));
        }
        let path = unix.map(|(listener, path)| {
            listeners.spawn(socket::accept(shared.clone(), listener, permits(&shared)));
            path
        });
        shutdown.await;
        shared.drain.cancel();
        shared.api.stop.cancel();
        listeners.close();
        listeners.wait().await;
        if let Some(path) = path {
            // A socket that nobody listens on would look like a daemon that hangs.
            let _ = tokio::fs::remove_file(path).await;
        }
        shared.connections.close();
        if tokio::time::timeout(shared.api.limits.drain, shared.connections.wait()).await.is_err() {
            tracing::warn!(open = shared.connections.len(), "connections cut off at shutdown");
        }
    }
}

fn permits(shared: &Shared) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(shared.api.limits.connections.max(1)))
}
