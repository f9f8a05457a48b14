//! The server: sockets that come and go with the networks, one index swapped whole.

use std::net::SocketAddr;
use std::path::PathBuf;

use model::{Error, Result};

use crate::zones::Zones;

/// How the server is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Port it listens on; 53 (RFC 1035) but for tests.
    pub port: u16,
    /// Domain under which all names stand, never asked of others: `hull.internal`.
    pub domain: String,
    /// Where the host's resolvers are named; followed when it changes.
    pub resolv_conf: PathBuf,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 53,
            domain: "hull.internal".into(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// Where the server listens after [`Server::publish`].
#[derive(Debug, Default)]
pub struct Listening {
    /// Addresses that are answered on.
    pub addresses: Vec<SocketAddr>,
    /// Addresses that could not be listened on, and why.
    pub failed: Vec<(SocketAddr, Error)>,
}

/// A running name server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    config: Config,
}

impl Server {
    /// A server that listens nowhere yet. Call it within a tokio runtime.
    pub fn start(config: Config) -> Self {
        Self { config }
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Answers from `zones` from now on, and listens on exactly its networks' addresses. An address
    /// that can't be listened on is tried again at the next call.
    pub async fn publish(&self, _zones: Zones) -> Result<Listening> {
        Err(Error::internal("not written yet"))
    }
}
