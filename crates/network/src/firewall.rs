//! What is wanted of the firewall: networks kept apart, and ports that lead to instances.

pub(crate) mod apply;
mod balance;
mod forwarding;
pub(crate) mod hold;
mod nft;
mod render;
pub(crate) mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use model::Uid;
use model::instance::Protocol;
use serde::{Deserialize, Serialize};

use crate::links::NetworkLinks;

pub use balance::Balanced;

/// Everything the node's firewall depends on. [`crate::Driver::apply`] renders and replaces it whole.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostNetwork {
    /// Grows with each change; an older value never replaces a newer one.
    pub generation: u64,
    /// The networks present on the node.
    pub networks: Vec<NetworkLinks>,
    /// Addresses of networks that lead to one of several members each.
    #[serde(default)]
    pub services: Vec<Balanced>,
    /// The ports that lead to instances of the node, or to such an address' members.
    pub ports: Vec<PublishedPort>,
    /// Ports that the platform itself listens on, which are never published.
    pub reserved: Vec<(Protocol, u16)>,
    /// Port of each gateway that answers members who ask [`model::network::METADATA`]; none: they ask the outside.
    #[serde(default)]
    pub metadata: Option<u16>,
}

/// One port of the host that leads to one port of an instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The network through which the instance is reached.
    pub network: Uid,
    /// What runs over it.
    pub protocol: Protocol,
    /// Address of the host it is reached at. None: every one; `0.0.0.0`: every IPv4 one; `::`: every
    /// IPv6 one.
    pub address: Option<IpAddr>,
    /// Port of the host.
    pub host: u16,
    /// The instance's IPv4 address.
    pub target4: Option<Ipv4Addr>,
    /// The instance's IPv6 address.
    pub target6: Option<Ipv6Addr>,
    /// Port inside the instance.
    pub target: u16,
}

impl PublishedPort {
    /// The value for a single assigned port of an instance reached through `interface`. Nothing when
    /// no host port is assigned.
    pub fn of(
        port: &model::instance::Port,
        interface: &model::instance::Interface,
    ) -> Option<Self> {
        Some(Self {
            network: interface.network_id.clone(),
            protocol: port.protocol,
            address: port.address,
            host: port.host?,
            target4: interface.ipv4.map(|net| net.addr()),
            target6: interface.ipv6.map(|net| net.addr()),
            target: port.target,
        })
    }

    /// The port as people write it: `127.0.0.1:8080/tcp`.
    pub fn describe(&self) -> String {
        match self.address {
            Some(IpAddr::V6(address)) => {
                format!("[{address}]:{}/{}", self.host, self.protocol.as_str())
            }
            Some(address) => format!("{address}:{}/{}", self.host, self.protocol.as_str()),
            None => format!("{}/{}", self.host, self.protocol.as_str()),
        }
    }
}
