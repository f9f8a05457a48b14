//! How much is taken from a peer before a route sees it.

use std::time::Duration;

/// Bounds of a listener's connections.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections at a time, of each listener; more wait in the kernel's queue.
    pub connections: usize,
    /// Longest head of a request, in bytes; 8 KiB at least.
    pub head: usize,
    /// Most headers of a request.
    pub headers: usize,
    /// Time for a request's head to arrive, and for the next one to begin on an idle connection.
    pub head_time: Duration,
    /// Time for TLS to be agreed on.
    pub handshake: Duration,
    /// Time for requests to end when the server stops.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 2048,
            head: 64 << 10,
            headers: 100,
            head_time: Duration::from_secs(30),
            handshake: Duration::from_secs(10),
            drain: Duration::from_secs(5),
        }
    }
}
