//! Addresses behind which connections are spread: what the kernel is told of them.
//!
//! Each address has a chain, which leads a new connection to one of the members; the kernel's connection
//! tracking has the rest of it follow. A chain without members leads nowhere, and who asks is refused.

use std::collections::BTreeMap;
use std::net::IpAddr;

use model::Uid;
use model::instance::Protocol;
use serde::{Deserialize, Serialize};

use super::{HostNetwork, PublishedPort};
use crate::links::NetworkLinks;

/// Seed of the kernel's hash of a client's address: the same each time the table is written.
const SEED: u32 = 0x6d6f_6e6f;
/// Parts that clients are divided into at least, so that few of them move when a member leaves.
const PARTS: u64 = 256;
/// Most parts.
const MOST_PARTS: u64 = 4096;

/// An address of a network that leads to one of several members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balanced {
    /// Whose it is.
    pub id: Uid,
    /// The network.
    pub network: Uid,
    /// The address of each family.
    pub addresses: Vec<IpAddr>,
    /// Lead one client to the same member each time.
    pub sticky: bool,
    /// Addresses of the members, in order.
    pub members: Vec<IpAddr>,
}

impl Balanced {
    /// The members of an address' family.
    fn members_of(&self, address: IpAddr) -> Vec<IpAddr> {
        let same = |member: &&IpAddr| member.is_ipv4() == address.is_ipv4();
        self.members.iter().filter(same).copied().collect()
    }
}

impl HostNetwork {
    /// The balanced address that this one is, on a network.
    pub(crate) fn balanced(&self, network: &Uid, address: IpAddr) -> Option<&Balanced> {
        let mut services = self.services.iter();
        services.find(|it| it.network == *network && it.addresses.contains(&address))
    }

    /// The balanced addresses of networks that are there, with the network of each.
    pub(super) fn leading(&self) -> impl Iterator<Item = (&NetworkLinks, &Balanced, IpAddr)> {
        self.services.iter().flat_map(|service| {
            let network = self.networks.iter().find(|network| network.id == service.network);
            let each = service.addresses.iter().map(move |address| (service, *address));
            each.filter_map(move |(service, address)| Some((network?, service, address)))
        })
    }
}

/// What the names of such chains begin with, and no others.
pub(super) const LEADING: &str = "to_";

/// Name of the chain that an address has.
pub(super) fn chain(network: &NetworkLinks, service: &Balanced, address: IpAddr) -> String {
    let family = if address.is_ipv4() { 4 } else { 6 };
    format!("{LEADING}{}_{}_{family}", network.bridge, service.id.short())
}

/// Name of the chain that leads from ports of the host to a port of the members.
pub(super) fn port_chain(
    network: &NetworkLinks,
    service: &Balanced,
    address: IpAddr,
    port: &PublishedPort,
) -> String {
    let chain = chain(network, service, address);
    format!("{chain}_{}_{}", port.protocol.as_str(), port.target)
}

/// All chains of a value, with the rule of each that leads anywhere.
pub(super) fn chains(value: &HostNetwork) -> BTreeMap<String, Option<String>> {
    let mut chains = BTreeMap::new();
    for (network, service, address) in value.leading() {
        chains.insert(chain(network, service, address), rule(service, address, None));
        let ports = value.ports.iter().filter(|port| leads_to(port, service, address));
        for port in ports {
            let name = port_chain(network, service, address, port);
            let rule = rule(service, address, Some((port.protocol, port.target)));
            chains.insert(name, rule);
        }
    }
    chains
}

/// Whether a published port leads to a balanced address.
fn leads_to(port: &PublishedPort, service: &Balanced, address: IpAddr) -> bool {
    let target = match address {
        IpAddr::V4(_) => port.target4.map(IpAddr::V4),
        IpAddr::V6(_) => port.target6.map(IpAddr::V6),
    };
    port.network == service.network && target == Some(address)
}

