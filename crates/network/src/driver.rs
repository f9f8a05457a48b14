//! The interface of the room.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use async_trait::async_trait;
use model::instance::Protocol;
use model::{Error, Result, Uid};

use crate::facts::{Observed, Uplink};
use crate::firewall::{HostNetwork, PublishedPort};
use crate::links::{InstanceLinks, InterfaceLink, NetworkLinks};
use crate::names::Names;
use crate::statistics::InterfaceStatistics;

/// How much of the firewall [`Driver::apply`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    /// What differs from the value applied last; nothing if nothing does.
    Changes,
    /// All of it, as at the start and now and then, in case somebody flushed our table.
    Everything,
}

/// What [`Driver::apply`] did.
#[derive(Debug, Default)]
pub struct Applied {
    /// Whether anything was written.
    pub changed: bool,
    /// Ports that are not published, and why. All others are.
    pub conflicts: Vec<PortConflict>,
}

/// Whose rules somebody else has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disturbance {
    /// Others'.
    Others,
    /// Ours, or perhaps ours: they have to be applied again, [`Apply::Everything`].
    Ours,
}

/// A port that could not be published.
#[derive(Debug)]
pub struct PortConflict {
    /// The port.
    pub port: PublishedPort,
    /// Who has it, and what to do.
    pub error: Error,
}

/// The network of one node. All verbs are idempotent, may run at the same time for different
/// instances and networks, and leave nothing of others' touched.
#[async_trait]
pub trait Driver: Send + Sync + 'static {
    /// Names of this node's bridges, links and table.
    fn names(&self) -> &Names;

    /// Where the network namespace of an instance is, whether it exists or not:
    /// `<run dir>/netns/<id>`. Hand it to the container engine as the path of the namespace.
    fn namespace(&self, instance: &Uid) -> PathBuf;

    /// Makes the network's bridge, or brings it to what `network` says.
    async fn ensure_network(&self, network: &NetworkLinks) -> Result<()>;

    /// Removes the network's bridge. Links still joined to it stay, without a bridge. Fine if it is
    /// gone already.
    async fn remove_network(&self, network: &Uid) -> Result<()>;

    /// Makes the instance's network namespace with exactly these interfaces and loopback up, and
    /// returns its path. What exists and is right is left alone; what exists and isn't is changed,
    /// interfaces to other networks of this node are removed. The bridges must exist.
    async fn attach(&self, instance: &InstanceLinks) -> Result<PathBuf>;

    /// Joins an instance that has a namespace to one more network.
    async fn connect(&self, instance: &Uid, interface: &InterfaceLink) -> Result<()>;

    /// Parts an instance from a network. A default route that went this way is gone; call
    /// [`Driver::attach`] with what is left to have the next interface carry it.
    async fn disconnect(&self, instance: &Uid, network: &Uid) -> Result<()>;

    /// Cuts the instance's links off and removes its namespace; the kernel ends both in the
    /// background, some 50 ms later. Its addresses can be given to others at once. Processes that
    /// still run inside keep the namespace, without a way out of it, until they end. Fine if all is
    /// gone already.
    async fn detach(&self, instance: &Uid) -> Result<()>;

    /// Brings the firewall and the published ports to `desired`, in one transaction. A value older
    /// than the one applied last is passed over. Calls made at the same time are served together, so
    /// a report speaks of the newest value. Of two who want the same port, the one that has it keeps
    /// it. Call it after [`Driver::ensure_network`] and before instances are attached: until then the
    /// network is neither closed off nor open.
    async fn apply(&self, desired: &HostNetwork, how: Apply) -> Result<Applied>;

    /// Removes everything of this node from the host: table, links, namespaces, bridges.
    async fn clear(&self) -> Result<()>;

    /// What of this node's is present, for sweeping.
    async fn observe(&self) -> Result<Observed>;

    /// How the machine reaches the world, and which subnets are taken.
    async fn uplink(&self) -> Result<Uplink>;

    /// Whether a port of the host could be published now: nobody listens on it, and this node
    /// doesn't publish it. Found out by really taking it for a moment.
    async fn is_port_free(
        &self,
        protocol: Protocol,
        address: Option<IpAddr>,
        port: u16,
    ) -> Result<bool>;

    /// Ends when somebody else has changed the host's rules, ours or their own; entries that come and go
    /// in sets don't count. What happens between two calls is not missed, from the first call on. One
    /// caller at a time.
    async fn disturbed(&self) -> Result<Disturbance>;

    /// The instance whose link the owner of an address was last heard on. Members of a network can take
    /// each other's addresses, but not the link they sit at, which says in the kernel whose it is.
    async fn neighbour(&self, network: &Uid, address: Ipv4Addr) -> Result<Option<Uid>>;

    /// Counters of an instance's interfaces, in the order of their names; none when it has none.
    async fn statistics(&self, instance: &Uid) -> Result<Vec<InterfaceStatistics>>;
}
