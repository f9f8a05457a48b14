//! From the value to the text that nft(8) loads. Pure: what isn't in the value isn't in the text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};
use std::net::IpAddr;

use super::{HostNetwork, PublishedPort, balance};
use crate::links::NetworkLinks;
use crate::names::Names;

/// What is kept as it was: interfaces of the host between which nothing is forwarded, because it was no
/// router before us, and addresses that ports don't lead away from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Guards {
    /// For IPv4.
    pub(super) ipv4: Vec<String>,
    /// For IPv6.
    pub(super) ipv6: Vec<String>,
    /// Whether ::1 is not led away from.
    pub(super) loopback6: bool,
}

/// One entry of one of the maps or sets that change without the rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    map: &'static str,
    key: String,
    value: String,
}

impl Element {
    /// What must be unique: two ports with the same place would contradict each other.
    pub(super) fn place(&self) -> (&'static str, &str) {
        let led = LEADING.iter().find(|(leading, _)| *leading == self.map);
        (led.map_or(self.map, |(_, plain)| plain), &self.key)
    }

    /// As it stands in a list: a set's entry has no value.
    fn shown(&self) -> String {
        match self.value.is_empty() {
            true => self.key.clone(),
            false => format!("{} : {}", self.key, self.value),
        }
    }
}

/// The maps of ports that lead to one of several, and those of ports that lead to one.
const LEADING: [(&str, &str); 4] = [
    ("led4", "ports4"),
    ("led6", "ports6"),
    ("led_addressed4", "addressed4"),
    ("led_addressed6", "addressed6"),
];

/// What of a table changes without the rest of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    elements: BTreeSet<Element>,
    chains: BTreeMap<String, Option<String>>,
}

impl Content {
    pub(super) fn of(value: &HostNetwork) -> Self {
        Self { elements: all_elements(value), chains: balance::chains(value) }
    }
}

/// The entries a port is made of: one for each family it is reached by.
pub(super) fn elements(value: &HostNetwork, port: &PublishedPort) -> Vec<Element> {
    let network = value.networks.iter().find(|network| network.id == port.network);
    let service = format!("{} . {}", port.protocol.as_str(), port.host);
    let wanted4 = port.address.is_none_or(|address| address.is_ipv4());
    let wanted6 = port.address.is_none_or(|address| address.is_ipv6());
    let exact = port.address.filter(|address| !address.is_unspecified());
    let element = |maps: [&'static str; 2], target: IpAddr| {
        let map = if exact.is_some() { maps[1] } else { maps[0] };
        let key = exact.map_or_else(|| service.clone(), |address| format!("{address} . {service}"));
        match (network, value.balanced(&port.network, target)) {
            (Some(network), Some(several)) => {
                let led = LEADING.iter().find(|(_, plain)| *plain == map);
                let chain = balance::port_chain(network, several, target, port);
                Element {
                    map: led.map_or(map, |(led, _)| led),
                    key,
                    value: format!("goto {chain}"),
                }
            }
            _ => Element { map, key, value: format!("{target} . {}", port.target) },
        }
    };
    let four = port.target4.filter(|_| wanted4).map(IpAddr::from);
    let six = port.target6.filter(|_| wanted6).map(IpAddr::from);
    four.map(|target| element(["ports4", "addressed4"], target))
        .into_iter()
        .chain(six.map(|target| element(["ports6", "addressed6"], target)))
        .collect()
}

/// All entries of a value.
fn all_elements(value: &HostNetwork) -> BTreeSet<Element> {
    let ports = value.ports.iter().flat_map(|port| elements(value, port));
    ports.chain(balanced(value)).collect()
}

/// The entries of balanced addresses: where each leads, from where, and that it is one.
fn balanced(value: &HostNetwork) -> impl Iterator<Item = Element> {
    value.leading().flat_map(|(network, service, address)| {
        let [leads, from, all] = match address.is_ipv4() {
            true => ["balanced4", "services4", "balancing4"],
            false => ["balanced6", "services6", "balancing6"],
        };
        let chain = balance::chain(network, service, address);
        let key = format!("{} . {address}", quoted(&network.bridge));
        [
            Element { map: leads, key: address.to_string(), value: format!("goto {chain}") },
            Element { map: from, key, value: String::new() },
            Element { map: all, key: address.to_string(), value: String::new() },
        ]
    })
}

/// The text that replaces our table whole. The empty table is added first, so that deleting it can't
/// fail; all of it is one transaction.
pub(super) fn table(name: &str, value: &HostNetwork, guards: &Guards) -> String {
    let mut text = removal(name);
    writeln!(text, "table inet {name} {{").expect(STRING);
    for (chain, rule) in balance::chains(value) {
        let rule = rule.map_or(String::new(), |rule| format!("    {rule}\n"));
        write!(text, "  chain {chain} {{\n{rule}  }}\n").expect(STRING);
    }
    sets(&mut text, value, guards);
    maps(&mut text, value);
    sources(&mut text, value);
    text.push_str(CHAINS);
    text.push_str("}\n");
    text
}

