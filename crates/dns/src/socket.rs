//! Bytes in, bytes out: one address, by UDP and by TCP.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result};
use rustix::fs::fstatfs;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
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
/// Bytes of a question at most: names are short, and whoever asks is one of many.
const QUESTION: usize = 4096;
/// Nobody sends from this port (RFC 863).
const DISCARD: u16 = 9;
/// The kernel's file system of namespaces (`NSFS_MAGIC` of linux/magic.h).
const NAMESPACES: i64 = 0x6e73_6673;
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

/// As whom a question is taken that comes to a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat {
    /// The address it counts as sent to.
    pub(crate) listen: IpAddr,
    /// The address it counts as sent from; the one it was sent from when absent.
    pub(crate) source: Option<IpAddr>,
}

impl Seat {
    fn source(self, from: SocketAddr) -> IpAddr {
        self.source.unwrap_or(from.ip())
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
        match open_both(address, shared) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Err(Error::conflict(what()).caused_by(error).next(
                    "another name server listens on every address (`ss -lnup` names it); bind it \
                     to its own (dnsmasq: bind-interfaces, named: listen-on)",
                ))
            }
            opened => {
                let seat = Seat { listen: address.ip(), source: None };
                let sockets = opened.context(ErrorKind::Unavailable, what)?;
                Self::begin(sockets, seat, responder).context(ErrorKind::Unavailable, what)
            }
        }
    }

    /// Starts to answer on `address` in a network namespace, whose owner alone can ask there; none if it
    /// is gone.
    pub(crate) fn start_inside(
        namespace: &Path,
        address: SocketAddr,
        shared: bool,
        seat: Seat,
        responder: &Arc<Responder>,
    ) -> Result<Option<Self>> {
        let what = || format!("the name server cannot listen inside {}", namespace.display());
        let opened = inside(namespace, || open_both(address, shared));
        let Some(sockets) = opened.context(ErrorKind::Unavailable, what)? else { return Ok(None) };
        Self::begin(sockets, seat, responder).map(Some).context(ErrorKind::Unavailable, what)
    }

    fn begin(
        (udp, tcp): (OwnedFd, OwnedFd),
        seat: Seat,
        responder: &Arc<Responder>,
    ) -> io::Result<Self> {
        let (udp, tcp) = (UdpSocket::from_std(udp.into())?, TcpListener::from_std(tcp.into())?);
        let address = udp.local_addr()?;
        let packets = Arc::new(udp);
        let answering = tokio::spawn(serve_packets(packets.clone(), seat, responder.clone()));
        let streams = tokio::spawn(serve_streams(tcp, seat, responder.clone()));
        let tasks = [answering.abort_handle(), streams.abort_handle()];
        Ok(Self { address, packets, tasks })
    }

    /// Leaves packets that come from now on to the successor, and answers those that are there: a
    /// socket that is connected hears from its peer only, here from nobody.
    pub(crate) async fn retire(&self) -> io::Result<()> {
        self.packets.connect(SocketAddr::new(self.address.ip(), DISCARD)).await
    }
}

/// Does work in a network namespace, in a thread that ends with it; none if there is no such namespace, or
/// not yet: its file comes before it.
fn inside<T: Send>(
    namespace: &Path,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<Option<T>> {
    let file = match File::open(namespace) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    if fstatfs(&file)?.f_type != NAMESPACES {
        return Ok(None);
    }
    let enter = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("names-inside".into());
        let done = thread.spawn_scoped(scope, enter)?.join();
        done.unwrap_or_else(|_| Err(io::Error::other("a thread that opened a socket panicked")))
    })
    .map(Some)
}

/// A socket for packets and one for streams, on one port.
fn open_both(address: SocketAddr, shared: bool) -> io::Result<(OwnedFd, OwnedFd)> {
    let udp = udp(address, shared)?;
    let bound = SocketAddr::try_from(getsockname(&udp)?).map_err(io::Error::other)?;
    let tcp = tcp(bound, shared)?;
    Ok((udp, tcp))
}

fn udp(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let socket = open(address, SocketType::DGRAM, shared)?;
    sockopt::set_socket_recv_buffer_size(&socket, WAITING)?;
    bind(&socket, &address)?;
    Ok(socket)
}

fn tcp(address: SocketAddr, shared: bool) -> io::Result<OwnedFd> {
    let socket = open(address, SocketType::STREAM, shared)?;
    // Connections of the last run don't keep the address.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &address)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn open(address: SocketAddr, kind: SocketType, shared: bool) -> io::Result<OwnedFd> {
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

async fn serve_packets(socket: Arc<UdpSocket>, seat: Seat, responder: Arc<Responder>) {
    let mut buffer = vec![0; QUESTION];
    loop {
        // An error is about a packet sent before (its receiver is gone); the socket stays good.
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let bytes = &buffer[..length];
        match responder.consider(seat.listen, seat.source(from), bytes, Transport::Udp) {
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

async fn serve_streams(listener: TcpListener, seat: Seat, responder: Arc<Responder>) {
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
            let _ = serve_stream(stream, seat.listen, seat.source(from), &responder).await;
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
