//! Instances: a namespace each, and a link from it to each of its networks.

use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use faults::may_die;
use ipnet::IpNet;
use model::{Error, Result, Uid};
use netlink_packet_route::link::LinkAttribute;
use nix::errno::Errno;

use super::Parts;
use super::bridge::{RETIRED, describe, described};
use crate::error;
use crate::kernel::message::{self, Pair, Request};
use crate::kernel::namespace::Entered;
use crate::kernel::route::{Address, Link, Route, Rtnl, failed, is};
use crate::kernel::{nftables, sysctl, tap};
use crate::links::{INNER_BRIDGE, InstanceLinks, InterfaceLink, NAMES_ANSWERED, NAMES_ASKED};

/// Index of loopback in every namespace (`LOOPBACK_IFINDEX`, linux/net_namespace.h).
const LOOPBACK: u32 = 1;

/// The table inside that leads questions for names.
const NAMES_TABLE: &str = "hull-names";

/// Both sides of an instance's links, seen by a thread that is inside.
struct Sides {
    instance: Uid,
    host: Rtnl,
    hairpin: bool,
    inside: Rtnl,
    entered: Entered,
}

/// What must be seen of the host before the thread leaves it.
struct Outside {
    host: Rtnl,
    hairpin: bool,
}

impl Outside {
    fn see() -> Result<Self> {
        Ok(Self { host: Rtnl::open()?, hairpin: sysctl::filters_bridges() })
    }
}

/// What is inside a namespace.
#[derive(Default)]
struct Inside {
    links: Vec<Link>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
}

impl Parts {
    /// See [`crate::Driver::attach`].
    pub(super) fn attach(&self, instance: &InstanceLinks) -> Result<PathBuf> {
        instance.interfaces.iter().try_for_each(InterfaceLink::validate)?;
        let outside = Outside::see()?;
        let furnish = || furnish(&instance.id, &mut Rtnl::open()?);
        let entered = self.namespaces.enter_or_make(&instance.id, furnish)?;
        may_die("network.namespace");
        let mut sides = Sides::new(&instance.id, outside, entered)?;
        let mut seen = Inside::default();
        if !sides.entered.fresh {
            seen = sides.look()?;
            sides.remove_others(&seen, &instance.interfaces)?;
            if instance.guest {
                sides.remove_bridges(&seen, &instance.interfaces)?;
            }
        }
        for interface in &instance.interfaces {
            sides.join(self, interface, &seen)?;
        }
        Ok(self.namespaces.path(&instance.id))
    }

    /// See [`crate::Driver::connect`].
    pub(super) fn connect(&self, instance: &Uid, interface: &InterfaceLink) -> Result<()> {
        interface.validate()?;
        let mut sides = self.sides(instance)?.ok_or_else(|| error::no_namespace(instance))?;
        let seen = sides.look()?;
        sides.join(self, interface, &seen)
    }

    /// See [`crate::Driver::disconnect`].
    pub(super) fn disconnect(&self, instance: &Uid, network: &Uid) -> Result<()> {
        remove_by_name(&mut Rtnl::open()?, &self.names.link(instance, network))
    }

    /// See [`crate::Driver::detach`].
    pub(super) fn detach(&self, instance: &Uid) -> Result<()> {
        match self.sides(instance)? {
            Some(mut sides) => sides.retire_all()?,
            None => self.remove_strays(instance)?,
        }
        may_die("network.retired");
        self.namespaces.remove(instance)
    }

    /// Both sides of an instance that has a namespace.
    pub(super) fn sides_of(&self, instance: &Uid) -> Result<Option<(Rtnl, Rtnl)>> {
        Ok(self.sides(instance)?.map(|sides| (sides.host, sides.inside)))
    }

    fn sides(&self, instance: &Uid) -> Result<Option<Sides>> {
        let outside = Outside::see()?;
        let Some(handle) = self.namespaces.enter(instance)? else { return Ok(None) };
        Sides::new(instance, outside, Entered { handle, fresh: false }).map(Some)
    }

    /// Removes the links of an instance whose namespace is gone.
    fn remove_strays(&self, instance: &Uid) -> Result<()> {
        let mut host = Rtnl::open()?;
        let links = host.links()?;
        let strays = links.iter().filter(|link| {
            self.names.is_link(&link.name)
                && described(&link.alias).is_some_and(|(of, _)| of == *instance)
        });
        strays.map(|link| link.index).try_for_each(|index| remove_at(&mut host, index))
    }
}