/// The text that removes our table, whether it is there or not.
pub(super) fn removal(name: &str) -> String {
    format!("add table inet {name}\ndelete table inet {name}\n")
}

/// The text that brings a table from one content to another; empty when nothing changes.
pub(super) fn change(name: &str, from: &Content, to: &Content) -> String {
    let mut text = String::new();
    for (chain, rule) in &to.chains {
        match from.chains.get(chain) {
            Some(before) if before == rule => continue,
            Some(_) => writeln!(text, "flush chain inet {name} {chain}").expect(STRING),
            None => writeln!(text, "add chain inet {name} {chain}").expect(STRING),
        }
        if let Some(rule) = rule {
            writeln!(text, "add rule inet {name} {chain} {rule}").expect(STRING);
        }
    }
    for gone in from.elements.difference(&to.elements) {
        writeln!(text, "delete element inet {name} {} {{ {} }}", gone.map, gone.key).expect(STRING);
    }
    for new in to.elements.difference(&from.elements) {
        writeln!(text, "add element inet {name} {} {{ {} }}", new.map, new.shown()).expect(STRING);
    }
    for chain in from.chains.keys().filter(|chain| !to.chains.contains_key(*chain)) {
        writeln!(text, "flush chain inet {name} {chain}").expect(STRING);
        writeln!(text, "delete chain inet {name} {chain}").expect(STRING);
    }
    text
}

const STRING: &str = "a String takes all";

fn sets(text: &mut String, value: &HostNetwork, guards: &Guards) {
    let networks = &value.networks;
    let names = |chosen: &dyn Fn(&&NetworkLinks) -> bool| -> Vec<String> {
        networks.iter().filter(chosen).map(|network| quoted(&network.bridge)).collect()
    };
    let each = |part: &dyn Fn(&NetworkLinks) -> Option<String>| -> Vec<String> {
        networks.iter().filter_map(part).collect()
    };
    let out = |network: &NetworkLinks| network.masquerade && !network.internal;
    let bridge = |network: &NetworkLinks, what: &dyn Display| {
        format!("{} . {what}", quoted(&network.bridge))
    };
    let guards4: Vec<_> = guards.ipv4.iter().map(|name| quoted(name)).collect();
    let guards6: Vec<_> = guards.ipv6.iter().map(|name| quoted(name)).collect();
    set(text, "bridges", "ifname", false, &names(&|_| true));
    set(text, "internal", "ifname", false, &names(&|network| network.internal));
    set(text, "same", "ifname . ifname", false, &each(&|n| Some(bridge(n, &quoted(&n.bridge)))));
    let mac = |n: &NetworkLinks| Names::bridge_mac(&n.bridge).map(|b| format!("{b:02x}")).join(":");
    set(text, "routers", "ether_addr", false, &each(&|n| Some(mac(n))));
    set(text, "guarded4", "ifname", false, &guards4);
    set(text, "guarded6", "ifname", false, &guards6);
    let kept6: &[String] = if guards.loopback6 { &["::1".to_owned()] } else { &[] };
    set(text, "kept6", "ipv6_addr", false, kept6);
    let own4 = each(&|n| Some(bridge(n, &n.ipv4?.trunc())));
    let own6 = each(&|n| Some(bridge(n, &n.ipv6?.trunc())));
    set(text, "members4", "ifname . ipv4_addr", true, &own4);
    set(text, "members6", "ifname . ipv6_addr", true, &own6);
    let host4 = each(&|n| Some(bridge(n, &n.ipv4?.addr())));
    let host6 = each(&|n| Some(bridge(n, &n.ipv6?.addr())));
    set(text, "gateway4", "ifname . ipv4_addr", false, &host4);
    set(text, "gateway6", "ifname . ipv6_addr", false, &host6);
    set(text, "gateways4", "ipv4_addr", false, &each(&|n| Some(n.ipv4?.addr().to_string())));
    set(text, "gateways6", "ipv6_addr", false, &each(&|n| Some(n.ipv6?.addr().to_string())));
    let out4 = each(&|n| Some(n.ipv4.filter(|_| out(n))?.trunc().to_string()));
    let out6 = each(&|n| Some(n.ipv6.filter(|_| out(n))?.trunc().to_string()));
    set(text, "masquerade4", "ipv4_addr", true, &out4);
    set(text, "masquerade6", "ipv6_addr", true, &out6);
}

fn maps(text: &mut String, value: &HostNetwork) {
    let all = all_elements(value);
    for (name, kind) in [
        ("ports4", "inet_proto . inet_service : ipv4_addr . inet_service"),
        ("ports6", "inet_proto . inet_service : ipv6_addr . inet_service"),
        ("addressed4", "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"),
        ("addressed6", "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service"),
        ("led4", "inet_proto . inet_service : verdict"),
        ("led6", "inet_proto . inet_service : verdict"),
        ("led_addressed4", "ipv4_addr . inet_proto . inet_service : verdict"),
        ("led_addressed6", "ipv6_addr . inet_proto . inet_service : verdict"),
        ("balanced4", "ipv4_addr : verdict"),
        ("balanced6", "ipv6_addr : verdict"),
        ("services4", "ifname . ipv4_addr"),
        ("services6", "ifname . ipv6_addr"),
        ("balancing4", "ipv4_addr"),
        ("balancing6", "ipv6_addr"),
    ] {
        let of_map = all.iter().filter(|element| element.map == name);
        let elements: Vec<_> = of_map.map(Element::shown).collect();
        let what = if kind.contains(':') { "map" } else { "set" };
        block(text, what, name, kind, false, &elements);
    }
    block(text, "map", "metadata", "ifname : ipv4_addr . inet_service", false, &metadata(value));
}