fn rule(service: &Balanced, address: IpAddr, port: Option<(Protocol, u16)>) -> Option<String> {
    let members = service.members_of(address);
    if members.is_empty() {
        return None;
    }
    let family = if address.is_ipv4() { "ip" } else { "ip6" };
    let (choice, targets) = match service.sticky {
        false => {
            let targets = members.iter().enumerate().map(|(at, member)| format!("{at} : {member}"));
            (format!("numgen inc mod {}", members.len()), targets.collect())
        }
        true => {
            let parts = parts(members.len());
            let choice = format!("jhash {family} saddr mod {parts} seed {SEED:#x}");
            (choice, divided(&members, parts))
        }
    };
    let targets: Vec<String> = targets;
    let (before, behind) = match port {
        None => (String::new(), String::new()),
        // nft wants to know what the port is of.
        Some((protocol, port)) => {
            (format!("meta l4proto {} ", protocol.as_str()), format!(" : {port}"))
        }
    };
    let targets = targets.join(", ");
    Some(format!("{before}dnat {family} to {choice} map {{ {targets} }}{behind}"))
}

fn parts(members: usize) -> u64 {
    (members as u64).saturating_mul(4).next_power_of_two().clamp(PARTS, MOST_PARTS)
}

/// Which member has which part of the clients: of all members the one whose mix with the part is the
/// largest, so that a member that comes or goes moves its own parts only (rendezvous hashing, Thaler and
/// Ravishankar 1998).
fn divided(members: &[IpAddr], parts: u64) -> Vec<String> {
    let best = |part: u64| members.iter().max_by_key(|member| (mix(**member, part), **member));
    let mut runs: Vec<(u64, u64, IpAddr)> = Vec::new();
    for (part, member) in (0..parts).filter_map(|part| Some((part, *best(part)?))) {
        match runs.last_mut() {
            Some((_, last, of)) if *of == member => *last = part,
            _ => runs.push((part, part, member)),
        }
    }
    let shown = |(first, last, member): (u64, u64, IpAddr)| match first == last {
        true => format!("{first} : {member}"),
        false => format!("{first}-{last} : {member}"),
    };
    runs.into_iter().map(shown).collect()
}

/// A number that looks like any other (splitmix64, Steele et al. 2014).
fn mix(member: IpAddr, part: u64) -> u64 {
    let address = match member {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    let folded = (address as u64) ^ ((address >> 64) as u64);
    let mut x = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(part << 1 | 1);
    for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
        x = (x ^ (x >> 30)).wrapping_mul(factor);
    }
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(members: &[&str], sticky: bool) -> Balanced {
        Balanced {
            id: Uid::from_bytes([1; 32]),
            network: Uid::from_bytes([2; 32]),
            addresses: vec!["10.0.0.9".parse().unwrap(), "fd00::9".parse().unwrap()],
            sticky,
            members: members.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn connections_go_to_each_in_turn() {
        let it = service(&["10.0.0.2", "fd00::2", "10.0.0.3"], false);
        let rule = |at: usize, port| rule(&it, it.addresses[at], port).unwrap();
        assert_eq!(rule(0, None), "dnat ip to numgen inc mod 2 map { 0 : 10.0.0.2, 1 : 10.0.0.3 }");
        assert_eq!(
            rule(1, Some((Protocol::Udp, 53))),
            "meta l4proto udp dnat ip6 to numgen inc mod 1 map { 0 : fd00::2 } : 53"
        );
        assert_eq!(super::rule(&service(&[], false), it.addresses[0], None), None);
    }

    #[test]
    fn few_clients_move_when_a_member_leaves() {
        let owners = |members: &[&str]| -> Vec<String> {
            let members: Vec<IpAddr> = members.iter().map(|text| text.parse().unwrap()).collect();
            let mut owners = Vec::new();
            for run in divided(&members, PARTS) {
                let (parts, member) = run.split_once(" : ").unwrap();
                let (first, last) = parts.split_once('-').unwrap_or((parts, parts));
                let count = last.parse::<usize>().unwrap() - first.parse::<usize>().unwrap() + 1;
                owners.extend(std::iter::repeat_n(member.to_owned(), count));
            }
            owners
        };
        let all = owners(&["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
        let fewer = owners(&["10.0.0.2", "10.0.0.3", "10.0.0.5"]);
        assert_eq!((all.len(), fewer.len()), (256, 256));
        let share = all.iter().filter(|owner| *owner == "10.0.0.4").count();
        assert!((30..100).contains(&share), "{share} of 256");
        let moved = all.iter().zip(&fewer).filter(|(a, b)| a != b).count();
        assert_eq!(moved, share, "only those of the one that left");
        assert!(
            rule(&service(&["10.0.0.2"], true), "10.0.0.9".parse().unwrap(), None)
                .unwrap()
                .contains("jhash ip saddr mod 256 seed 0x6d6f6e6f map { 0-255 : 10.0.0.2 }")
        );
    }
}