/// Gives a namespace that the thread has entered what all have.
fn furnish(instance: &Uid, inside: &mut Rtnl) -> Result<()> {
    set_namespace_parameters()?;
    // Names are found at the gateway as well, so an instance runs without this.
    if let Err(error) = nftables::lead(NAMES_TABLE, NAMES_ASKED, NAMES_ANSWERED.port()) {
        let (instance, cause) = (instance.short(), error.chain());
        tracing::warn!(instance, cause, "names cannot be asked for at {NAMES_ASKED} inside");
    }
    // A socket that is bound before there are addresses never answers from its own.
    let up = message::change_link(LOOPBACK, Vec::new());
    inside.all(vec![up], || format!("setting up loopback of {}", instance.short()))
}

impl Sides {
    /// For a thread that has entered the namespace.
    fn new(instance: &Uid, outside: Outside, entered: Entered) -> Result<Self> {
        let Outside { host, hairpin } = outside;
        Ok(Self { instance: instance.clone(), host, hairpin, inside: Rtnl::open()?, entered })
    }

    fn look(&mut self) -> Result<Inside> {
        Ok(Inside {
            links: self.inside.links()?,
            addresses: self.inside.addresses()?,
            routes: self.inside.routes()?,
        })
    }

    /// Removes links to networks of this node that aren't wanted. Links that the instance made itself
    /// are its own business.
    fn remove_others(&mut self, seen: &Inside, wanted: &[InterfaceLink]) -> Result<()> {
        for link in &seen.links {
            let Some((host, network)) = leads_to(&mut self.host, &self.instance, link)? else {
                continue;
            };
            if !wanted.iter().any(|interface| interface.network == network) {
                remove_at(&mut self.host, host.index)?;
            }
        }
        Ok(())
    }

    /// Removes what was between a guest and networks that it left. Their taps go when QEMU lets go of them.
    fn remove_bridges(&mut self, seen: &Inside, wanted: &[InterfaceLink]) -> Result<()> {
        let inner = |link: &&Link| {
            link.name.starts_with(INNER_BRIDGE)
                && !wanted.iter().any(|interface| interface.inner_bridge() == link.name)
        };
        let requests = seen.links.iter().filter(inner).map(|link| message::remove_link(link.index));
        let what = || format!("parting machine {} from networks", self.instance.short());
        self.inside.all(requests.collect(), what)
    }

    /// Cuts every link of the namespace off. The links themselves go with the namespace: the kernel
    /// ends many at a time in the background, where removing each takes 30 ms of waiting.
    fn retire_all(&mut self) -> Result<()> {
        for link in self.inside.links()? {
            let found = leads_to(&mut self.host, &self.instance, &link)?;
            let Some((outside, _)) = found else { continue };
            let retire = message::retire_link(outside.index, RETIRED);
            let cut = self.host.batch(vec![retire])?.into_iter().collect::<std::io::Result<()>>();
            // One without a bridge can't be cut off it.
            if cut.is_err() {
                remove_at(&mut self.host, outside.index)?;
            }
        }
        Ok(())
    }

    /// Makes one interface, or brings it to what is wanted.
    fn join(&mut self, parts: &Parts, wanted: &InterfaceLink, seen: &Inside) -> Result<()> {
        let name = parts.names.link(&self.instance, &wanted.network);
        let bridge =
            self.host.link(&wanted.bridge)?.ok_or_else(|| error::no_bridge(&wanted.bridge))?;
        let link = match self.present(&name, wanted, seen)? {
            Some((host, inside)) => {
                self.settle_link(&host, &inside, bridge.index, wanted)?;
                inside
            }
            None => self.make(&name, bridge.index, wanted)?,
        };
        may_die("network.pair");
        if wanted.guest {
            return self.join_guest(wanted, link.index, seen);
        }
        let off = if wanted.ipv6.is_some() { "0" } else { "1" };
        sysctl::write_if_there(&format!("ipv6/conf/{}/disable_ipv6", wanted.name), off)?;
        let requests = settle(wanted, link.index, seen);
        let what = || format!("addressing {} of instance {}", wanted.name, self.instance.short());
        self.inside.all(requests, what)
    }

