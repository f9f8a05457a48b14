//! A driver without a host, for tests of those who use one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Mutex;

use async_trait::async_trait;
use model::instance::Protocol;
use model::{Error, Result, Uid};

use crate::driver::{Applied, Apply, Disturbance, Driver, PortConflict};
use crate::error;
use crate::facts::{Observed, ObservedInterface, Uplink};
use crate::firewall::{HostNetwork, PublishedPort};
use crate::links::{InstanceLinks, InterfaceLink, NetworkLinks};
use crate::names::Names;
use crate::statistics::InterfaceStatistics;

/// Keeps in memory what the real driver keeps in the kernel, and refuses what the kernel refuses.
#[derive(Debug)]
pub struct FakeDriver {
    names: Names,
    directory: PathBuf,
    state: Mutex<State>,
    disturbance: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    bridges: BTreeMap<String, NetworkLinks>,
    instances: BTreeMap<Uid, BTreeMap<Uid, InterfaceLink>>,
    applied: Option<HostNetwork>,
    taken: BTreeSet<(Protocol, u16)>,
    uplink: Uplink,
    fault: Option<Error>,
}

impl FakeDriver {
    /// A host without networks, with an uplink of 1500 bytes and 192.0.2.10/24 (RFC 5737).
    pub fn new(names: Names) -> Self {
        let uplink = Uplink {
            interface: Some("uplink0".into()),
            mtu: Uplink::ETHERNET_MTU,
            addresses: vec![IpAddr::from([192, 0, 2, 10])],
            subnets: vec!["192.0.2.0/24".parse().expect("a subnet")],
            ipv6: true,
        };
        let directory = PathBuf::from(format!("/run/fake-{}/netns", names.tag()));
        let state = Mutex::new(State { uplink, ..State::default() });
        Self { names, directory, state, disturbance: tokio::sync::Notify::new() }
    }

    /// Another process of the host listens on the port from now on.
    pub fn take_port(&self, protocol: Protocol, port: u16) {
        self.state().taken.insert((protocol, port));
    }

    /// The other process is gone.
    pub fn give_port(&self, protocol: Protocol, port: u16) {
        self.state().taken.remove(&(protocol, port));
    }

    /// What [`Driver::uplink`] answers from now on.
    pub fn set_uplink(&self, uplink: Uplink) {
        self.state().uplink = uplink;
    }

    /// Somebody flushes all rules of the host, the platform's among them.
    pub fn flush(&self) {
        self.state().applied = None;
        self.disturbance.notify_one();
    }

    /// The next verb that changes something fails with this error and changes nothing.
    pub fn fail_next(&self, error: Error) {
        self.state().fault = Some(error);
    }

    /// The value applied last.
    pub fn applied(&self) -> Option<HostNetwork> {
        self.state().applied.clone()
    }

    /// The interfaces of an instance, in no order that matters; none when it has no namespace.
    pub fn interfaces(&self, instance: &Uid) -> Option<Vec<InterfaceLink>> {
        self.state().instances.get(instance).map(|links| links.values().cloned().collect())
    }

    /// The networks that have a bridge.
    pub fn networks(&self) -> Vec<NetworkLinks> {
        self.state().bridges.values().cloned().collect()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the lock panics")
    }

    fn change(&self) -> Result<std::sync::MutexGuard<'_, State>> {
        let mut state = self.state();
        match state.fault.take() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

impl State {
    fn check(&self, link: &InterfaceLink) -> Result<()> {
        link.validate()?;
        match self.bridges.contains_key(&link.bridge) {
            true => Ok(()),
            false => Err(error::no_bridge(&link.bridge)),
        }
    }

    /// Who has a port keeps it; the rest is looked at in order.
    fn conflicts(&self, desired: &HostNetwork) -> Vec<PortConflict> {
        let known = |port: &&PublishedPort| {
            self.applied.as_ref().is_some_and(|applied| applied.ports.contains(port))
        };
        let (first, then): (Vec<_>, Vec<_>) = desired.ports.iter().partition(known);
        let mut places = BTreeSet::new();
        let ports = first.into_iter().chain(then);
        ports
            .filter_map(|port| {
                let error = self.conflict(desired, port, &mut places)?;
                Some(PortConflict { port: port.clone(), error })
            })
            .collect()
    }

    fn conflict(
        &self,
        desired: &HostNetwork,
        port: &PublishedPort,
        places: &mut BTreeSet<(Protocol, Option<IpAddr>, u16)>,
    ) -> Option<Error> {
        let key = (port.protocol, port.host);
        let network = desired.networks.iter().find(|network| network.id == port.network);
        if desired.reserved.contains(&key) {
            Some(error::reserved(port))
        } else if network.is_none_or(|network| network.internal) {
            Some(error::unreachable(port))
        } else if self.taken.contains(&key) {
            Some(error::taken(port))
        } else if !places.insert((port.protocol, port.address, port.host)) {
            Some(error::twice(port))
        } else {
            None
        }
    }

