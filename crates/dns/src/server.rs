//! The server: sockets that come and go with the networks, one index.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use model::Result;

use crate::forwarder::Forwarder;
use crate::index::Index;
use crate::name_server::Listening;
use crate::responder::Responder;
use crate::socket::{Listener, Seat};
use crate::zones::{Change, Inside, NetworkNames, Zones};

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port it listens on, and asks others at; 53 (RFC 1035, section 4.2) but for tests.
    pub port: u16,
    /// Domain under which all names stand, never asked of others: `hull.internal`.
    pub domain: String,
    /// Where the host's resolvers are named; followed when it changes.
    pub resolv_conf: PathBuf,
    /// Whether another server of the same user may listen on the same addresses, to take its place.
    pub shared: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 53,
            domain: "hull.internal".into(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            shared: false,
        }
    }
}

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    config: Config,
    responder: Arc<Responder>,
    listeners: Mutex<HashMap<IpAddr, Arc<Listener>>>,
    inside: Mutex<HashMap<Inside, Arc<Listener>>>,
}

impl Server {
    /// A server that listens nowhere yet.
    pub fn start(config: Config) -> Self {
        let forwarder = Forwarder::new(config.resolv_conf.clone(), config.port);
        let responder = Arc::new(Responder::new(forwarder));
        Self { config, responder, listeners: Mutex::default(), inside: Mutex::default() }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The search domain of a project's instances, e.g. `shop.hull.internal`.
    pub fn search_domain(&self, project: &str) -> String {
        format!("{project}.{}", self.config.domain)
    }

    /// See [`NameServer::publish`](crate::NameServer::publish).
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn publish(&self, zones: &Zones) -> Result<Listening> {
        let domain = self.config.domain.trim_matches('.').to_ascii_lowercase();
        self.responder.set(Index::new(zones, &domain));
        let mut failed = self.listen(&zones.networks);
        self.lock_inside().retain(|place, _| zones.inside.contains(place));
        failed.extend(self.listen_inside(&zones.inside));
        Ok(self.listening(failed))
    }

    /// The same, told by what is different.
    pub(crate) async fn change(&self, change: &Change) -> Result<Listening> {
        self.responder.change(change);
        let mut failed = change.networks.as_deref().map(|it| self.listen(it)).unwrap_or_default();
        for place in &change.left {
            self.lock_inside().remove(place);
        }
        failed.extend(self.listen_inside(&change.new));
        Ok(self.listening(failed))
    }

    fn listening(&self, failed: Vec<(SocketAddr, model::Error)>) -> Listening {
        let listeners = self.listeners.lock().expect("no holder of the lock panics");
        let mut addresses: Vec<_> = listeners.values().map(|listener| listener.address).collect();
        addresses.sort_unstable();
        Listening { addresses, failed }
    }

    fn lock_inside(&self) -> MutexGuard<'_, HashMap<Inside, Arc<Listener>>> {
        self.inside.lock().expect("no holder of the lock panics")
    }

    /// Listens on exactly these networks' addresses; where that is not possible, and why.
    fn listen(&self, networks: &[NetworkNames]) -> Vec<(SocketAddr, model::Error)> {
        let wanted: HashSet<IpAddr> =
            networks.iter().flat_map(|network| network.listen.iter().copied()).collect();
        self.responder.forwarder.set_own(wanted.clone());
        let mut listeners = self.listeners.lock().expect("no holder of the lock panics");
        listeners.retain(|address, _| wanted.contains(address));
        let mut failed = Vec::new();
        for address in wanted {
            if listeners.contains_key(&address) {
                continue;
            }
            let place = SocketAddr::new(address, self.config.port);
            match Listener::start(place, self.config.shared, &self.responder) {
                Ok(listener) => drop(listeners.insert(address, Arc::new(listener))),
                Err(error) => failed.push((place, error)),
            }
        }
        failed
    }

    /// Listens in namespaces of members too; where that is not possible, and why. In one that is gone
    /// nobody asks.
    fn listen_inside<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a Inside>,
    ) -> Vec<(SocketAddr, model::Error)> {
        let mut inside = self.lock_inside();
        let mut failed = Vec::new();
        for place in wanted {
            if inside.contains_key(place) {
                continue;
            }
            let seat = Seat { listen: place.listen, source: Some(place.source) };
            let (path, shared) = (&place.path, self.config.shared);
            match Listener::start_inside(path, place.at, shared, seat, &self.responder) {
                Ok(Some(listener)) => drop(inside.insert(place.clone(), Arc::new(listener))),
                Ok(None) => {}
                Err(error) => failed.push((place.at, error)),
            }
        }
        failed
    }

    /// Leaves questions that come from now on to a successor, which must listen already, and answers
    /// those that are there.
    pub(crate) async fn retire(&self) {
        let listeners: Vec<_> = {
            let all = self.listeners.lock().expect("no holder of the lock panics");
            let inside = self.inside.lock().expect("no holder of the lock panics");
            all.values().chain(inside.values()).cloned().collect()
        };
        for listener in listeners {
            if let Err(error) = listener.retire().await {
                tracing::debug!(%error, address = %listener.address, "hears on until it ends");
            }
        }
    }
}
