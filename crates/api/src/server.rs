//! Opens the API, serves it, and stops in good order.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use control::Control;
use listen::Listeners;
use model::{Result, Time};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::meters::Meters;
use crate::rate::Rates;
use crate::sign_in::SignIns;
use crate::tickets::Tickets;
use crate::{Api, routes, upload};

/// The API with its listeners open; nothing is accepted before [`Server::serve`].
pub struct Server {
    api: Arc<Api>,
    router: Router,
    listeners: Listeners,
}

/// Opens the listeners and puts the routes together.
///
/// Fails with `Conflict` when another daemon answers on the socket, with `Unavailable` when an
/// address or the socket cannot be had.
pub async fn bind(config: Config, control: Arc<Control>) -> Result<Server> {
    let Config {
        listen,
        audit,
        tls,
        authority,
        socket,
        node,
        version,
        scratch,
        sign_ins,
        library,
        limits,
        metrics,
    } = config;
    let listeners = Listeners::bind(listen::Settings {
        title: "the API",
        setting: "[api] listen",
        listen,
        tls: Some(tls),
        upgrades: false,
        socket,
        bounds: limits.bounds.clone(),
    })
    .await?;
    let api = Arc::new(Api {
        addresses: listeners.addresses(),
        audit,
        sign_ins: SignIns::open(sign_ins, &authority),
        authority,
        control,
        document: routes::document(),
        meters: Meters::new(metrics),
        node,
        rates: Rates::new(limits.rate, limits.burst),
        sign_in_rates: Rates::new(1, 20),
        tickets: Tickets::default(),
        library,
        limits,
        scratch,
        started: Time::now(),
        stop: CancellationToken::new(),
        uploads: upload::Room::default(),
        version,
    });
    let router = routes::router(&api);
    Ok(Server { api, router, listeners })
}

impl Server {
    /// Addresses listened on, with the ports that were chosen.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.api.addresses.clone()
    }

    /// Serves until `shutdown` comes; then accepts nothing more, ends streams and sessions, gives
    /// other requests [`listen::Bounds::drain`] to end, and returns.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { api, router, listeners } = self;
        let stop = api.stop.clone();
        let opened: listen::Opened = Arc::new(move || Box::new(api.meters.open("connection")));
        listeners.serve(router, opened, stop, shutdown).await;
    }
}
