//! Bringing the firewall to a value: choose what can be published, write it in one transaction, then
//! switch on what depends on it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};

use model::instance::Protocol;
use model::{Error, Result};
use tokio::sync::Mutex as AsyncMutex;

use super::forwarding::{self, Forwarding};
use super::hold::{Holds, Outcome};
use super::render::{self, Element};
use super::{HostNetwork, PublishedPort, nft};
use crate::driver::{Applied, Apply, PortConflict};
use crate::error;
use crate::kernel::conntrack;
use crate::kernel::namespace::HostNamespace;
use crate::kernel::route::Rtnl;
use crate::kernel::sysctl;
use crate::names::Names;

/// The firewall of one node.
#[derive(Debug)]
pub(crate) struct Firewall {
    names: Names,
    /// The newest value asked for and not served yet: who gets the lock serves all who wait.
    asked: Mutex<Option<(HostNetwork, Apply)>>,
    state: Arc<AsyncMutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    applied: Option<HostNetwork>,
    refused: Vec<(PublishedPort, Refusal)>,
    holds: Holds,
}

/// Why a port is not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Reserved,
    Taken,
    Twice,
    NoAddress,
    Loopback6,
    Unreachable,
}

impl Firewall {
    pub(crate) fn new(names: Names) -> Self {
        Self { names, asked: Mutex::default(), state: Arc::default() }
    }

    /// See [`crate::Driver::apply`].
    pub(crate) async fn apply(
        &self,
        host: &HostNamespace,
        desired: &HostNetwork,
        how: Apply,
    ) -> Result<Applied> {
        self.ask(desired, how);
        let mut state = self.state.clone().lock_owned().await;
        let asked = self.asked.lock().expect("no holder of the lock panics").take();
        let newest = asked.filter(|(value, _)| !state.is_newer_than(value));
        let Some((value, how)) = newest else { return Ok(state.report(false)) };
        let names = self.names.clone();
        host.run(move || {
            let changed = state.bring_to(&names, value, how)?;
            Ok(state.report(changed))
        })
        .await
    }

    /// Removes the table and lets go of all ports.
    pub(crate) async fn clear(&self, host: &HostNamespace) -> Result<()> {
        let mut state = self.state.clone().lock_owned().await;
        let names = self.names.clone();
        host.run(move || {
            nft::load(&render::removal(&names.table()))?;
            *state = State::default();
            forwarding::switch_off(&mut Rtnl::open()?, &names)
        })
        .await
    }

    /// Whether this node publishes a port that `address` and `port` would collide with.
    pub(crate) async fn publishes(
        &self,
        protocol: Protocol,
        address: Option<IpAddr>,
        port: u16,
    ) -> bool {
        let state = self.state.lock().await;
        let collides = |other: &PublishedPort| {
            (other.protocol, other.host) == (protocol, port) && overlap(other.address, address)
        };
        state.applied.as_ref().is_some_and(|applied| applied.ports.iter().any(collides))
    }

    fn ask(&self, desired: &HostNetwork, how: Apply) {
        let mut asked = self.asked.lock().expect("no holder of the lock panics");
        let (value, how) = match asked.take() {
            Some((waiting, Apply::Everything)) => (waiting.or_newer(desired), Apply::Everything),
            Some((waiting, Apply::Changes)) => (waiting.or_newer(desired), how),
            None => (desired.clone(), how),
        };
        *asked = Some((value, how));
    }
}

impl HostNetwork {
    fn or_newer(self, other: &HostNetwork) -> HostNetwork {
        if other.generation >= self.generation { other.clone() } else { self }
    }
}

