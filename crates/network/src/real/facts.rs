//! Looking: the uplink, what of ours is there, counters.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use model::{Result, Uid};

use super::bridge::{RETIRED, described};
use super::instance::{leads_to, remove_at};
use super::{Parts, bridge};
use crate::facts::{Observed, ObservedInterface, Uplink};
use crate::kernel::route::{Link, Route, Rtnl};
use crate::kernel::sysctl;
use crate::names::Names;
use crate::statistics::InterfaceStatistics;

/// See [`crate::Driver::uplink`].
pub(crate) fn uplink(host: &mut Rtnl, names: &Names) -> Result<Uplink> {
    let (before, addresses, routes) = (host.links()?, host.addresses()?, host.routes()?);
    // A bridge that came or went between these lists stands in one of the lists of links alone.
    let links = host.links()?;
    let ours: BTreeSet<u32> = before
        .iter()
        .chain(&links)
        .filter(|link| names.is_bridge(&link.name))
        .map(|link| link.index)
        .collect();
    let foreign = |index: Option<u32>| index.is_none_or(|index| !ours.contains(&index));
    let way_out = default_link(&links, &routes);
    let mut others: Vec<_> = addresses
        .iter()
        .filter(|address| foreign(Some(address.link)) && is_usable(address.net.addr()))
        .collect();
    others.sort_by_key(|address| way_out.is_none_or(|link| link.index != address.link));
    let others: Vec<IpNet> = others.into_iter().map(|address| address.net).collect();
    let routed = routes.iter().filter(|route| foreign(route.link)).filter_map(|r| r.destination);
    let mut subnets: Vec<IpNet> = others.iter().map(IpNet::trunc).chain(routed).collect();
    subnets.retain(|net| is_usable(net.addr()));
    subnets.sort_unstable();
    subnets.dedup();
    Ok(Uplink {
        interface: way_out.map(|link| link.name.clone()),
        mtu: way_out.map_or(Uplink::ETHERNET_MTU, |link| link.mtu),
        addresses: others.iter().map(IpNet::addr).collect(),
        subnets,
        ipv6: sysctl::has_ipv6(),
    })
}

impl Parts {
    /// See [`crate::Driver::neighbour`].
    pub(super) fn neighbour(&self, network: &Uid, address: Ipv4Addr) -> Result<Option<Uid>> {
        let mut host = Rtnl::open()?;
        let Some(bridge) = host.link(&self.names.bridge(network))? else { return Ok(None) };
        let Some(mac) = host.hardware_address(bridge.index, address)? else { return Ok(None) };
        let Some(port) = host.bridge_port(bridge.index, mac)? else { return Ok(None) };
        let Some(link) = host.link_at(port)? else { return Ok(None) };
        Ok(described(&link.alias).filter(|(_, of)| of == network).map(|(instance, _)| instance))
    }
}

/// The link of the default route, IPv4's before IPv6's, the smallest metric first.
fn default_link<'a>(links: &'a [Link], routes: &[Route]) -> Option<&'a Link> {
    let is_v6 = |route: &Route| matches!(route.gateway, Some(IpAddr::V6(_)));
    let defaults = routes.iter().filter(|route| route.is_default() && route.link.is_some());
    let best = defaults.min_by_key(|route| (is_v6(route), route.metric))?;
    links.iter().find(|link| Some(link.index) == best.link)
}

/// Neither loopback nor link-local: an address others can have in mind.
fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => {
            !address.is_loopback() && !address.is_unicast_link_local() && !address.is_multicast()
        }
    }
}

impl Parts {
    /// See [`crate::Driver::observe`].
    pub(super) fn observe(&self) -> Result<Observed> {
        let links = Rtnl::open()?.links()?;
        let bridges = links.iter().filter(|link| self.names.is_bridge(&link.name));
        let ours =
            links.iter().filter(|link| self.names.is_link(&link.name) && link.alias != RETIRED);
        Ok(Observed {
            bridges: bridges.map(|link| link.name.clone()).collect(),
            namespaces: self.namespaces.list()?,
            interfaces: ours.map(observed).collect(),
        })
    }

    /// See [`crate::Driver::statistics`].
    pub(super) fn statistics(&self, instance: &Uid) -> Result<Vec<InterfaceStatistics>> {
        let Some((mut host, mut inside)) = self.sides_of(instance)? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for link in inside.links()? {
            if let Some((_, network)) = leads_to(&mut host, instance, &link)? {
                all.push(counted(&link, network));
            }
        }
        all.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(all)
    }

    /// Removes everything of this node but the firewall.
    pub(super) fn clear(&self) -> Result<()> {
        let mut host = Rtnl::open()?;
        for link in host.links()?.iter().filter(|link| self.names.is_link(&link.name)) {
            remove_at(&mut host, link.index)?;
        }
        self.namespaces.list()?.iter().try_for_each(|id| self.namespaces.remove(id))?;
        for link in host.links()?.iter().filter(|link| self.names.is_bridge(&link.name)) {
            bridge::remove(&mut host, &link.name)?;
        }
        Ok(())
    }
}

fn observed(link: &Link) -> ObservedInterface {
    let (instance, network) = described(&link.alias).unzip();
    let up = link.up && link.bridge.is_some();
    ObservedInterface { link: link.name.clone(), instance, network, up }
}

fn counted(link: &Link, network: Uid) -> InterfaceStatistics {
    let counters = link.counters.unwrap_or_default();
    InterfaceStatistics {
        name: link.name.clone(),
        network,
        rx_bytes: counters.rx_bytes,
        rx_packets: counters.rx_packets,
        rx_errors: counters.rx_errors,
        rx_dropped: counters.rx_dropped,
        tx_bytes: counters.tx_bytes,
        tx_packets: counters.tx_packets,
        tx_errors: counters.tx_errors,
        tx_dropped: counters.tx_dropped,
    }
}
