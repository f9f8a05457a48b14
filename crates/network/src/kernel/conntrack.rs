//! Connection tracking (`NFNL_SUBSYS_CTNETLINK`, linux/netfilter/nfnetlink_conntrack.h): finding
//! flows of datagrams that rules no longer agree with, and forgetting them.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use model::Result;
use model::instance::Protocol;

use super::route::{failed, is};
use super::socket::{Listed, Socket};
use crate::firewall::{HostNetwork, PublishedPort};
use nix::errno::Errno;

const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;
const NFNL_SUBSYS_CTNETLINK: u16 = 1;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

/// Bits of an attribute's type that aren't its type (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const TYPE_MASK: u16 = 0x3fff;

/// `IPPROTO_UDP`.
const UDP: u8 = 17;

/// One flow of datagrams.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    family: u8,
    /// Where its first packet came from.
    source: SocketAddr,
    /// Where its first packet was sent to.
    destination: SocketAddr,
    /// Who answers: differs from the destination when the rules led it elsewhere.
    answers: SocketAddr,
    /// The attributes that name it, as the kernel wrote them.
    name: Vec<u8>,
}

impl Flow {
    /// Whether the rules of `value` would lead it elsewhere than it goes. `local`: addresses of the
    /// host.
    pub fn is_stale(&self, value: &HostNetwork, local: &BTreeSet<IpAddr>) -> bool {
        let service =
            value.services.iter().find(|it| it.addresses.contains(&self.destination.ip()));
        if let Some(service) = service {
            return !service.members.contains(&self.answers.ip());
        }
        let to_host = self.destination.ip().is_loopback() || local.contains(&self.destination.ip());
        let wanted = value.ports.iter().find_map(|port| self.target(port));
        match wanted {
            _ if !to_host => false,
            Some((target, network)) => match value.balanced(network, target.ip()) {
                Some(several) => {
                    self.answers.port() != target.port()
                        || !several.members.contains(&self.answers.ip())
                }
                None => self.answers != target,
            },
            None => {
                let led = self.answers.ip() != self.destination.ip();
                led && value.networks.iter().any(|network| {
                    network.ipv4.is_some_and(|net| contains(net.into(), self.answers.ip()))
                        || network.ipv6.is_some_and(|net| contains(net.into(), self.answers.ip()))
                })
            }
        }
    }

    /// Where a published port leads this flow.
    fn target<'a>(&self, port: &'a PublishedPort) -> Option<(SocketAddr, &'a model::Uid)> {
        let address = self.destination.ip();
        let here = port.protocol == Protocol::Udp
            && port.host == self.destination.port()
            && port.address.is_none_or(|at| at == address || at.is_unspecified());
        let target = match address {
            IpAddr::V4(_) => port.target4.map(IpAddr::V4),
            IpAddr::V6(_) => port.target6.map(IpAddr::V6),
        };
        let target = target.filter(|_| here).map(|target| SocketAddr::new(target, port.target));
        target.map(|target| (target, &port.network))
    }
}

fn contains(net: ipnet::IpNet, address: IpAddr) -> bool {
    net.contains(&address)
}

/// Forgets the flows of datagrams that `stale` picks, in the calling thread's namespace. A kernel
/// without connection tracking has none.
pub fn forget(stale: impl Fn(&Flow) -> bool) -> Result<()> {
    let what = "forgetting flows of datagrams";
    let mut socket = match Socket::netfilter() {
        Err(error) if is(&error, Errno::EPROTONOSUPPORT) => return Ok(()),
        other => other.map_err(|error| failed(error, what))?,
    };
    let flows = match flows(&mut socket) {
        Err(error) if is(&error, Errno::EINVAL) || is(&error, Errno::EOPNOTSUPP) => return Ok(()),
        other => other.map_err(|error| failed(error, what))?,
    };
    for (place, flow) in flows.iter().filter(|flow| stale(flow)).enumerate() {
        let sequence = u32::try_from(place).unwrap_or(0).wrapping_add(1000);
        delete(&mut socket, sequence, flow).map_err(|error| failed(error, what))?;
    }
    Ok(())
}

fn flows(socket: &mut Socket) -> io::Result<Vec<Flow>> {
    for sequence in 1..20 {
        socket.send(&request(IPCTNL_MSG_CT_GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, 0, &[]))?;
        if let Listed::Whole(frames) = socket.list(sequence)? {
            return Ok(frames.iter().filter_map(|frame| flow(&frame.body)).collect());
        }
    }
    Err(io::Error::other("the list changed each time it was read"))
}

fn delete(socket: &mut Socket, sequence: u32, flow: &Flow) -> io::Result<()> {
    let flags = NLM_F_REQUEST | NLM_F_ACK;
    socket.send(&request(IPCTNL_MSG_CT_DELETE, flags, sequence, flow.family, &flow.name))?;
    let answer = socket.acknowledgements(sequence, 1)?.pop().unwrap_or(Ok(()));
    match answer {
        Err(error) if is(&error, Errno::ENOENT) => Ok(()),
        other => other,
    }
}

