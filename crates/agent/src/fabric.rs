//! The node's part of all networks: bridges as they are needed, and one firewall value that knows
//! every published port.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use faults::may_die;
use ipnet::IpNet;
use model::instance::Reason;
use model::network::{Network, NetworkSpec};
use model::node::Unpublished;
use model::{Error, Result, Uid};
use network::{
    Applied, Apply, Balanced, Driver, HostNetwork, NetworkLinks, PortConflict, PublishedPort,
    Uplink,
};
use tokio::sync::Mutex;

/// What of the network is present on the node.
pub struct Fabric {
    driver: Arc<dyn Driver>,
    mtu: AtomicU32,
    host: Mutex<Host>,
}

#[derive(Default)]
struct Host {
    generation: u64,
    networks: BTreeMap<Uid, NetworkLinks>,
    ports: BTreeMap<Uid, Vec<PublishedPort>>,
    services: Services,
    /// Ports of services that could not be published.
    unpublished: Vec<Unpublished>,
    reserved: Vec<(model::instance::Protocol, u16)>,
    metadata: Option<u16>,
    /// The last value that could not be applied, until a newer one is.
    failed: Option<u64>,
}

/// Addresses that lead to one of several instances, and ports that lead to such addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// The addresses.
    pub addresses: Vec<Balanced>,
    /// The ports.
    pub ports: Vec<PublishedPort>,
}

impl Services {
    /// Whose port a conflict is about, where it is a service's.
    fn unpublished(&self, conflict: &PortConflict) -> Option<Unpublished> {
        let port = self.ports.iter().find(|port| **port == conflict.port)?;
        let targets = [port.target4.map(IpAddr::V4), port.target6.map(IpAddr::V6)];
        let leads_to = |address: &IpAddr| targets.contains(&Some(*address));
        let owner = self
            .addresses
            .iter()
            .find(|it| it.network == port.network && it.addresses.iter().any(leads_to))?;
        let reason = Reason::from_error(TAKEN, &conflict.error);
        Some(Unpublished { service: owner.id.clone(), reason })
    }
}

/// The code of what could not be published.
const TAKEN: &str = "PortTaken";

impl Fabric {
    /// The fabric of a node; `reserved` are ports the platform itself listens on, `metadata` is the
    /// one of each gateway that answers who asks for metadata.
    pub fn new(
        driver: Arc<dyn Driver>,
        reserved: Vec<(model::instance::Protocol, u16)>,
        metadata: Option<u16>,
    ) -> Self {
        let host = Mutex::new(Host { reserved, metadata, ..Default::default() });
        Self { driver, mtu: AtomicU32::new(network::Uplink::ETHERNET_MTU), host }
    }

    /// The driver, for what concerns one instance alone.
    pub fn driver(&self) -> &dyn Driver {
        self.driver.as_ref()
    }

    /// Takes over the uplink's packet size for networks made from now on.
    pub fn set_mtu(&self, mtu: u32) {
        self.mtu.store(mtu, Ordering::Relaxed);
    }

    /// The value of a network on this node.
    pub fn links(&self, network: &Network) -> NetworkLinks {
        self.links_of(&network.meta.id, &network.spec)
    }

    /// The value of a network that may be this node's own.
    pub fn links_of(&self, id: &Uid, spec: &NetworkSpec) -> NetworkLinks {
        let mtu = self.mtu.load(Ordering::Relaxed);
        NetworkLinks::of(id, spec, self.driver.names(), mtu)
    }

    /// Makes sure that networks are there: bridge and firewall. Costs nothing when they are. Says
    /// whether anything had to be made.
    pub async fn ensure(&self, wanted: &[NetworkLinks]) -> Result<bool> {
        let (missing, failed): (Vec<&NetworkLinks>, bool) = {
            let host = self.host.lock().await;
            let missing = |links: &&NetworkLinks| host.networks.get(&links.id) != Some(*links);
            (wanted.iter().filter(missing).collect(), host.failed.is_some())
        };
        if wanted.is_empty() || (missing.is_empty() && !failed) {
            return Ok(false);
        }
        let any = !missing.is_empty();
        for links in &missing {
            self.driver.ensure_network(links).await?;
        }
        may_die("networks.bridge");
        let value = {
            let mut host = self.host.lock().await;
            for links in missing {
                host.networks.insert(links.id.clone(), links.clone());
            }
            host.value()
        };
        self.apply(&value, Apply::Changes).await?;
        may_die("networks.applied");
        Ok(any)
    }

    /// Brings the host to a value. What was not applied stands in the value all the same, so whoever
    /// needs it applies it again: nothing runs behind a firewall that is only wanted.
    async fn apply(&self, value: &HostNetwork, how: Apply) -> Result<Applied> {
        let outcome = self.driver.apply(value, how).await;
        let mut host = self.host.lock().await;
        match &outcome {
            Err(_) => host.failed = host.failed.max(Some(value.generation)),
            Ok(_) if host.failed.is_some_and(|failed| failed < value.generation) => {
                host.failed = None;
            }
            Ok(_) => {}
        }
        outcome
    }

    /// Whether the host is behind what it should be, because that could not be applied.
    pub async fn is_behind(&self) -> bool {
        self.host.lock().await.failed.is_some()
    }

