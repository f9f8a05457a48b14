//! TLS listeners.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::connection::{self, Listen};
use crate::listeners::Shared;
use crate::peer::{Certificate, Peer};

/// A quiet connection is asked for life after this long …
const ALIVE_IDLE: Duration = Duration::from_secs(30);
/// … again after this long, …
const ALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// … and given up after so many questions.
const ALIVE_TRIES: u32 = 3;

/// The same configuration, offering HTTP/2, unless connections are taken over, and HTTP/1.1 (RFC 7301,
/// section 6).
pub(crate) fn offer_protocols(config: &ServerConfig, upgrades: bool) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if !upgrades {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Arc::new(config)
}

/// Accepts until the server stops.
pub(crate) async fn accept(
    shared: Shared,
    listener: TcpListener,
    config: Arc<ServerConfig>,
    permits: Arc<Semaphore>,
) {
    connection::accept(shared, permits, Tls { listener, acceptor: config.into() }).await;
}

struct Tls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listen for Tls {
    type Stream = (TcpStream, SocketAddr, TlsAcceptor);

    async fn next(&mut self) -> std::io::Result<Self::Stream> {
        let (stream, address) = self.listener.accept().await?;
        Ok((stream, address, self.acceptor.clone()))
    }

    async fn serve(
        (stream, address, acceptor): Self::Stream,
        shared: Shared,
        permit: OwnedSemaphorePermit,
    ) {
        if let Err(error) = prepare(&stream) {
            tracing::debug!(%error, "socket options not set");
        }
        let handshake = tokio::time::timeout(shared.bounds.handshake, acceptor.accept(stream));
        match handshake.await {
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates();
                let client = shown.and_then(|chain| chain.first()).and_then(Certificate::read);
                let peer = Peer::Network { address, client };
                connection::serve(stream, peer, shared, permit).await;
            }
            Ok(Err(error)) => tracing::debug!(%address, %error, "handshake failed"),
            Err(_) => tracing::debug!(%address, "handshake took too long"),
        }
    }
}

/// Small writes go at once, and a peer that vanished is found while nothing is sent. How long a peer
/// may leave data unread is not bounded: a pager may wait for its reader.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, ALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, ALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, ALIVE_TRIES)?;
    Ok(())
}
