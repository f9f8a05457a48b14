//! What the API is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use telemetry::metrics::Metrics;

/// Where the API listens, how it proves who it is, and how much it takes.
#[derive(Clone)]
pub struct Config {
    /// Where what was asked is written down.
    pub audit: Arc<audit::Log>,
    /// Addresses for TLS; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// The server's side of TLS. Which protocols are offered (ALPN) is set here, not there.
    pub tls: Arc<rustls::ServerConfig>,
    /// SHA-256 of the authority's certificate in DER, in hexadecimal digits: what callers from
    /// elsewhere are told to trust.
    pub authority: String,
    /// Path of the local socket; none when absent.
    pub socket: Option<PathBuf>,
    /// Name of the node that answers.
    pub node: String,
    /// Version of `hull`.
    pub version: String,
    /// A directory for copies on their way to a caller; as private as the store.
    pub scratch: PathBuf,
    /// The contents of catalogs.
    pub library: catalog::Library,
    /// The file that tells which browsers are signed in, from one start to the next.
    pub sign_ins: Option<PathBuf>,
    /// Bounds.
    pub limits: Limits,
    /// Where the API's own metrics go, and what `/metrics` shows.
    pub metrics: Metrics,
}

/// How much is taken from callers.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Those of connections.
    pub bounds: listen::Bounds,
    /// Longest body that is read whole, in bytes.
    pub body: usize,
    /// Time for the next bytes of an upload that is put aside.
    pub silence: Duration,
    /// Time for an answer that is no stream.
    pub answer: Duration,
    /// Requests of one caller in a second, on average.
    pub rate: u32,
    /// Requests of one caller at once, before `rate` counts.
    pub burst: u32,
    /// A session is pinged this often.
    pub ping: Duration,
    /// A quiet watch says this often that it is alive.
    pub bookmark: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bounds: listen::Bounds::default(),
            body: 2 << 20,
            silence: Duration::from_secs(120),
            answer: Duration::from_secs(60),
            rate: 5000,
            burst: 20_000,
            ping: Duration::from_secs(30),
            bookmark: Duration::from_secs(60),
        }
    }
}
