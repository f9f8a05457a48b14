//! Opens the engine's listeners, serves, and stops in good order.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use control::Control;
use listen::Listeners;
use model::Result;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::{Engine, exec, routes};

/// The engine with its listeners open; nothing is accepted before [`Server::serve`].
pub struct Server {
    engine: Arc<Engine>,
    router: Router,
    listeners: Listeners,
}

/// Opens the listeners and puts the routes together.
///
/// # Errors
/// `Conflict` when another daemon answers on the socket, `Unavailable` when an address or the socket
/// cannot be had.
pub async fn bind(config: Config, control: Arc<Control>) -> Result<Server> {
    let Config { audit, socket, listen, tls, project, node, version, root } = config;
    let listeners = Listeners::bind(listen::Settings {
        title: "the Docker API",
        setting: "[docker] listen",
        listen,
        tls,
        upgrades: true,
        socket: Some(socket),
        bounds: listen::Bounds { headers: 256, head: 1 << 20, ..listen::Bounds::default() },
    })
    .await?;
    let engine = Arc::new(Engine {
        audit,
        control,
        project,
        node,
        version,
        execs: exec::Execs::default(),
        stop: CancellationToken::new(),
        root,
    });
    let router = routes::router(&engine);
    Ok(Server { engine, router, listeners })
}

impl Server {
    /// Addresses listened on, with the ports that were chosen.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// Serves until `shutdown` comes; then accepts nothing more, ends streams and sessions, and
    /// returns.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { engine, router, listeners } = self;
        engine.ensure_default_network().await;
        let opened: listen::Opened = Arc::new(|| Box::new(()));
        listeners.serve(router, opened, engine.stop.clone(), shutdown).await;
    }
}
