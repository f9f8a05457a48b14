//! From the value to the text that nft(8) loads. Pure: what isn't in the value isn't in the text.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};
use std::net::IpAddr;

use super::{HostNetwork, PublishedPort};
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

/// One entry of one of the port maps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    map: &'static str,
    key: String,
    value: String,
}

impl Element {
    /// What must be unique: two ports with the same place would contradict each other.
    pub(super) fn place(&self) -> (&'static str, &str) {
        (self.map, &self.key)
    }
}

/// The entries a port is made of: one for each family it is reached by.
pub(super) fn elements(port: &PublishedPort) -> Vec<Element> {
    let service = format!("{} . {}", port.protocol.as_str(), port.host);
    let wanted4 = port.address.is_none_or(|address| address.is_ipv4());
    let wanted6 = port.address.is_none_or(|address| address.is_ipv6());
    let exact = port.address.filter(|address| !address.is_unspecified());
    let element = |maps: [&'static str; 2], target: IpAddr| Element {
        map: if exact.is_some() { maps[1] } else { maps[0] },
        key: exact.map_or_else(|| service.clone(), |address| format!("{address} . {service}")),
        value: format!("{target} . {}", port.target),
    };
    let four = port.target4.filter(|_| wanted4).map(IpAddr::from);
    let six = port.target6.filter(|_| wanted6).map(IpAddr::from);
    four.map(|target| element(["ports4", "addressed4"], target))
        .into_iter()
        .chain(six.map(|target| element(["ports6", "addressed6"], target)))
        .collect()
}

/// All entries of a value.
pub(super) fn all_elements(value: &HostNetwork) -> BTreeSet<Element> {
    value.ports.iter().flat_map(elements).collect()
}

/// The text that replaces our table whole. The empty table is added first, so that deleting it can't
/// fail; all of it is one transaction.
pub(super) fn table(name: &str, value: &HostNetwork, guards: &Guards) -> String {
    let mut text = removal(name);
    writeln!(text, "table inet {name} {{").expect(STRING);
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

/// The text that brings the port maps from one content to another; empty when nothing changes.
pub(super) fn change(name: &str, from: &BTreeSet<Element>, to: &BTreeSet<Element>) -> String {
    let mut text = String::new();
    for gone in from.difference(to) {
        writeln!(text, "delete element inet {name} {} {{ {} }}", gone.map, gone.key).expect(STRING);
    }
    for new in to.difference(from) {
        let Element { map, key, value } = new;
        writeln!(text, "add element inet {name} {map} {{ {key} : {value} }}").expect(STRING);
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
    ] {
        let of_map = all.iter().filter(|element| element.map == name);
        let elements: Vec<_> = of_map.map(|e| format!("{} : {}", e.key, e.value)).collect();
        block(text, "map", name, kind, false, &elements);
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
        let all = elements(port);
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
        let (old, new) = (all_elements(&value(&[1, 2])), all_elements(&value(&[2, 3])));
        assert_eq!(
            change("t", &old, &new),
            "delete element inet t ports4 { tcp . 1 }\n\
             add element inet t ports4 { tcp . 3 : 10.0.0.2 . 80 }\n"
        );
        assert_eq!(change("t", &old, &old), "");
    }
}
