//! Bridges: one for each network.

use std::net::IpAddr;

use ipnet::IpNet;
use model::{Error, Result, Uid};
use netlink_packet_route::link::LinkAttribute;

use crate::error;
use crate::kernel::route::{Link, Rtnl};
use crate::kernel::{message, sysctl};
use crate::links::NetworkLinks;
use crate::names::Names;

/// Makes the bridge, or brings it to what is wanted.
pub(super) fn ensure(host: &mut Rtnl, names: &Names, network: &NetworkLinks) -> Result<()> {
    let name = &network.bridge;
    let mac = Names::bridge_mac(name);
    let what = || format!("making bridge {name} of network {}", network.id.short());
    if network.ipv6.is_some() && !sysctl::has_ipv6() {
        return Err(Error::unsupported(format!("this machine has no IPv6 for bridge {name}"))
            .next("switch net.ipv6.conf.all.disable_ipv6 off, or IPv6 of the network"));
    }
    if host.link(name)?.is_none() {
        refuse_taken(host, names, network)?;
        host.all(vec![message::new_bridge(name, mac)], what)?;
    }
    let link = host.link(name)?.ok_or_else(|| Error::internal(format!("{name} is gone again")))?;
    set_parameters(network)?;
    bring_up(host, &link, network.mtu, mac, what)?;
    settle_addresses(host, &link, network, what)?;
    if network.ipv6.is_some() && !network.internal {
        host.all(vec![message::add_loopback_route(link.index)], what)?;
    }
    Ok(())
}

/// A subnet was free when it was chosen; since then the host may have got a route into it. Both would
/// be out of reach by turns.
fn refuse_taken(host: &mut Rtnl, names: &Names, network: &NetworkLinks) -> Result<()> {
    let taken = super::uplink(host, names)?.subnets;
    let own = [network.ipv4.map(IpNet::from), network.ipv6.map(IpNet::from)];
    for net in own.into_iter().flatten().map(|net| net.trunc()) {
        let other = taken.iter().find(|other| other.contains(&net) || net.contains(*other));
        if let Some(other) = other {
            return Err(error::subnet_taken(&net, other, &network.id));
        }
    }
    Ok(())
}

/// Removes the bridge.
pub(super) fn remove(host: &mut Rtnl, name: &str) -> Result<()> {
    let Some(link) = host.link(name)? else { return Ok(()) };
    host.all(vec![message::remove_link(link.index)], || format!("removing bridge {name}"))
}

/// The description of a link between an instance and a network; kept in the kernel, so that a link
/// says itself what it is.
pub(super) fn describe(instance: &Uid, network: &Uid) -> String {
    format!("hull {instance} {network}")
}

/// The description of a link that goes with its namespace.
pub(super) const RETIRED: &str = "hull retired";

/// The instance and the network of a description.
pub(super) fn described(alias: &str) -> Option<(Uid, Uid)> {
    let (instance, network) = alias.strip_prefix("hull ")?.split_once(' ')?;
    Some((instance.parse().ok()?, network.parse().ok()?))
}

fn set_parameters(network: &NetworkLinks) -> Result<()> {
    let name = &network.bridge;
    let off = if network.ipv6.is_some() { "0" } else { "1" };
    sysctl::write_if_there(&format!("ipv6/conf/{name}/accept_ra"), "0")?;
    sysctl::write_if_there(&format!("ipv6/conf/{name}/accept_dad"), "0")?;
    // Guests are told the bridge's link-local address before they see it: one that follows from its
    // hardware address (IN6_ADDR_GEN_MODE_EUI64), whatever the host has elsewhere.
    sysctl::write_if_there(&format!("ipv6/conf/{name}/addr_gen_mode"), "0")?;
    sysctl::write_if_there(&format!("ipv6/conf/{name}/disable_ipv6"), off)?;
    let forward = if network.internal { "0" } else { "1" };
    sysctl::ensure(&format!("ipv4/conf/{name}/forwarding"), forward).map(drop)
}

fn bring_up(
    host: &mut Rtnl,
    link: &Link,
    mtu: u32,
    mac: [u8; 6],
    what: impl Fn() -> String,
) -> Result<()> {
    if link.up && link.mtu == mtu && link.mac == mac {
        return Ok(());
    }
    let attributes = vec![LinkAttribute::Mtu(mtu), LinkAttribute::Address(mac.to_vec())];
    host.all(vec![message::change_link(link.index, attributes)], what)
}

fn settle_addresses(
    host: &mut Rtnl,
    link: &Link,
    network: &NetworkLinks,
    what: impl Fn() -> String,
) -> Result<()> {
    let wanted: Vec<IpNet> =
        (network.ipv4.map(IpNet::from).into_iter()).chain(network.ipv6.map(IpNet::from)).collect();
    let all = host.addresses()?;
    let present: Vec<IpNet> = all
        .iter()
        .filter(|address| address.link == link.index && !address.automatic)
        .map(|address| address.net)
        .collect();
    let surplus = present.iter().filter(|net| !wanted.contains(net) && !is_single(net));
    let missing = wanted.iter().filter(|net| !present.contains(net));
    let requests = surplus
        .map(|net| message::remove_address(link.index, *net))
        .chain(missing.map(|net| message::add_address(link.index, *net)))
        .collect();
    host.all(requests, what)
}

/// Whether it is an address of its own, as services have them; a network's have a subnet.
fn is_single(net: &IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// Gives a bridge the addresses of services, and takes others' away.
pub(crate) fn settle_singles(host: &mut Rtnl, name: &str, wanted: &[IpAddr]) -> Result<()> {
    let Some(link) = host.link(name)? else { return Ok(()) };
    let wanted: Vec<IpNet> = wanted.iter().map(|address| IpNet::from(*address)).collect();
    let present = host.addresses()?;
    let present = present.iter().filter(|it| it.link == link.index && !it.automatic);
    let present: Vec<IpNet> = present.map(|it| it.net).filter(is_single).collect();
    let surplus = present.iter().filter(|net| !wanted.contains(net));
    let missing = wanted.iter().filter(|net| !present.contains(net));
    let requests = surplus
        .map(|net| message::remove_address(link.index, *net))
        .chain(missing.map(|net| message::add_single(link.index, net.addr())));
    host.all(requests.collect(), || format!("giving {name} the addresses of services"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_read_back() {
        let (instance, network) = (Uid::from_bytes([1; 32]), Uid::from_bytes([2; 32]));
        let text = describe(&instance, &network);
        assert!(text.len() < 256, "IFALIASZ");
        assert_eq!(described(&text), Some((instance, network)));
        assert_eq!(described("hull x y"), None);
        assert_eq!(described(""), None);
    }
}