    /// Makes what is between a guest and its link: a bridge with a tap. None of them has an address but
    /// the bridge its link-local one, by which a guest with IPv6 is told of its address.
    fn join_guest(&mut self, wanted: &InterfaceLink, link: u32, seen: &Inside) -> Result<()> {
        let (bridge, tap) = (wanted.inner_bridge(), wanted.tap());
        let what = || format!("making {bridge} of machine {}", self.instance.short());
        sysctl::write_if_there(&format!("ipv6/conf/{}/disable_ipv6", wanted.name), "1")?;
        tap::ensure(&tap)?;
        // Its own hardware address, not the lowest of what is joined to it, which may change.
        let mut mac = wanted.link_octets()?;
        mac[0] ^= 0x08;
        let mut requests = vec![message::new_bridge(&bridge, mac)];
        // One that was a container's before has addresses.
        let stale = seen.addresses.iter().filter(|address| address.link == link);
        requests.extend(stale.map(|address| message::remove_address(link, address.net)));
        self.inside.all(requests, what)?;
        let off = if wanted.ipv6.is_some() { "0" } else { "1" };
        sysctl::write_if_there(&format!("ipv6/conf/{tap}/disable_ipv6"), "1")?;
        sysctl::write_if_there(&format!("ipv6/conf/{bridge}/disable_ipv6"), off)?;
        let found = |link: Option<Link>, name: &str| {
            link.ok_or_else(|| Error::internal(format!("interface {name} is gone again")))
        };
        let between = found(self.inside.link(&bridge)?, &bridge)?;
        let end = found(self.inside.link(&tap)?, &tap)?;
        let joined =
            || vec![LinkAttribute::Mtu(wanted.mtu), LinkAttribute::Controller(between.index)];
        self.inside.all(
            vec![
                message::change_link(link, joined()),
                message::learn_nobody(&wanted.name),
                message::change_link(end.index, joined()),
                message::change_link(between.index, vec![LinkAttribute::Mtu(wanted.mtu)]),
            ],
            what,
        )
    }

    /// The two ends of the link if both are where they belong.
    fn present(
        &mut self,
        name: &str,
        wanted: &InterfaceLink,
        seen: &Inside,
    ) -> Result<Option<(Link, Link)>> {
        if self.entered.fresh {
            return Ok(None);
        }
        let Some(host) = self.host.link(name)? else { return Ok(None) };
        let inside = seen.links.iter().find(|link| {
            Some(link.index) == host.peer
                && link.peer == Some(host.index)
                && link.name == wanted.name
        });
        Ok(inside.map(|inside| (host, inside.clone())))
    }

    fn make(&mut self, name: &str, bridge: u32, wanted: &InterfaceLink) -> Result<Link> {
        let pair = Pair {
            host: name,
            bridge,
            inside: &wanted.name,
            mac: wanted.link_octets()?,
            mtu: wanted.mtu,
            namespace: self.entered.handle.as_raw_fd(),
        };
        let what =
            format!("making interface {} of instance {}", wanted.name, self.instance.short());
        let requests = || {
            let alias = describe(&self.instance, &wanted.network);
            vec![message::new_pair(pair), message::describe_link(name, alias, self.hairpin)]
        };
        let mut made: std::io::Result<()> = self.host.batch(requests())?.into_iter().collect();
        if made.as_ref().is_err_and(|error| is(error, Errno::EEXIST)) {
            // One of that name is left from a namespace that is gone, or the name inside is taken.
            remove_by_name(&mut self.host, name)?;
            made = self.host.batch(requests())?.into_iter().collect();
        }
        made.map_err(|error| failed(error, &what))?;
        self.inside
            .link(&wanted.name)?
            .ok_or_else(|| Error::internal(format!("{what}: it is gone again")))
    }

    fn settle_link(
        &mut self,
        host: &Link,
        inside: &Link,
        bridge: u32,
        wanted: &InterfaceLink,
    ) -> Result<()> {
        let what = || format!("changing {} of instance {}", wanted.name, self.instance.short());
        if host.bridge != Some(bridge) || host.mtu != wanted.mtu || !host.up {
            let attributes =
                vec![LinkAttribute::Mtu(wanted.mtu), LinkAttribute::Controller(bridge)];
            self.host.all(vec![message::change_link(host.index, attributes)], what)?;
        }
        let octets = wanted.link_octets()?;
        if inside.mac != octets || inside.mtu != wanted.mtu {
            let attributes =
                vec![LinkAttribute::Mtu(wanted.mtu), LinkAttribute::Address(octets.to_vec())];
            self.inside.all(vec![message::change_link(inside.index, attributes)], what)?;
        }
        Ok(())
    }
}

