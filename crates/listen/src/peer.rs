//! Who is at the other end of a connection, as far as the connection itself tells.

use std::fmt;
use std::net::SocketAddr;

/// The other end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// Somewhere on the network; a token tells who.
    Network(SocketAddr),
    /// A user of this machine, whose name the kernel and the user database tell.
    Local {
        /// The user's name, or number if it has none.
        user: String,
        /// Root, the daemon's own user, or a member of the socket's group.
        trusted: bool,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Network(address) => address.fmt(f),
            Peer::Local { user, trusted: _ } => write!(f, "local user {user}"),
        }
    }
}