    fn observed(&self, names: &Names) -> Observed {
        let link = |instance: &Uid, network: &Uid, interface: &InterfaceLink| ObservedInterface {
            link: names.link(instance, network),
            instance: Some(instance.clone()),
            network: Some(network.clone()),
            up: self.bridges.contains_key(&interface.bridge),
        };
        let instances = self.instances.iter();
        Observed {
            bridges: self.bridges.keys().cloned().collect(),
            namespaces: self.instances.keys().cloned().collect(),
            interfaces: instances
                .flat_map(|(id, links)| links.iter().map(move |(net, i)| link(id, net, i)))
                .collect(),
        }
    }
}

#[async_trait]
impl Driver for FakeDriver {
    fn names(&self) -> &Names {
        &self.names
    }

    fn namespace(&self, instance: &Uid) -> PathBuf {
        self.directory.join(instance.as_str())
    }

    async fn ensure_network(&self, network: &NetworkLinks) -> Result<()> {
        self.change()?.bridges.insert(network.bridge.clone(), network.clone());
        Ok(())
    }

    async fn remove_network(&self, network: &Uid) -> Result<()> {
        self.change()?.bridges.remove(&self.names.bridge(network));
        Ok(())
    }

    async fn attach(&self, instance: &InstanceLinks) -> Result<PathBuf> {
        let mut state = self.change()?;
        instance.interfaces.iter().try_for_each(|link| state.check(link))?;
        let links = instance.interfaces.iter();
        let links = links.map(|link| (link.network.clone(), link.clone())).collect();
        state.instances.insert(instance.id.clone(), links);
        Ok(self.namespace(&instance.id))
    }

    async fn connect(&self, instance: &Uid, interface: &InterfaceLink) -> Result<()> {
        let mut state = self.change()?;
        state.check(interface)?;
        let links =
            state.instances.get_mut(instance).ok_or_else(|| error::no_namespace(instance))?;
        links.insert(interface.network.clone(), interface.clone());
        Ok(())
    }

    async fn disconnect(&self, instance: &Uid, network: &Uid) -> Result<()> {
        if let Some(links) = self.change()?.instances.get_mut(instance) {
            links.remove(network);
        }
        Ok(())
    }

    async fn detach(&self, instance: &Uid) -> Result<()> {
        self.change()?.instances.remove(instance);
        Ok(())
    }

    async fn apply(&self, desired: &HostNetwork, how: Apply) -> Result<Applied> {
        let mut state = self.change()?;
        let older = |last: &HostNetwork| last.generation > desired.generation;
        if state.applied.as_ref().is_some_and(older) {
            return Ok(Applied::default());
        }
        let conflicts = state.conflicts(desired);
        let mut reached = desired.clone();
        reached.ports.retain(|port| !conflicts.iter().any(|conflict| conflict.port == *port));
        let same = |last: &HostNetwork| {
            HostNetwork { generation: last.generation, ..reached.clone() } == *last
        };
        let changed = how == Apply::Everything || !state.applied.as_ref().is_some_and(same);
        state.applied = Some(reached);
        Ok(Applied { changed, conflicts })
    }

    async fn clear(&self) -> Result<()> {
        let mut state = self.change()?;
        state.bridges.clear();
        state.instances.clear();
        state.applied = None;
        Ok(())
    }

    async fn observe(&self) -> Result<Observed> {
        Ok(self.state().observed(&self.names))
    }

    async fn uplink(&self) -> Result<Uplink> {
        Ok(self.state().uplink.clone())
    }

    async fn is_port_free(
        &self,
        protocol: Protocol,
        _address: Option<IpAddr>,
        port: u16,
    ) -> Result<bool> {
        let state = self.state();
        let ours = state.applied.as_ref().is_some_and(|applied| {
            applied.ports.iter().any(|p| (p.protocol, p.host) == (protocol, port))
        });
        Ok(!ours && !state.taken.contains(&(protocol, port)))
    }

    async fn disturbed(&self) -> Result<Disturbance> {
        self.disturbance.notified().await;
        Ok(Disturbance::Ours)
    }

    async fn neighbour(&self, network: &Uid, address: Ipv4Addr) -> Result<Option<Uid>> {
        let state = self.state();
        let has = |link: &InterfaceLink| link.ipv4.is_some_and(|net| net.addr() == address);
        let mut found = state.instances.iter();
        let found = found.find(|(_, links)| links.get(network).is_some_and(has));
        Ok(found.map(|(instance, _)| instance.clone()))
    }

    async fn statistics(&self, instance: &Uid) -> Result<Vec<InterfaceStatistics>> {
        let state = self.state();
        let links = state.instances.get(instance).into_iter().flatten();
        let mut all: Vec<_> = links
            .map(|(network, link)| InterfaceStatistics {
                name: link.name.clone(),
                network: network.clone(),
                rx_bytes: 0,
                rx_packets: 0,
                rx_errors: 0,
                rx_dropped: 0,
                tx_bytes: 0,
                tx_packets: 0,
                tx_errors: 0,
                tx_dropped: 0,
            })
            .collect();
        all.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(all)
    }
}
