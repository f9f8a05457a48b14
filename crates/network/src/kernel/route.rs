//! rtnetlink(7): links, addresses and routes of one namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use model::{Error, ErrorKind, Result};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Stats64,
};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType,
};
use nix::errno::Errno;

use super::message::{self, Request};
use super::socket::{Listed, Socket};

/// How often a list that changed under our hands is asked for again before that is an error.
const TRIES: usize = 20;

/// A link as seen.
#[derive(Debug, Clone)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its description.
    pub alias: String,
    /// Whether it is set up.
    pub up: bool,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// Hardware address.
    pub mac: Vec<u8>,
    /// Index of the bridge it is joined to.
    pub bridge: Option<u32>,
    /// Index of the other end of a pair, in that end's namespace.
    pub peer: Option<u32>,
    /// Whether it is one end of a pair.
    pub is_pair: bool,
    /// Counters.
    pub counters: Option<Stats64>,
}

/// An address as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// Index of its link.
    pub link: u32,
    /// The address and its prefix length.
    pub net: IpNet,
    /// Whether the kernel made it itself (link-local, router advertisement).
    pub automatic: bool,
}

/// A unicast route as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Index of the link it goes out by; none for a route of several.
    pub link: Option<u32>,
    /// Where it leads; none for a default route.
    pub destination: Option<IpNet>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// Smaller ones win.
    pub metric: u32,
    /// Whether it stands in the main table.
    pub main: bool,
}

/// A conversation with the kernel about one namespace.
#[derive(Debug)]
pub struct Rtnl {
    socket: Socket,
    sequence: u32,
}

impl Rtnl {
    /// For the namespace of the calling thread; it stays with that one.
    pub fn open() -> Result<Self> {
        let socket = Socket::route().map_err(|error| failed(error, "opening a netlink socket"))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Sends all requests in one packet; the kernel serves them in order, also after one failed.
    pub fn batch(&mut self, requests: Vec<Request>) -> Result<Vec<io::Result<()>>> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let first = self.sequence.wrapping_add(1);
        let count = requests.len();
        let fine: Vec<_> = requests.iter().map(Request::fine).collect();
        let mut bytes = Vec::new();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            bytes.extend(request.encode(self.sequence, NLM_F_REQUEST | NLM_F_ACK));
        }
        let answers =
            self.socket.send(&bytes).and_then(|()| self.socket.acknowledgements(first, count));
        let answers =
            answers.map_err(|error| failed(error, "talking to the kernel about links"))?;
        let excuse = |(answer, fine): (io::Result<()>, Option<Errno>)| match (answer, fine) {
            (Err(error), Some(fine)) if is(&error, fine) => Ok(()),
            (answer, _) => answer,
        };
        Ok(answers.into_iter().zip(fine).map(excuse).collect())
    }

    /// Sends all requests; the first that fails is the error, `what` says at what.
    pub fn all(&mut self, requests: Vec<Request>, what: impl Fn() -> String) -> Result<()> {
        let answers = self.batch(requests)?;
        answers.into_iter().collect::<io::Result<()>>().map_err(|error| failed(error, &what()))
    }

    /// The link of that name.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        self.single_link(message::get_link(name))
    }

    /// The link of that number.
    pub fn link_at(&mut self, index: u32) -> Result<Option<Link>> {
        self.single_link(message::get_link_at(index))
    }

    /// All links.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let listed = self.list(message::get_links(), NLM_F_DUMP);
        let listed = listed.map_err(|error| failed(error, "listing links"))?;
        Ok(listed.into_iter().filter_map(Link::read).collect())
    }

    /// All addresses.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let listed = self.list(message::get_addresses(), NLM_F_DUMP);
        let listed = listed.map_err(|error| failed(error, "listing addresses"))?;
        Ok(listed.into_iter().filter_map(Address::read).collect())
    }

    /// All unicast routes of both families but those of the table `local`.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let listed = self.list(message::get_routes(), NLM_F_DUMP);
        let listed = listed.map_err(|error| failed(error, "listing routes"))?;
        Ok(listed.into_iter().filter_map(Route::read).collect())
    }

    /// The hardware address that an address of a link was resolved to.
    pub fn hardware_address(&mut self, link: u32, address: Ipv4Addr) -> Result<Option<Vec<u8>>> {
        let found = self.neighbour(message::get_neighbour(link, address))?;
        Ok(found.and_then(|message| {
            message.attributes.into_iter().find_map(|attribute| match attribute {
                NeighbourAttribute::LinkLayerAddress(mac) => Some(mac),
                _ => None,
            })
        }))
    }

    /// The link, joined to this bridge, that a hardware address was last heard on.
    pub fn bridge_port(&mut self, bridge: u32, mac: Vec<u8>) -> Result<Option<u32>> {
        let found = self.neighbour(message::get_bridge_port(bridge, mac))?;
        Ok(found.map(|message| message.header.ifindex))
    }

    fn neighbour(&mut self, request: Request) -> Result<Option<NeighbourMessage>> {
        match self.list(request, 0) {
            Ok(listed) => Ok(listed.into_iter().find_map(|message| match message {
                RouteNetlinkMessage::NewNeighbour(message) => Some(message),
                _ => None,
            })),
            Err(error) if is(&error, Errno::ENOENT) || is(&error, Errno::ENODEV) => Ok(None),
            Err(error) => Err(failed(error, "asking who has an address")),
        }
    }

    fn single_link(&mut self, request: Request) -> Result<Option<Link>> {
        match self.list(request, 0) {
            Ok(listed) => Ok(listed.into_iter().find_map(Link::read)),
            Err(error) if is(&error, Errno::ENODEV) => Ok(None),
            Err(error) => Err(failed(error, "asking for a link")),
        }
    }

    fn list(&mut self, request: Request, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..TRIES {
            self.sequence = self.sequence.wrapping_add(1);
            self.socket.send(&request.clone().encode(self.sequence, NLM_F_REQUEST | flags))?;
            let Listed::Whole(frames) = self.socket.list(self.sequence)? else { continue };
            return Ok(frames.iter().filter_map(|frame| decode(frame.kind, &frame.body)).collect());
        }
        Err(io::Error::other("the list changed each time it was read"))
    }
}