/// A message with `struct nlmsghdr`, `struct nfgenmsg` and attributes.
fn request(message: u16, flags: u16, sequence: u32, family: u8, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(20 + attributes.len()).unwrap_or(u32::MAX);
    let kind = NFNL_SUBSYS_CTNETLINK << 8 | message;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, 0, 0, 0]);
    bytes.extend(attributes);
    bytes
}

/// The flow of a message of the kernel; none if it isn't of datagrams.
fn flow(body: &[u8]) -> Option<Flow> {
    let (head, attributes) = body.split_at_checked(4)?;
    let original = find(attributes, CTA_TUPLE_ORIG)?;
    let (source, destination) = tuple(original.value)?;
    let (answers, _) = tuple(find(attributes, CTA_TUPLE_REPLY)?.value)?;
    let mut name = original.whole.to_vec();
    if let Some(zone) = find(attributes, CTA_ZONE) {
        name.extend(zone.whole);
    }
    Some(Flow { family: head[0], source, destination, answers, name })
}

/// Source and destination of a tuple of datagrams.
fn tuple(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let protocol = find(bytes, CTA_TUPLE_PROTO)?.value;
    if find(protocol, CTA_PROTO_NUM)?.value.first() != Some(&UDP) {
        return None;
    }
    let port = |kind| find(protocol, kind)?.value.first_chunk().map(|two| u16::from_be_bytes(*two));
    let ip = find(bytes, CTA_TUPLE_IP)?.value;
    let source = address(ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC)?;
    let destination = address(ip, CTA_IP_V4_DST, CTA_IP_V6_DST)?;
    let source = SocketAddr::new(source, port(CTA_PROTO_SRC_PORT)?);
    Some((source, SocketAddr::new(destination, port(CTA_PROTO_DST_PORT)?)))
}

fn address(bytes: &[u8], four: u16, six: u16) -> Option<IpAddr> {
    if let Some(found) = find(bytes, four) {
        return found.value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into());
    }
    find(bytes, six)?.value.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into())
}

/// One netlink attribute: all of it with padding, and what is in it.
#[derive(Debug, Clone, Copy)]
struct Attribute<'a> {
    whole: &'a [u8],
    value: &'a [u8],
}

/// The first attribute of a type.
fn find(mut bytes: &[u8], wanted: u16) -> Option<Attribute<'_>> {
    loop {
        let header = bytes.first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & TYPE_MASK;
        let value = bytes.get(4..length)?;
        let padded = length.next_multiple_of(4).min(bytes.len());
        if kind == wanted {
            return Some(Attribute { whole: &bytes[..padded], value });
        }
        bytes = &bytes[padded..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Uid;
    use proptest::prelude::*;

    fn flow_of(destination: &str, answers: &str) -> Flow {
        Flow {
            family: 2,
            source: "192.0.2.9:4000".parse().unwrap(),
            destination: destination.parse().unwrap(),
            answers: answers.parse().unwrap(),
            name: Vec::new(),
        }
    }

    fn value(target: Option<&str>) -> HostNetwork {
        let network = Uid::from_bytes([1; 32]);
        let port = |target: &str| PublishedPort {
            network: network.clone(),
            protocol: Protocol::Udp,
            address: None,
            host: 5000,
            target4: Some(target.parse().unwrap()),
            target6: None,
            target: 53,
        };
        HostNetwork {
            networks: vec![crate::NetworkLinks {
                id: network.clone(),
                bridge: "b".into(),
                ipv4: Some("10.0.0.1/24".parse().unwrap()),
                ipv6: None,
                mtu: 1500,
                internal: false,
                masquerade: true,
            }],
            ports: target.map(port).into_iter().collect(),
            ..HostNetwork::default()
        }
    }

    #[test]
    fn a_flow_is_stale_when_the_rules_lead_elsewhere() {
        let local = BTreeSet::from(["192.0.2.1".parse().unwrap()]);
        let host = "192.0.2.1:5000";
        for (target, flow, stale) in [
            (Some("10.0.0.2"), flow_of(host, "10.0.0.2:53"), false),
            (Some("10.0.0.3"), flow_of(host, "10.0.0.2:53"), true),
            (Some("10.0.0.2"), flow_of(host, host), true),
            (Some("10.0.0.2"), flow_of("127.0.0.1:5000", "127.0.0.1:5000"), true),
            (Some("10.0.0.2"), flow_of("198.51.100.1:5000", "198.51.100.1:5000"), false),
            (None, flow_of(host, "10.0.0.2:53"), true),
            (None, flow_of(host, host), false),
        ] {
            assert_eq!(flow.is_stale(&value(target), &local), stale, "{target:?} {flow:?}");
        }
    }

    proptest! {
        #[test]
        fn no_message_breaks_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            flow(&bytes);
        }
    }
}
