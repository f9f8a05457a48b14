//! The cards' addresses as network configuration.
//!
//! Addresses are written down rather than left to DHCP: a guest is then up without asking anybody, and
//! one that is asked for another way (an installer, an initramfs, a system without cloud-init) finds
//! the same by DHCP. A clone has another identity, and its guest does this anew.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use model::{Error, Result};
use serde_json::{Value, json};

use super::user_data::{self, NetworkConfig};
use crate::config::Nic;

/// Bytes that configuration of the user's own may have.
const LARGEST: usize = 64 << 10;

/// Refuses configuration that cloud-init could not read.
pub(super) fn check(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    user_data::bounded(text, LARGEST)?;
    match user_data::read::<NetworkConfig>(text)?.version() {
        Some(1 | 2) => Ok(()),
        Some(other) => Err(Error::invalid(format!("version {other} is not known to cloud-init"))
            .next("write version 1 or 2")),
        None => Err(Error::invalid("it has no version").next("begin it with \"version: 2\"")),
    }
}

/// Version 1, for NoCloud: the form cloud-init has of its own, which it translates for each system. Of
/// version 2 (netplan's) releases in use make a wrong default route of IPv6 for Debian's `interfaces`.
pub(super) fn version1(nics: &[Nic]) -> Value {
    let cards: Vec<Value> = nics.iter().enumerate().map(|(i, nic)| card(i, nic)).collect();
    json!({ "version": 1, "config": cards })
}

fn name(i: usize) -> String {
    format!("eth{i}")
}

fn card(i: usize, nic: &Nic) -> Value {
    let mut subnets: Vec<Value> = addresses(nic).map(|net| subnet(nic, net)).collect();
    if let Some(first) = subnets.first_mut() {
        // Some systems keep the servers of one subnet only.
        first["dns_nameservers"] = json!(nic.dns);
        first["dns_search"] = json!(nic.search);
    }
    json!({
        "type": "physical",
        "name": name(i),
        "mac_address": nic.mac.to_lowercase(),
        "mtu": nic.mtu,
        // The advertisements say what stands here.
        "accept-ra": false,
        "subnets": subnets,
    })
}

fn subnet(nic: &Nic, net: IpNet) -> Value {
    let kind = if net.addr().is_ipv4() { "static" } else { "static6" };
    let mut subnet = json!({ "type": kind, "address": net.to_string() });
    if let Some(gateway) = gateway(nic, net) {
        subnet["gateway"] = json!(gateway);
    }
    subnet
}

fn addresses(nic: &Nic) -> impl Iterator<Item = IpNet> {
    [nic.ipv4.map(IpNet::from), nic.ipv6.map(IpNet::from)].into_iter().flatten()
}

/// The way out of an address' family.
fn gateway(nic: &Nic, net: IpNet) -> Option<IpAddr> {
    match net {
        IpNet::V4(_) => nic.gateway4.map(IpAddr::from),
        IpNet::V6(_) => nic.gateway6.map(IpAddr::from),
    }
}

/// OpenStack's `network_data.json`, for a config drive.
pub(super) fn openstack(nics: &[Nic]) -> Value {
    let links = nics.iter().enumerate().map(|(i, nic)| {
        json!({
            "id": name(i),
            "type": "phy",
            "ethernet_mac_address": nic.mac.to_lowercase(),
            "mtu": nic.mtu,
        })
    });
    let networks = nics.iter().enumerate().flat_map(|(i, nic)| {
        addresses(nic).map(move |net| {
            let kind = if net.addr().is_ipv4() { "ipv4" } else { "ipv6" };
            let routes: Vec<Value> = gateway(nic, net).map(everywhere).into_iter().collect();
            json!({
                "id": format!("{}-{kind}", name(i)),
                "link": name(i),
                "type": kind,
                "ip_address": net.addr(),
                "netmask": net.netmask(),
                "routes": routes,
            })
        })
    });
    let servers = nics.iter().flat_map(|nic| &nic.dns);
    json!({
        "links": links.collect::<Vec<_>>(),
        "networks": networks.collect::<Vec<_>>(),
        "services": servers.map(|dns| json!({ "type": "dns", "address": dns })).collect::<Vec<_>>(),
    })
}

fn everywhere(gateway: IpAddr) -> Value {
    let none = match gateway {
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    json!({ "network": none, "netmask": none, "gateway": gateway })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_its_addresses_and_ways() {
        let nic = crate::seed::tests::seed().nics.remove(0);
        let internal = Nic { gateway4: None, gateway6: None, dns: Vec::new(), ..nic.clone() };
        let expected = json!({ "version": 1, "config": [
            {
                "type": "physical",
                "name": "eth0",
                "mac_address": "02:00:00:00:00:0a",
                "mtu": 1450,
                "accept-ra": false,
                "subnets": [
                    {
                        "type": "static",
                        "address": "10.7.0.5/24",
                        "gateway": "10.7.0.1",
                        "dns_nameservers": ["10.7.0.1", "fd00:7::1"],
                        "dns_search": ["app.hull.internal"],
                    },
                    { "type": "static6", "address": "fd00:7::5/64", "gateway": "fd00:7::1" },
                ],
            },
            {
                "type": "physical",
                "name": "eth1",
                "mac_address": "02:00:00:00:00:0a",
                "mtu": 1450,
                "accept-ra": false,
                "subnets": [
                    {
                        "type": "static",
                        "address": "10.7.0.5/24",
                        "dns_nameservers": [],
                        "dns_search": ["app.hull.internal"],
                    },
                    { "type": "static6", "address": "fd00:7::5/64" },
                ],
            },
        ]});
        assert_eq!(version1(&[nic.clone(), internal]), expected);
        let drive = openstack(&[nic]);
        assert_eq!(drive["networks"][1]["netmask"], "ffff:ffff:ffff:ffff::");
        assert_eq!(drive["networks"][1]["routes"][0], everywhere("fd00:7::1".parse().unwrap()));
    }
}