/// A message of the kernel; none when this version of the library can't read it.
fn decode(kind: u16, body: &[u8]) -> Option<RouteNetlinkMessage> {
    let mut header = NetlinkHeader::default();
    header.message_type = kind;
    RouteNetlinkMessage::deserialize(&header, body).ok()
}

impl Link {
    fn read(message: RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewLink(message) = message else { return None };
        let LinkMessage { header, attributes, .. } = message;
        let mut link = Self {
            index: header.index,
            name: String::new(),
            alias: String::new(),
            up: header.flags.contains(LinkFlags::Up),
            mtu: 0,
            mac: Vec::new(),
            bridge: None,
            peer: None,
            is_pair: false,
            counters: None,
        };
        for attribute in attributes {
            link.take(attribute);
        }
        Some(link)
    }

    fn take(&mut self, attribute: LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name = name,
            LinkAttribute::IfAlias(alias) => self.alias = alias,
            LinkAttribute::Mtu(mtu) => self.mtu = mtu,
            LinkAttribute::Address(mac) => self.mac = mac,
            LinkAttribute::Controller(index) => self.bridge = Some(index),
            LinkAttribute::Link(index) => self.peer = Some(index),
            LinkAttribute::Stats64(counters) => self.counters = Some(counters),
            LinkAttribute::LinkInfo(info) => {
                self.is_pair = info.contains(&LinkInfo::Kind(InfoKind::Veth));
            }
            _ => {}
        }
    }
}

impl Address {
    fn read(message: RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewAddress(message) = message else { return None };
        let AddressMessage { header, attributes, .. } = message;
        // An address of a point-to-point link differs from that of its other end: `Local` is ours.
        let local = attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let any = attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        });
        let permanent = attributes.iter().any(|attribute| {
            matches!(attribute, AddressAttribute::Flags(flags) if flags.contains(AddressFlags::Permanent))
        });
        let net = IpNet::new(local.or(any)?, header.prefix_len).ok()?;
        let link_local = matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local());
        Some(Self { link: header.index, net, automatic: link_local || !permanent })
    }
}

impl Route {
    fn read(message: RouteNetlinkMessage) -> Option<Self> {
        let RouteNetlinkMessage::NewRoute(message) = message else { return None };
        let RouteMessage { header, attributes, .. } = message;
        if header.kind != RouteType::Unicast || header.table == LOCAL_TABLE {
            return None;
        }
        let mut route = Self {
            link: None,
            destination: None,
            gateway: None,
            metric: 0,
            main: header.table == RouteHeader::RT_TABLE_MAIN,
        };
        for attribute in attributes {
            match attribute {
                RouteAttribute::Oif(index) => route.link = Some(index),
                RouteAttribute::Priority(metric) => route.metric = metric,
                RouteAttribute::Gateway(address) => route.gateway = plain(&address),
                RouteAttribute::Destination(address) => {
                    let prefix = header.destination_prefix_length;
                    route.destination = plain(&address).and_then(|ip| IpNet::new(ip, prefix).ok());
                }
                _ => {}
            }
        }
        route.destination = route.destination.filter(|net| net.prefix_len() > 0);
        Some(route)
    }

    /// Whether it leads everywhere.
    pub fn is_default(&self) -> bool {
        self.destination.is_none() && self.main
    }
}

/// `RT_TABLE_LOCAL` (linux/rtnetlink.h): addresses of the host itself.
pub const LOCAL_TABLE: u8 = 255;

fn plain(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

/// Whether the kernel gave this answer.
pub fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// The error for a call that the kernel refused.
pub fn failed(error: io::Error, what: &str) -> Error {
    let errno = error.raw_os_error().map(Errno::from_raw);
    let (kind, next) = match errno {
        Some(Errno::EPERM | Errno::EACCES) => {
            (ErrorKind::Forbidden, Some("run hull as root, with CAP_NET_ADMIN and CAP_SYS_ADMIN"))
        }
        Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => {
            (ErrorKind::Unsupported, Some("run `hull check`: it names what this kernel lacks"))
        }
        Some(Errno::ENOMEM | Errno::ENOSPC | Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS) => {
            (ErrorKind::Exhausted, Some("free memory, or raise the limits of open files"))
        }
        Some(Errno::EAGAIN) => (ErrorKind::Unavailable, None),
        Some(Errno::ENODEV | Errno::ENOENT) => (ErrorKind::NotFound, None),
        Some(Errno::EEXIST) => (ErrorKind::Exists, None),
        _ => (ErrorKind::Internal, None),
    };
    let failed = Error::new(kind, format!("{what} failed")).caused_by(error);
    match next {
        Some(next) => failed.next(next),
        None => failed,
    }
}