    /// The networks that are present.
    pub async fn known(&self) -> std::collections::BTreeSet<Uid> {
        self.host.lock().await.networks.keys().cloned().collect()
    }

    /// The values of the networks that are present.
    pub async fn present(&self) -> Vec<NetworkLinks> {
        self.host.lock().await.networks.values().cloned().collect()
    }

    /// Takes a network away.
    pub async fn remove(&self, network: &Uid) -> Result<()> {
        let value = {
            let mut host = self.host.lock().await;
            host.networks.remove(network).map(|_| host.value())
        };
        if let Some(value) = value {
            self.apply(&value, Apply::Changes).await?;
        }
        may_die("networks.closed");
        self.driver.remove_network(network).await
    }

    /// Networks whose subnets the host reaches by other ways too, each in a sentence.
    pub async fn overlaps(&self, uplink: &Uplink) -> Vec<String> {
        let host = self.host.lock().await;
        let mut said = Vec::new();
        for links in host.networks.values() {
            let own = [links.ipv4.map(IpNet::from), links.ipv6.map(IpNet::from)];
            for net in own.into_iter().flatten().map(|net| net.trunc()) {
                let other = uplink.subnets.iter().find(|it| it.contains(&net) || net.contains(*it));
                said.extend(other.map(|other| {
                    format!(
                        "network {} has the subnet {net}, and the host a route to {other}: what lies in \
                         both is out of reach for one of them",
                        links.id.short()
                    )
                }));
            }
        }
        said
    }

    /// Remembers that these ports lead to an instance, without touching the host: for instances that
    /// run already when the platform starts.
    pub async fn adopt(&self, instance: &Uid, ports: Vec<PublishedPort>) {
        if !ports.is_empty() {
            self.host.lock().await.ports.insert(instance.clone(), ports);
        }
    }

    /// Remembers where services' addresses lead, without touching the host.
    pub async fn adopt_services(&self, services: Services) {
        self.host.lock().await.services = services;
    }

    /// Has services' addresses and ports lead where they are wanted to. Whether there is news of ports
    /// that cannot be published, of which [`Fabric::unpublished`] tells.
    pub async fn balance(&self, services: Services) -> Result<bool> {
        let value = {
            let mut host = self.host.lock().await;
            // Who holds a port that could not be published may have let go of it.
            let whole = host.failed.is_none() && host.unpublished.is_empty();
            if whole && host.services == services {
                return Ok(false);
            }
            host.services = services.clone();
            host.value()
        };
        let applied = self.apply(&value, Apply::Changes).await?;
        let refused = applied.conflicts.iter();
        let unpublished: Vec<_> = refused.filter_map(|it| services.unpublished(it)).collect();
        let mut host = self.host.lock().await;
        let news = host.unpublished != unpublished;
        host.unpublished = unpublished;
        Ok(news)
    }

    /// Ports of services that could not be published.
    pub async fn unpublished(&self) -> Vec<Unpublished> {
        self.host.lock().await.unpublished.clone()
    }

    /// Makes ports lead to an instance. All or none: a port that is taken refuses the others too.
    pub async fn publish(&self, instance: &Uid, ports: Vec<PublishedPort>) -> Result<()> {
        let value = {
            let mut host = self.host.lock().await;
            let published = host.failed.is_none()
                && host.ports.get(instance).is_some_and(|present| *present == ports);
            if published || (ports.is_empty() && !host.ports.contains_key(instance)) {
                return Ok(());
            }
            host.ports.insert(instance.clone(), ports.clone());
            host.value()
        };
        let applied = self.apply(&value, Apply::Changes).await?;
        match own_conflict(applied, &ports) {
            None => Ok(()),
            Some(error) => {
                self.withdraw(instance).await?;
                Err(error)
            }
        }
    }

    /// Ends the publishing of an instance's ports.
    pub async fn withdraw(&self, instance: &Uid) -> Result<()> {
        let value = {
            let mut host = self.host.lock().await;
            host.ports.remove(instance).map(|_| host.value())
        };
        match value {
            Some(value) => self.apply(&value, Apply::Changes).await.map(drop),
            None => Ok(()),
        }
    }

    /// Writes the whole firewall anew: at the start, and now and then in case somebody flushed it.
    /// Before anything was applied there is nothing to write.
    pub async fn rewrite(&self) -> Result<()> {
        let value = {
            let mut host = self.host.lock().await;
            (host.generation > 0).then(|| host.value())
        };
        match value {
            Some(value) => self.apply(&value, Apply::Everything).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Host {
    fn value(&mut self) -> HostNetwork {
        self.generation += 1;
        let ports = self.services.ports.iter();
        HostNetwork {
            generation: self.generation,
            networks: self.networks.values().cloned().collect(),
            services: self
                .services
                .addresses
                .iter()
                .filter(|it| self.networks.contains_key(&it.network))
                .cloned()
                .collect(),
            ports: self
                .ports
                .values()
                .flatten()
                .chain(ports.filter(|port| self.networks.contains_key(&port.network)))
                .cloned()
                .collect(),
            reserved: self.reserved.clone(),
            metadata: self.metadata,
        }
    }
}

fn own_conflict(applied: Applied, ports: &[PublishedPort]) -> Option<Error> {
    let mut conflicts = applied.conflicts.into_iter();
    conflicts.find(|conflict| ports.contains(&conflict.port)).map(|conflict| conflict.error)
}