impl State {
    fn is_newer_than(&self, value: &HostNetwork) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.generation > value.generation)
    }

    fn report(&self, changed: bool) -> Applied {
        let conflict = |(port, refusal): &(PublishedPort, Refusal)| PortConflict {
            port: port.clone(),
            error: refusal.error(port),
        };
        Applied { changed, conflicts: self.refused.iter().map(conflict).collect() }
    }

    /// Brings the firewall to `desired`; says whether anything was written.
    fn bring_to(&mut self, names: &Names, desired: HostNetwork, how: Apply) -> Result<bool> {
        let mut host = Rtnl::open()?;
        let addresses = host_addresses(&mut host, names, &desired)?;
        let loopback6 = !sysctl::filters_bridges6();
        let (reached, refused) = self.choose(desired, &addresses, loopback6)?;
        let before = self.applied.as_ref().filter(|_| how == Apply::Changes);
        if before.is_none_or(|before| !before.same_addresses(&reached)) {
            settle_addresses(&mut host, &reached)?;
        }
        let changed = match before {
            Some(before) if before.same_but_ports(&reached) => {
                self.write_ports(names, before, &reached)?
            }
            _ => {
                write_all(&mut host, names, &reached)?;
                true
            }
        };
        let datagrams = changed && may_have_stale(before, &reached);
        self.holds.keep_only(&reached.ports, &addresses);
        self.refused = refused;
        self.applied = Some(reached);
        if datagrams {
            self.forget_stale(&mut host)?;
        }
        Ok(changed)
    }

    /// Parts the ports that can be published from those that can't.
    fn choose(
        &mut self,
        mut desired: HostNetwork,
        addresses: &[IpAddr],
        loopback6: bool,
    ) -> Result<(HostNetwork, Vec<(PublishedPort, Refusal)>)> {
        let mut places = BTreeSet::new();
        let (mut good, mut refused) = (Vec::new(), Vec::new());
        // Who has a port keeps it: of two who want the same, the one published already comes first.
        let (known, new): (Vec<_>, Vec<_>) =
            std::mem::take(&mut desired.ports).into_iter().partition(|port| self.publishes(port));
        for port in known.into_iter().chain(new) {
            if port.address == Some(IpAddr::V6(Ipv6Addr::LOCALHOST)) && !loopback6 {
                refused.push((port, Refusal::Loopback6));
                continue;
            }
            match self.consider(&desired, &port, addresses, &mut places)? {
                None => good.push(port),
                Some(refusal) => refused.push((port, refusal)),
            }
        }
        desired.ports = good;
        Ok((desired, refused))
    }

    fn publishes(&self, port: &PublishedPort) -> bool {
        self.applied.as_ref().is_some_and(|applied| applied.ports.contains(port))
    }

    fn consider(
        &mut self,
        desired: &HostNetwork,
        port: &PublishedPort,
        addresses: &[IpAddr],
        places: &mut BTreeSet<(&'static str, String)>,
    ) -> Result<Option<Refusal>> {
        if desired.reserved.contains(&(port.protocol, port.host)) {
            return Ok(Some(Refusal::Reserved));
        }
        let network = desired.networks.iter().find(|network| network.id == port.network);
        let elements = render::elements(desired, port);
        if network.is_none_or(|network| network.internal) || elements.is_empty() {
            return Ok(Some(Refusal::Unreachable));
        }
        let place = |element: &Element| (element.place().0, element.place().1.to_owned());
        if elements.iter().any(|element| places.contains(&place(element))) {
            return Ok(Some(Refusal::Twice));
        }
        let outcome = self.holds.hold(port, addresses)?;
        if outcome == Outcome::Ours {
            places.extend(elements.iter().map(place));
        }
        Ok(match outcome {
            Outcome::Ours => None,
            Outcome::Taken => Some(Refusal::Taken),
            Outcome::NoAddress => Some(Refusal::NoAddress),
        })
    }

    fn write_ports(
        &self,
        names: &Names,
        before: &HostNetwork,
        after: &HostNetwork,
    ) -> Result<bool> {
        let (old, new) = (render::Content::of(before), render::Content::of(after));
        let script = render::change(&names.table(), &old, &new);
        if script.is_empty() {
            return Ok(false);
        }
        match nft::load(&script) {
            Ok(()) => Ok(true),
            // Somebody flushed our table, so that there is nothing to change in it.
            Err(_) => write_all(&mut Rtnl::open()?, names, after).map(|()| true),
        }
    }

    /// A flow of datagrams never ends by itself; one that was led by the rules of before would go on
    /// to where they led. Connections end and start anew.
    fn forget_stale(&self, host: &mut Rtnl) -> Result<()> {
        let Some(applied) = &self.applied else { return Ok(()) };
        let local: BTreeSet<IpAddr> =
            host.addresses()?.iter().map(|address| address.net.addr()).collect();
        conntrack::forget(|flow| flow.is_stale(applied, &local))
    }
}

