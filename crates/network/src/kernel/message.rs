//! The rtnetlink messages this room sends, as plain functions from what is meant to what is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{
    BridgePortState, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

/// A message and the flags it goes out with, without those every request has.
#[derive(Debug, Clone)]
pub struct Request {
    message: RouteNetlinkMessage,
    flags: u16,
    fine: Option<Errno>,
}

impl Request {
    /// A request with flags of its own.
    pub fn new(message: RouteNetlinkMessage, flags: u16) -> Self {
        Self { message, flags, fine: None }
    }

    /// An answer that is as good as done: what was to be removed is gone, or to be made is there.
    pub fn fine_if(mut self, answer: Errno) -> Self {
        self.fine = Some(answer);
        self
    }

    /// The answer that is as good as done.
    pub fn fine(&self) -> Option<Errno> {
        self.fine
    }

    /// The bytes to send.
    pub fn encode(self, sequence: u32, flags: u16) -> Vec<u8> {
        let payload = NetlinkPayload::InnerMessage(self.message);
        let mut packet = NetlinkMessage::new(Default::default(), payload);
        packet.header.flags = self.flags | flags;
        packet.header.sequence_number = sequence;
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len().next_multiple_of(4)];
        packet.serialize(&mut bytes);
        bytes
    }
}

/// The two ends of a link to make.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Name of the host's end.
    pub host: &'a str,
    /// Index of the bridge it is joined to.
    pub bridge: u32,
    /// Name of the instance's end.
    pub inside: &'a str,
    /// Hardware address of the instance's end.
    pub mac: [u8; 6],
    /// Largest packet of both, bytes.
    pub mtu: u32,
    /// The instance's namespace.
    pub namespace: RawFd,
}

/// Makes a veth pair: the host's end up and joined to the bridge, the other in its namespace under
/// its final name, down.
pub fn new_pair(pair: Pair<'_>) -> Request {
    let mut inside = LinkMessage::default();
    inside.attributes = vec![
        LinkAttribute::IfName(pair.inside.to_owned()),
        LinkAttribute::Address(pair.mac.to_vec()),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::NetNsFd(pair.namespace),
    ];
    let mut link = LinkMessage::default();
    set_up(&mut link);
    link.attributes = vec![
        LinkAttribute::IfName(pair.host.to_owned()),
        LinkAttribute::Mtu(pair.mtu),
        LinkAttribute::Controller(pair.bridge),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inside))),
        ]),
    ];
    Request::new(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// Makes a bridge, down, unless there is one.
pub fn new_bridge(name: &str, mac: [u8; 6]) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]),
    ];
    Request::new(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
        .fine_if(Errno::EEXIST)
}

/// Changes a link: attributes as given, and up.
pub fn change_link(index: u32, attributes: Vec<LinkAttribute>) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    set_up(&mut link);
    link.attributes = attributes;
    Request::new(RouteNetlinkMessage::SetLink(link), 0)
}

/// Writes a link's description, by the link's name, and whether its bridge sends frames back to where
/// they came from.
pub fn describe_link(name: &str, alias: String, hairpin: bool) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::IfAlias(alias),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(
                hairpin,
            )])),
        ]),
    ];
    // Only this message, without the flag to create, changes what belongs to the bridge as well.
    Request::new(RouteNetlinkMessage::NewLink(link), 0)
}

/// Has a bridge learn nobody behind one of its links, by the link's name: what comes back by it, as from
/// a bridge that sends frames back to where they came from, is not taken for where its sender is.
pub fn learn_nobody(name: &str) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Learning(false)])),
        ]),
    ];
    Request::new(RouteNetlinkMessage::NewLink(link), 0)
}

/// Cuts a link off its bridge at once: nothing gets in or out, and nobody is looked for behind it.
/// Unlike removing it, this doesn't wait for the kernel.
pub fn retire_link(index: u32, alias: &str) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![
        LinkAttribute::IfAlias(alias.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![
                InfoBridgePort::State(BridgePortState::Disabled),
                InfoBridgePort::Flush,
            ])),
        ]),
    ];
    Request::new(RouteNetlinkMessage::NewLink(link), 0).fine_if(Errno::ENODEV)
}

/// Removes a link, if it is there; of a pair, both ends.
pub fn remove_link(index: u32) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    Request::new(RouteNetlinkMessage::DelLink(link), 0).fine_if(Errno::ENODEV)
}

/// Asks for a link by name.
pub fn get_link(name: &str) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    Request::new(RouteNetlinkMessage::GetLink(link), 0)
}

/// Asks for a link by index.
pub fn get_link_at(index: u32) -> Request {
    let mut link = LinkMessage::default();
    link.header.index = index;
    Request::new(RouteNetlinkMessage::GetLink(link), 0)
}

