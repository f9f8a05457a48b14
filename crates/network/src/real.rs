//! The driver of a real host.

mod bridge;
mod facts;
mod instance;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use bridge::settle_singles;
pub(crate) use facts::uplink;

use async_trait::async_trait;
use model::instance::Protocol;
use model::{Result, Uid};

use crate::driver::{Applied, Apply, Disturbance, Driver};
use crate::facts::{Observed, Uplink};
use crate::firewall::apply::Firewall;
use crate::firewall::watch::Watch;
use crate::firewall::{HostNetwork, hold};
use crate::kernel::namespace::{HostNamespace, NamespaceStore};
use crate::kernel::route::Rtnl;
use crate::links::{InstanceLinks, InterfaceLink, NetworkLinks};
use crate::names::Names;
use crate::statistics::InterfaceStatistics;

/// Drives the network of the machine, or of the network namespace, that this process runs in.
#[derive(Debug)]
pub struct NetDriver {
    host: HostNamespace,
    parts: Parts,
    firewall: Arc<Firewall>,
    watch: tokio::sync::Mutex<Option<Watch>>,
}

/// What the verbs work with.
#[derive(Debug, Clone)]
struct Parts {
    names: Names,
    namespaces: NamespaceStore,
    /// Held while bridges come and go. Two instances that start at once bring the same network, and the
    /// route of a bridge half made is nobody's.
    bridges: Arc<Mutex<()>>,
}

impl Parts {
    /// Makes, or changes, a bridge.
    fn ensure_bridge(&self, network: &NetworkLinks) -> Result<()> {
        let _alone = self.bridges.lock().unwrap_or_else(PoisonError::into_inner);
        bridge::ensure(&mut Rtnl::open()?, &self.names, network)
    }

    /// Removes a bridge.
    fn remove_bridge(&self, network: &Uid) -> Result<()> {
        let _alone = self.bridges.lock().unwrap_or_else(PoisonError::into_inner);
        bridge::remove(&mut Rtnl::open()?, &self.names.bridge(network))
    }
}

impl NetDriver {
    /// A driver that keeps namespaces in `<run directory>/netns`. Touches nothing yet.
    pub fn new(names: Names, run_directory: &Path) -> Self {
        Self::in_namespace(names, run_directory, HostNamespace::Current)
    }

    /// A driver of another network namespace than this process's.
    pub fn in_namespace(names: Names, run_directory: &Path, host: HostNamespace) -> Self {
        let namespaces = NamespaceStore::new(run_directory.join("netns"));
        let firewall = Arc::new(Firewall::new(names.clone()));
        let parts = Parts { names, namespaces, bridges: Arc::default() };
        Self { host, parts, firewall, watch: Default::default() }
    }

    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Parts) -> Result<T> + Send + 'static,
    {
        let parts = self.parts.clone();
        self.host.run(move || work(parts)).await
    }
}

#[async_trait]
impl Driver for NetDriver {
    fn names(&self) -> &Names {
        &self.parts.names
    }

    fn namespace(&self, instance: &Uid) -> PathBuf {
        self.parts.namespaces.path(instance)
    }

    async fn ensure_network(&self, network: &NetworkLinks) -> Result<()> {
        let network = network.clone();
        self.run(move |parts| parts.ensure_bridge(&network)).await
    }

    async fn remove_network(&self, network: &Uid) -> Result<()> {
        let network = network.clone();
        self.run(move |parts| parts.remove_bridge(&network)).await
    }

    async fn attach(&self, instance: &InstanceLinks) -> Result<PathBuf> {
        let instance = instance.clone();
        self.run(move |parts| parts.attach(&instance)).await
    }

    async fn connect(&self, instance: &Uid, interface: &InterfaceLink) -> Result<()> {
        let (instance, interface) = (instance.clone(), interface.clone());
        self.run(move |parts| parts.connect(&instance, &interface)).await
    }

    async fn disconnect(&self, instance: &Uid, network: &Uid) -> Result<()> {
        let (instance, network) = (instance.clone(), network.clone());
        self.run(move |parts| parts.disconnect(&instance, &network)).await
    }

    async fn detach(&self, instance: &Uid) -> Result<()> {
        let instance = instance.clone();
        self.run(move |parts| parts.detach(&instance)).await
    }

    async fn apply(&self, desired: &HostNetwork, how: Apply) -> Result<Applied> {
        self.firewall.apply(&self.host, desired, how).await
    }

    async fn clear(&self) -> Result<()> {
        self.firewall.clear(&self.host).await?;
        self.run(|parts| parts.clear()).await
    }

    async fn observe(&self) -> Result<Observed> {
        self.run(|parts| parts.observe()).await
    }

    async fn uplink(&self) -> Result<Uplink> {
        self.run(|parts| uplink(&mut Rtnl::open()?, &parts.names)).await
    }

    async fn is_port_free(
        &self,
        protocol: Protocol,
        address: Option<IpAddr>,
        port: u16,
    ) -> Result<bool> {
        if self.firewall.publishes(protocol, address, port).await {
            return Ok(false);
        }
        self.run(move |_| hold::is_free(protocol, address, port)).await
    }

    async fn disturbed(&self) -> Result<Disturbance> {
        let mut watch = self.watch.lock().await;
        let watch = match &mut *watch {
            Some(watch) => watch,
            none => {
                // A socket stays with the namespace it was opened in.
                let socket = self.run(|_| Watch::socket()).await?;
                none.insert(Watch::new(socket, self.parts.names.table())?)
            }
        };
        Ok(watch.disturbed().await)
    }

    async fn neighbour(&self, network: &Uid, address: Ipv4Addr) -> Result<Option<Uid>> {
        let network = network.clone();
        self.run(move |parts| parts.neighbour(&network, address)).await
    }

    async fn statistics(&self, instance: &Uid) -> Result<Vec<InterfaceStatistics>> {
        let instance = instance.clone();
        self.run(move |parts| parts.statistics(&instance)).await
    }
}