impl HostNetwork {
    fn same_but_ports(&self, other: &HostNetwork) -> bool {
        let HostNetwork { generation: _, networks, services: _, ports: _, reserved: _, metadata } =
            self;
        *networks == other.networks && *metadata == other.metadata
    }

    /// Whether services have the same addresses on the same networks.
    fn same_addresses(&self, other: &HostNetwork) -> bool {
        let all = |value: &HostNetwork| -> BTreeSet<(String, IpAddr)> {
            value.leading().map(|(network, _, address)| (network.bridge.clone(), address)).collect()
        };
        self.networks == other.networks && all(self) == all(other)
    }

    /// Whether each member of a service is one of it in the other value, too.
    fn keeps_members(&self, other: &HostNetwork) -> bool {
        self.services.iter().all(|service| {
            let after = other
                .services
                .iter()
                .find(|it| (&it.id, &it.network) == (&service.id, &service.network));
            let after = after.map_or(&[][..], |it| &it.members);
            service.members.iter().all(|member| after.contains(member))
        })
    }
}

impl Refusal {
    fn error(self, port: &PublishedPort) -> Error {
        let name = port.describe();
        match self {
            Refusal::Reserved => error::reserved(port),
            Refusal::Taken => error::taken(port),
            Refusal::Twice => error::twice(port),
            Refusal::NoAddress => Error::conflict(format!(
                "port {name} cannot be published: the host does not have the address"
            ))
            .next("publish it at an address that `ip address` shows, or at all"),
            Refusal::Loopback6 => Error::unsupported(format!(
                "port {name} cannot be published: bridges of this host pass the IPv6 firewall \
                 (br_netfilter), and then nothing is led away from ::1"
            ))
            .next(
                "publish it at 127.0.0.1, which `localhost` means as well, or, if nobody needs \
                 that, sysctl net.bridge.bridge-nf-call-ip6tables=0",
            ),
            Refusal::Unreachable => error::unreachable(port),
        }
    }
}

fn write_all(host: &mut Rtnl, names: &Names, value: &HostNetwork) -> Result<()> {
    let forwarding = Forwarding::plan(host, value)?;
    nft::load(&render::table(&names.table(), value, &forwarding.guards))?;
    forwarding.switch_on()
}

/// Gives each bridge the addresses of its services: the host answers for them, and leads on what comes.
fn settle_addresses(host: &mut Rtnl, value: &HostNetwork) -> Result<()> {
    for network in &value.networks {
        let own = value.leading().filter(|(of, ..)| of.id == network.id);
        let addresses: Vec<IpAddr> = own.map(|(.., address)| address).collect();
        crate::real::settle_singles(host, &network.bridge, &addresses)?;
    }
    Ok(())
}

/// Whether datagrams may still be led by other rules than these.
fn may_have_stale(before: Option<&HostNetwork>, after: &HostNetwork) -> bool {
    let udp = |value: &HostNetwork| -> BTreeSet<PublishedPort> {
        value.ports.iter().filter(|port| port.protocol == Protocol::Udp).cloned().collect()
    };
    before.is_none_or(|before| udp(before) != udp(after) || !before.keeps_members(after))
}

/// Addresses under which the host is reached, loopback's with them; only port 53 asks for them.
fn host_addresses(host: &mut Rtnl, names: &Names, desired: &HostNetwork) -> Result<Vec<IpAddr>> {
    if !desired.ports.iter().any(|port| port.host == 53) {
        return Ok(Vec::new());
    }
    let uplink = crate::real::uplink(host, names)?;
    let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    Ok(loopback.into_iter().chain(uplink.addresses).collect())
}

fn overlap(one: Option<IpAddr>, two: Option<IpAddr>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => {
            one == two
                || (one.is_ipv4() == two.is_ipv4()
                    && (one.is_unspecified() || two.is_unspecified()))
        }
        _ => true,
    }
}