/// Requests that give a link its addresses, set it up and lay the default routes. Addresses come
/// first: setting up then announces them (`arp_notify`), for neighbours that knew another owner.
fn settle(wanted: &InterfaceLink, index: u32, seen: &Inside) -> Vec<Request> {
    let mut requests = Vec::new();
    let nets = [wanted.ipv4.map(IpNet::from), wanted.ipv6.map(IpNet::from)];
    for net in nets.into_iter().flatten() {
        requests.extend(settle_address(net, index, &seen.addresses));
    }
    let up = seen.links.iter().any(|link| link.index == index && link.up);
    if !up {
        requests.push(message::change_link(index, Vec::new()));
    }
    let gateways = [wanted.gateway4.map(IpAddr::from), wanted.gateway6.map(IpAddr::from)];
    for route in seen.routes.iter().filter(|route| route.is_default()) {
        if let (true, Some(gateway)) = (route.link == Some(index), route.gateway)
            && !gateways.contains(&Some(gateway))
        {
            requests.push(message::remove_default_route(index, gateway));
        }
    }
    // Laid anew even if seen: it goes with the address that it was reached from.
    let wanted = gateways.into_iter().flatten();
    requests.extend(wanted.map(|gateway| message::set_default_route(index, gateway)));
    requests
}

/// Addresses that the instance added itself stay, as long as the one it was given is there.
fn settle_address(wanted: IpNet, index: u32, seen: &[Address]) -> Vec<Request> {
    let same_kind = |address: &&Address| {
        address.link == index
            && !address.automatic
            && address.net.addr().is_ipv4() == wanted.addr().is_ipv4()
    };
    let present: Vec<IpNet> = seen.iter().filter(same_kind).map(|address| address.net).collect();
    if present.contains(&wanted) {
        return Vec::new();
    }
    let surplus = present.into_iter().map(|net| message::remove_address(index, net));
    surplus.chain([message::add_address(index, wanted)]).collect()
}

/// Parameters of a new namespace, before it has interfaces; they inherit `default`.
fn set_namespace_parameters() -> Result<()> {
    // Addresses and routes are control's to give; a neighbour must not advertise others.
    sysctl::write_if_there("ipv6/conf/default/accept_ra", "0")?;
    sysctl::write_if_there("ipv6/conf/default/accept_dad", "0")?;
    // An address that had another owner is announced when the interface comes up.
    sysctl::write("ipv4/conf/default/arp_notify", "1")?;
    sysctl::write_if_there("ipv6/conf/default/ndisc_notify", "1")?;
    // As Docker has it: no privilege is needed for low ports and ping inside.
    sysctl::write("ipv4/ip_unprivileged_port_start", "0")?;
    sysctl::write("ipv4/ping_group_range", "0 2147483647")
}

/// The host's end of a link inside, and the network it leads to; none for a link of the instance's
/// own. Indices are counted in each namespace apart, so both ends must name the other.
pub(super) fn leads_to(
    host: &mut Rtnl,
    instance: &Uid,
    inside: &Link,
) -> Result<Option<(Link, Uid)>> {
    let Some(peer) = inside.peer.filter(|_| inside.is_pair) else { return Ok(None) };
    let Some(outside) = host.link_at(peer)? else { return Ok(None) };
    let network = described(&outside.alias)
        .filter(|(of, _)| of == instance && outside.peer == Some(inside.index))
        .map(|(_, network)| network);
    Ok(network.map(|network| (outside, network)))
}

fn remove_by_name(host: &mut Rtnl, name: &str) -> Result<()> {
    match host.link(name)? {
        Some(link) => remove_at(host, link.index),
        None => Ok(()),
    }
}

/// Removes a link of the host; fine if it is gone.
pub(super) fn remove_at(host: &mut Rtnl, index: u32) -> Result<()> {
    host.all(vec![message::remove_link(index)], || format!("removing link {index}"))
}
