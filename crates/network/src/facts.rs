//! What is seen of the host.

use std::net::IpAddr;

use ipnet::IpNet;
use model::Uid;

/// How the machine reaches the world, and what is taken on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uplink {
    /// Interface of the default route; none when there is no such route.
    pub interface: Option<String>,
    /// Its largest packet in bytes; 1500 when there is no default route.
    pub mtu: u32,
    /// Addresses of the host's interfaces, without loopback's and those of this node's bridges; those
    /// of the default route's interface first.
    pub addresses: Vec<IpAddr>,
    /// Subnets that are routed or addressed, without default routes and this node's own bridges. A
    /// subnet chosen for a network overlaps none of them.
    pub subnets: Vec<IpNet>,
    /// Whether the kernel has IPv6.
    pub ipv6: bool,
}

impl Uplink {
    /// MTU when no default route tells one (IEEE 802.3).
    pub const ETHERNET_MTU: u32 = 1500;

    /// Whether no route or address of the host lies in `subnet` and `subnet` lies in none.
    pub fn is_free(&self, subnet: &IpNet) -> bool {
        !self.subnets.iter().any(|taken| taken.contains(subnet) || subnet.contains(taken))
    }

    /// The address under which instances find the host (`host-gateway`, names for other machines).
    pub fn address(&self) -> Option<IpAddr> {
        self.addresses.iter().find(|a| a.is_ipv4()).or(self.addresses.first()).copied()
    }
}

/// What of this node's is present on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Names of this node's bridges.
    pub bridges: Vec<String>,
    /// Instances that have a network namespace.
    pub namespaces: Vec<Uid>,
    /// Links between instances and networks.
    pub interfaces: Vec<ObservedInterface>,
}

/// A link between an instance and a network, from the host's side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedInterface {
    /// Name of the host's end.
    pub link: String,
    /// The instance; none when the link doesn't say (it was left half made).
    pub instance: Option<Uid>,
    /// The network; none when the link doesn't say.
    pub network: Option<Uid>,
    /// Whether it can carry packets.
    pub up: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_free_only_without_any_overlap() {
        let uplink = Uplink {
            subnets: vec!["10.1.0.0/16".parse().unwrap(), "192.168.5.1/32".parse().unwrap()],
            ..Uplink::default()
        };
        for (subnet, free) in [
            ("10.1.2.0/24", false),
            ("10.0.0.0/8", false),
            ("10.2.0.0/16", true),
            ("192.168.5.0/24", false),
            ("fd00::/64", true),
        ] {
            assert_eq!(uplink.is_free(&subnet.parse().unwrap()), free, "{subnet}");
        }
    }
}
