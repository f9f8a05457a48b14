//! Holding published ports: the rules lead packets past the host's sockets, so without a socket of
//! ours nothing would stop a process of the host, or another node on it, from listening on the same
//! port and never hearing anything.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

use model::Result;
use model::instance::Protocol;
use nix::errno::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use super::PublishedPort;
use crate::kernel::route::{failed, is};

/// The port of name servers (RFC 1035), which each network has on its gateway address.
const DOMAIN: u16 = 53;

/// A place a socket is bound to.
type Place = (Protocol, SocketAddr);

/// What came of trying to hold a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is held, or can't be held for want of sockets: it is ours.
    Ours,
    /// Somebody has it.
    Taken,
    /// The host doesn't have the address.
    NoAddress,
}

/// The sockets that hold ports.
#[derive(Debug, Default)]
pub(super) struct Holds {
    sockets: BTreeMap<Place, OwnedFd>,
}

impl Holds {
    /// Holds all of a port's places, or none of those it didn't hold before.
    pub(super) fn hold(&mut self, port: &PublishedPort, host: &[IpAddr]) -> Result<Outcome> {
        let mut new = Vec::new();
        for place in places_of(port, host) {
            if self.sockets.contains_key(&place) {
                continue;
            }
            match bind(place) {
                Ok(socket) => new.push((place, socket)),
                Err(error) => match refusal(&error) {
                    Some(outcome) => return Ok(outcome),
                    None if cannot_hold(&error) => {
                        tracing::debug!(%error, port = port.describe(), "port is not held");
                    }
                    None => return Err(failed(error, &format!("taking {}", port.describe()))),
                },
            }
        }
        self.sockets.extend(new);
        Ok(Outcome::Ours)
    }

    /// Gives back what none of these ports needs.
    pub(super) fn keep_only(&mut self, ports: &[PublishedPort], host: &[IpAddr]) {
        let wanted: std::collections::BTreeSet<Place> =
            ports.iter().flat_map(|port| places_of(port, host)).collect();
        self.sockets.retain(|place, _| wanted.contains(place));
    }
}

/// Whether nobody has the port now.
pub(crate) fn is_free(protocol: Protocol, address: Option<IpAddr>, port: u16) -> Result<bool> {
    let wildcard = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = address.map_or(wildcard.to_vec(), |address| vec![address]);
    for address in addresses {
        match bind((protocol, SocketAddr::new(address, port))) {
            Ok(_) => {}
            Err(error) if is(&error, Errno::EADDRINUSE) => return Ok(false),
            Err(error) if cannot_hold(&error) => {}
            Err(error) => {
                let what = format!("trying port {port}/{} of {address}", protocol.as_str());
                return Err(failed(error, &what));
            }
        }
    }
    Ok(true)
}

fn refusal(error: &io::Error) -> Option<Outcome> {
    match error.raw_os_error().map(Errno::from_raw)? {
        Errno::EADDRINUSE => Some(Outcome::Taken),
        Errno::EADDRNOTAVAIL => Some(Outcome::NoAddress),
        _ => None,
    }
}

/// No socket of the kind, or none left: the port works all the same.
fn cannot_hold(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(
        errno,
        Some(
            Errno::EAFNOSUPPORT
                | Errno::EPROTONOSUPPORT
                | Errno::ESOCKTNOSUPPORT
                | Errno::EMFILE
                | Errno::ENFILE
        )
    )
}

/// Where the sockets for a port are bound: at its address, or at the wildcard of each family it is
/// reached by. Port 53 is bound at each of the host's addresses instead, as the wildcard would
/// collide with our own name servers, which published ports leave alone.
fn places_of(port: &PublishedPort, host: &[IpAddr]) -> Vec<Place> {
    let place = |address| (port.protocol, SocketAddr::new(address, port.host));
    let exact = port.address.filter(|address| !address.is_unspecified());
    if let Some(address) = exact {
        return vec![place(address)];
    }
    let four = port.target4.is_some() && port.address.is_none_or(|address| address.is_ipv4());
    let six = port.target6.is_some() && port.address.is_none_or(|address| address.is_ipv6());
    let wanted = |address: &IpAddr| if address.is_ipv4() { four } else { six };
    let wildcard: &[IpAddr] =
        &[IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = if port.host == DOMAIN { host } else { wildcard };
    addresses.iter().filter(|address| wanted(address)).map(|address| place(*address)).collect()
}

/// Takes a place. A process that is just being started by another thread has copies of all our
/// sockets until it runs its program, so a port that was let go a moment ago can seem taken: what is
/// taken is tried again before it is believed.
fn bind(place: Place) -> io::Result<OwnedFd> {
    for wait in RETRIES {
        match bind_now(place) {
            Err(error) if is(&error, Errno::EADDRINUSE) => std::thread::sleep(wait),
            other => return other,
        }
    }
    bind_now(place)
}

/// Waits between tries; starting a program takes a millisecond or two.
const RETRIES: [Duration; 3] =
    [Duration::from_millis(2), Duration::from_millis(8), Duration::from_millis(20)];

fn bind_now(place: Place) -> io::Result<OwnedFd> {
    match bind_as(place, false) {
        // Connections that ended lately keep a port for a minute; only reuse tells them from owners.
        Err(error) if is(&error, Errno::EADDRINUSE) && place.0 == Protocol::Tcp => {
            let socket = bind_as(place, true)?;
            net::listen(&socket, 1)?;
            drop(socket);
            bind_as(place, true)
        }
        other => other,
    }
}

/// A bound socket that never listens or reads: what reaches it is refused as if it weren't there.
fn bind_as((protocol, address): Place, reuse: bool) -> io::Result<OwnedFd> {
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, net::ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, net::ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, net::ipproto::SCTP),
    };
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    sockopt::set_socket_reuseaddr(&socket, reuse)?;
    if protocol == Protocol::Udp {
        sockopt::set_socket_recv_buffer_size(&socket, 0)?;
    }
    net::bind(&socket, &address)?;
    Ok(socket)
}
