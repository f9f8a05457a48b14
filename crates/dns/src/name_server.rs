//! What answers: this process, or one of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use model::{Error, Result};

use crate::server::Server;
use crate::zones::Zones;

/// Where a server listens after [`NameServer::publish`].
#[derive(Debug, Default)]
pub struct Listening {
    /// Addresses that are answered on.
    pub addresses: Vec<SocketAddr>,
    /// Addresses that could not be listened on, and why.
    pub failed: Vec<(SocketAddr, Error)>,
}

/// Answers the questions of a node's instances.
#[async_trait]
pub trait NameServer: Send + Sync + 'static {
    /// Answers from `zones` from now on, and listens on exactly its networks' addresses: the gateways,
    /// which needn't exist yet. An address that can't be listened on is tried again at the next call;
    /// the others work meanwhile. What differs from the last value is told, and costs.
    async fn publish(&self, zones: Arc<Zones>) -> Result<Listening>;

    /// Ends when the server has forgotten what it was told last, and must be told again.
    async fn forgotten(&self);
}

#[async_trait]
impl NameServer for Server {
    async fn publish(&self, zones: Arc<Zones>) -> Result<Listening> {
        Server::publish(self, &zones).await
    }

    async fn forgotten(&self) {
        std::future::pending().await
    }
}