/// Asks for all links.
pub fn get_links() -> Request {
    Request::new(RouteNetlinkMessage::GetLink(LinkMessage::default()), 0)
}

/// Asks for what an address of a link was resolved to.
pub fn get_neighbour(link: u32, address: Ipv4Addr) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = link;
    message.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet(address))];
    Request::new(RouteNetlinkMessage::GetNeighbour(message), 0)
}

/// Asks a bridge where it last heard a hardware address.
pub fn get_bridge_port(bridge: u32, mac: Vec<u8>) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.attributes =
        vec![NeighbourAttribute::LinkLayerAddress(mac), NeighbourAttribute::Controller(bridge)];
    Request::new(RouteNetlinkMessage::GetNeighbour(message), 0)
}

/// Gives a link an address. IPv6 addresses count at once: duplicate detection (RFC 4862, section
/// 5.4) would make every start wait a second for addresses that control already keeps apart.
pub fn add_address(index: u32, net: IpNet) -> Request {
    let message = address_message(index, net);
    Request::new(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
}

fn address_message(index: u32, net: IpNet) -> AddressMessage {
    let mut message = address(index, net);
    match net {
        // A single address has no other that means all of its network.
        IpNet::V4(net) if net.prefix_len() == net.max_prefix_len() => {}
        IpNet::V4(net) => message.attributes.push(AddressAttribute::Broadcast(net.broadcast())),
        IpNet::V6(_) => {
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    message
}

/// Gives a link a single address, as services have them. One of IPv6 is deprecated from the start (RFC
/// 4862, section 5.5.4): it is answered at, and never chosen as the source of what the host sends.
pub fn add_single(index: u32, address: IpAddr) -> Request {
    let mut request = address_message(index, address.into());
    if address.is_ipv6() {
        let mut times = CacheInfo::default();
        (times.ifa_preferred, times.ifa_valid) = (0, u32::MAX);
        request.attributes.push(AddressAttribute::CacheInfo(times));
    }
    Request::new(RouteNetlinkMessage::NewAddress(request), NLM_F_CREATE | NLM_F_REPLACE)
}

/// Takes an address from a link, if it has it.
pub fn remove_address(index: u32, net: IpNet) -> Request {
    Request::new(RouteNetlinkMessage::DelAddress(address(index, net)), 0)
        .fine_if(Errno::EADDRNOTAVAIL)
}

/// Asks for all addresses.
pub fn get_addresses() -> Request {
    Request::new(RouteNetlinkMessage::GetAddress(AddressMessage::default()), 0)
}

/// Sets the default route of the gateway's family, whatever it was before.
pub fn set_default_route(index: u32, gateway: IpAddr) -> Request {
    let message = RouteNetlinkMessage::NewRoute(default_route(index, gateway));
    Request::new(message, NLM_F_CREATE | NLM_F_REPLACE)
}

/// Removes a default route, if it is there.
pub fn remove_default_route(index: u32, gateway: IpAddr) -> Request {
    Request::new(RouteNetlinkMessage::DelRoute(default_route(index, gateway)), 0)
        .fine_if(Errno::ESRCH)
}

/// Has the host take packets for ::1 that come in by this link: answers that the firewall leads back
/// to a client of `[::1]:port`. It is what `route_localnet` is for 127.0.0.0/8, for which IPv6 has no
/// switch: the kernel looks for the loopback address among the routes of the link that a packet came by
/// (`rt6_need_strict`). What comes in for ::1 without being led back is dropped before.
pub fn add_loopback_route(index: u32) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet6;
    message.header.destination_prefix_length = 128;
    message.header.table = super::route::LOCAL_TABLE;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Local;
    message.attributes = vec![
        RouteAttribute::Destination(RouteAddress::Inet6(Ipv6Addr::LOCALHOST)),
        RouteAttribute::Oif(index),
        RouteAttribute::Priority(LAST),
    ];
    // Not replacing: other links have the same route, and each needs its own.
    Request::new(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE).fine_if(Errno::EEXIST)
}

/// A metric behind that of loopback's own route, which the host's own packets take.
const LAST: u32 = 4096;

/// Asks for all routes of both families.
pub fn get_routes() -> Request {
    Request::new(RouteNetlinkMessage::GetRoute(RouteMessage::default()), 0)
}

fn set_up(link: &mut LinkMessage) {
    link.header.flags |= LinkFlags::Up;
    link.header.change_mask |= LinkFlags::Up;
}

fn address(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(net.addr());
    message.header.prefix_len = net.prefix_len();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(net.addr()), AddressAttribute::Address(net.addr())];
    message
}

fn default_route(index: u32, gateway: IpAddr) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes =
        vec![RouteAttribute::Oif(index), RouteAttribute::Gateway(RouteAddress::from(gateway))];
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
