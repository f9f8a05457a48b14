//! Bytes in, bytes out: one address, by UDP and by TCP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::reply::Transport;
use crate::responder::{Outcome, Responder};

/// Connections served at one time on an address.
const CONNECTIONS: usize = 128;
/// How long a connection may be idle (RFC 7766, section 6.2.3, asks for a few seconds).
const IDLE: Duration = Duration::from_secs(10);
/// Bytes that wait to be read from a socket, for bursts while this task isn't scheduled.
const WAITING: usize = 1 << 20;
/// Nobody sends from this port (RFC 863).
const DISCARD: u16 = 9;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// An address that is answered on, until dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    /// Where, with the port that was given if 0 was asked for.
    pub(crate) address: SocketAddr,
    packets: Arc<UdpSocket>,
    tasks: [AbortHandle; 2],
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Listener {
    /// Starts to answer on `address`, which the host may get only later.
    pub(crate) fn start(
        address: SocketAddr,
        shared: bool,
        responder: &Arc<Responder>,
    ) -> Result<Self> {
        let what = || format!("the name server cannot listen on {address}");
        let bound = udp(address, shared).and_then(|udp| Ok((tcp(udp.local_addr()?, shared)?, udp)));
        let (tcp, udp) = match bound {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                return Err(Error::conflict(what()).caused_by(error).next(
                    "another name server listens on every address (`ss -lnup` names it); bind it \
                     to its own (dnsmasq: bind-interfaces, named: listen-on)",
                ));
            }
            other => other.context(ErrorKind::Unavailable, what)?,
        };
        let address = udp.local_addr().context(ErrorKind::Internal, what)?;
        let packets = Arc::new(udp);
        let answering =
            tokio::spawn(serve_packets(packets.clone(), address.ip(), responder.clone()));
        let streams = tokio::spawn(serve_streams(tcp, address.ip(), responder.clone()));
        let tasks = [answering.abort_handle(), streams.abort_handle()];
        Ok(Self { address, packets, tasks })
    }

    /// Leaves packets that come from now on to the successor, and answers those that are there: a
    /// socket that is connected hears from its peer only, here from nobody.
    pub(crate) async fn retire(&self) -> io::Result<()> {
        self.packets.connect(SocketAddr::new(self.address.ip(), DISCARD)).await
    }
}

fn udp(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = open(address, SocketType::DGRAM, shared)?;
    sockopt::set_socket_recv_buffer_size(&socket, WAITING)?;
    bind(&socket, &address)?;
    UdpSocket::from_std(socket.into())
}

fn tcp(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = open(address, SocketType::STREAM, shared)?;
    // Connections of the last run don't keep the address.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn open(address: SocketAddr, kind: SocketType, shared: bool) -> io::Result<std::os::fd::OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, kind, flags, None)?;
    sockopt::set_socket_reuseport(&socket, shared)?;
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, true)?;
    } else {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
    }
    Ok(socket)
}

async fn serve_packets(socket: Arc<UdpSocket>, listen: IpAddr, responder: Arc<Responder>) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        // An error is about a packet sent before (its receiver is gone); the socket stays good.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        match responder.consider(listen, from.ip(), &buffer[..length], Transport::Udp) {
            Outcome::Silence => {}
            Outcome::Reply(bytes) => drop(socket.send_to(&bytes, from).await),
            Outcome::Ask(pending) => {
                let (socket, responder) = (socket.clone(), responder.clone());
                tokio::spawn(async move {
                    let bytes = responder.finish(*pending).await;
                    drop(socket.send_to(&bytes, from).await);
                });
            }
        }
    }
}

async fn serve_streams(listener: TcpListener, listen: IpAddr, responder: Arc<Responder>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let Ok((stream, from)) = listener.accept().await else {
            // Out of descriptors, most likely: let those who have some end first.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let responder = responder.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // The other side hung up, or was silent for too long: both are its own affair.
            let _ = serve_stream(stream, listen, from.ip(), &responder).await;
        });
    }
}

async fn serve_stream(
    mut stream: TcpStream,
    listen: IpAddr,
    from: IpAddr,
    responder: &Responder,
) -> io::Result<()> {
    loop {
        let bytes = timeout(IDLE, read(&mut stream)).await??;
        let reply = match responder.consider(listen, from, &bytes, Transport::Tcp) {
            Outcome::Silence => return Ok(()),
            Outcome::Reply(bytes) => bytes,
            Outcome::Ask(pending) => responder.finish(*pending).await,
        };
        let length = u16::try_from(reply.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &reply].concat();
        timeout(IDLE, stream.write_all(&framed)).await??;
    }
}

/// One message, after its length (RFC 1035, section 4.2.2).
async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
