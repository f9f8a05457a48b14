//! What the engine is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Where the engine listens and what it says of itself.
#[derive(Clone)]
pub struct Config {
    /// Where what was asked is written down.
    pub audit: Arc<audit::Log>,
    /// Path of its socket.
    pub socket: PathBuf,
    /// Addresses on the network, for clients that prove themselves by certificate.
    pub listen: Vec<SocketAddr>,
    /// The server's side of TLS, which must ask for certificates; needed for `listen`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The project whose objects are served.
    pub project: String,
    /// Name of the node that answers.
    pub node: String,
    /// Version of `hull`.
    pub version: String,
    /// State directory of the platform.
    pub root: PathBuf,
}