/// Where each bridge's members find what they are. Those of an internal network reach nothing but
/// names.
fn metadata(value: &HostNetwork) -> Vec<String> {
    let Some(port) = value.metadata else { return Vec::new() };
    let open = value.networks.iter().filter(|network| !network.internal);
    open.filter_map(|network| {
        let gateway = network.ipv4?.addr();
        Some(format!("{} : {gateway} . {port}", quoted(&network.bridge)))
    })
    .collect()
}

/// For each network, what its members' packets must carry. Rules rather than a set of subnets: while a
/// table is replaced, such a set is empty for a moment (the kernel fills `pipapo` sets after the rules
/// that look into them are in force), and what is not in it would be dropped.
fn sources(text: &mut String, value: &HostNetwork) {
    let mut verdicts = Vec::new();
    for network in &value.networks {
        let chain = format!("from_{}", network.bridge);
        let four = network.ipv4.map(|net| format!("ip saddr != {} drop", net.trunc()));
        let six = network.ipv6.map(|net| format!("ip6 saddr != {} drop", net.trunc()));
        let rules = [
            four.unwrap_or_else(|| "meta nfproto ipv4 drop".into()),
            six.unwrap_or_else(|| "meta nfproto ipv6 drop".into()),
        ];
        let [four, six] = rules;
        writeln!(text, "  chain {chain} {{\n    {four}\n    {six}\n  }}").expect(STRING);
        verdicts.push(format!("{} : jump {chain}", quoted(&network.bridge)));
    }
    block(text, "map", "sources", "ifname : verdict", false, &verdicts);
}

fn set(text: &mut String, name: &str, kind: &str, ranges: bool, elements: &[String]) {
    block(text, "set", name, kind, ranges, elements);
}

fn block(text: &mut String, what: &str, name: &str, kind: &str, ranges: bool, items: &[String]) {
    write!(text, "  {what} {name} {{ type {kind};").expect(STRING);
    if ranges {
        text.push_str(" flags interval;");
    }
    if !items.is_empty() {
        write!(text, " elements = {{ {} }};", items.join(", ")).expect(STRING);
    }
    text.push_str(" }\n");
}

fn quoted(interface: &str) -> String {
    format!("\"{interface}\"")
}

/// The rules, the same for every value: all that differs stands in the sets and maps.
const CHAINS: &str = include_str!("chains.nft");

#[cfg(test)]
mod tests {
    use super::*;
    use model::Uid;
    use model::instance::Protocol;

    fn port(address: Option<&str>, host: u16) -> PublishedPort {
        PublishedPort {
            network: Uid::from_bytes([1; 32]),
            protocol: Protocol::Tcp,
            address: address.map(|text| text.parse().unwrap()),
            host,
            target4: Some("10.0.0.2".parse().unwrap()),
            target6: Some("fd00::2".parse().unwrap()),
            target: 80,
        }
    }

    fn shown(port: &PublishedPort) -> Vec<String> {
        let all = elements(&HostNetwork::default(), port);
        all.iter().map(|e| format!("{} {} : {}", e.map, e.key, e.value)).collect()
    }

    #[test]
    fn the_address_tells_the_maps() {
        let four = "ports4 tcp . 8080 : 10.0.0.2 . 80";
        let six = "ports6 tcp . 8080 : fd00::2 . 80";
        assert_eq!(shown(&port(None, 8080)), [four, six]);
        assert_eq!(shown(&port(Some("0.0.0.0"), 8080)), [four]);
        assert_eq!(shown(&port(Some("::"), 8080)), [six]);
        assert_eq!(
            shown(&port(Some("127.0.0.1"), 8080)),
            ["addressed4 127.0.0.1 . tcp . 8080 : 10.0.0.2 . 80"]
        );
        assert_eq!(
            shown(&port(Some("2001:db8::1"), 8080)),
            ["addressed6 2001:db8::1 . tcp . 8080 : fd00::2 . 80"]
        );
    }

    #[test]
    fn a_change_names_only_what_differs() {
        let value = |ports: &[u16]| HostNetwork {
            ports: ports.iter().map(|p| port(Some("0.0.0.0"), *p)).collect(),
            ..HostNetwork::default()
        };
        let (old, new) = (Content::of(&value(&[1, 2])), Content::of(&value(&[2, 3])));
        assert_eq!(
            change("t", &old, &new),
            "delete element inet t ports4 { tcp . 1 }\n\
             add element inet t ports4 { tcp . 3 : 10.0.0.2 . 80 }\n"
        );
        assert_eq!(change("t", &old, &old), "");
    }
}
