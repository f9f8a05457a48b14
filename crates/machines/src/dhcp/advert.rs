//! Router advertisements (RFC 4861, section 4.2; options of RFC 8106): addresses are DHCPv6's, the
//! subnet is on the link, the way out is the network's gateway.

use std::net::{IpAddr, Ipv6Addr};

use dhcproto::Name;

use super::frame::{self, Mac};
use super::{SERVER_ADDRESS, v4};
use crate::config::Nic;

/// Seconds that a default route lasts: as long as the field can say (RFC 8319, section 4).
pub(super) const LIFETIME: u16 = u16::MAX;

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const FOREVER: [u8; 4] = [0xff; 4];

/// Longest list of domains that is told.
const LONGEST_LIST: usize = 512;

/// The frame that answers a solicitation.
pub(super) fn solicited(nic: &Nic, mac: Mac, from: Ipv6Addr) -> Option<Vec<u8>> {
    if from.is_unicast_link_local() { tell(nic, mac, from) } else { unsolicited(nic) }
}

/// The frame that tells whoever is there.
pub(super) fn unsolicited(nic: &Nic) -> Option<Vec<u8>> {
    tell(nic, frame::group(ALL_NODES), ALL_NODES)
}

/// It comes from the gateway itself, the host's bridge, as a router is known by the address its
/// advertisements come from; the guest then finds that address on the network.
fn tell(nic: &Nic, mac: Mac, to: Ipv6Addr) -> Option<Vec<u8>> {
    let net = nic.ipv6?;
    let router = nic.router6.filter(|_| nic.gateway6.is_some());
    let lifetime = router.map_or(0, |_| LIFETIME);
    // Type, code, checksum, hop limit; addresses and all else are DHCPv6's (flags M and O).
    let mut message = vec![134, 0, 0, 0, 64, 0xc0];
    message.extend(lifetime.to_be_bytes());
    message.extend([0; 8]);
    // Prefix: on the link, not to make addresses of.
    message.extend([3, 4, net.prefix_len(), 0x80]);
    message.extend(FOREVER);
    message.extend(FOREVER);
    message.extend([0; 4]);
    message.extend(net.network().octets());
    message.extend([5, 1, 0, 0]);
    message.extend(nic.mtu.max(1280).to_be_bytes());
    message.extend(name_servers(&nic.dns));
    message.extend(search(&nic.search));
    Some(frame::icmp6(mac, router.unwrap_or(SERVER_ADDRESS), to, message))
}

fn name_servers(servers: &[IpAddr]) -> Vec<u8> {
    let servers = servers.iter().filter_map(|server| match server {
        IpAddr::V6(server) => Some(server.octets()),
        IpAddr::V4(_) => None,
    });
    let servers: Vec<[u8; 16]> = servers.take(8).collect();
    if servers.is_empty() {
        return Vec::new();
    }
    option(25, &servers.concat())
}

fn search(search: &[String]) -> Vec<u8> {
    let mut list = Vec::new();
    for labels in v4::domains(search).iter().map(labels) {
        if list.len() + labels.len() <= LONGEST_LIST {
            list.extend(labels);
        }
    }
    if list.is_empty() { Vec::new() } else { option(31, &list) }
}

/// A name in the form of RFC 1035, section 3.1.
fn labels(name: &Name) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.iter() {
        bytes.push(u8::try_from(label.len()).expect("63 at most"));
        bytes.extend(label);
    }
    bytes.push(0);
    bytes
}

/// An option with a lifetime: its length counts units of 8 bytes, and the rest is filled up.
fn option(code: u8, value: &[u8]) -> Vec<u8> {
    let units = (8 + value.len()).div_ceil(8);
    let mut bytes = vec![code, u8::try_from(units).expect("values are short"), 0, 0];
    bytes.extend(FOREVER);
    bytes.extend(value);
    bytes.resize(units * 8, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dhcp::tests::{MAC, nic};

    const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

    /// Source, destination, router's lifetime, and the codes of the options.
    fn opened(frame: &[u8]) -> (Ipv6Addr, Ipv6Addr, u16, Vec<u8>) {
        let address =
            |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&frame[at..at + 16]).unwrap());
        let message = &frame[54..];
        let mut codes = Vec::new();
        let mut options = &message[16..];
        while let [code, units, ..] = *options {
            codes.push(code);
            options = &options[usize::from(units) * 8..];
        }
        let lifetime = u16::from_be_bytes([message[6], message[7]]);
        (address(22), address(38), lifetime, codes)
    }

    #[test]
    fn the_router_is_the_networks_gateway() {
        let guest: Ipv6Addr = "fe80::9".parse().unwrap();
        let all = vec![3, 5, 25, 31];
        let frame = solicited(&nic(), MAC, guest).unwrap();
        assert_eq!(opened(&frame), (ROUTER, guest, LIFETIME, all.clone()));
        assert_eq!(frame[..6], MAC);
        let frame = solicited(&nic(), MAC, Ipv6Addr::UNSPECIFIED).unwrap();
        assert_eq!(opened(&frame), (ROUTER, ALL_NODES, LIFETIME, all));
        assert_eq!(frame[..6], [0x33, 0x33, 0, 0, 0, 1]);
    }

    #[test]
    fn a_network_without_a_way_out_has_no_router() {
        let mut nic = nic();
        nic.gateway6 = None;
        nic.dns.clear();
        nic.search.clear();
        let frame = unsolicited(&nic).unwrap();
        assert_eq!(opened(&frame), (SERVER_ADDRESS, ALL_NODES, 0, vec![3, 5]));
        nic.ipv6 = None;
        assert_eq!(unsolicited(&nic), None);
    }

    #[test]
    fn lists_end_where_they_get_too_long() {
        let mut nic = nic();
        nic.search = (0..200).map(|i| format!("department-{i}.of.a.long.domain.example")).collect();
        assert!(unsolicited(&nic).unwrap().len() < 14 + 1280);
    }
}
