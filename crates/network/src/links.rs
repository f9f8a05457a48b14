//! What is wanted: networks of the host, and the interfaces of instances.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use ipnet::{Ipv4Net, Ipv6Net};
use model::network::NetworkSpec;
use model::{Error, Result, Uid};
use serde::{Deserialize, Serialize};

use crate::names::{MAX_INTERFACE_NAME, Names};

/// What names of bridges between a guest's tap and its network begin with.
pub(crate) const INNER_BRIDGE: &str = "br-";

/// Where an instance may ask for names on its own loopback, as with Docker's engine: programs are
/// configured with it (nginx: `resolver 127.0.0.11`).
pub const NAMES_ASKED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 11), 53);
/// Where who answers there listens, so that a name server of the instance's own can have port 53. No
/// port above 60999 is given to who asks for any (`ip_local_port_range`).
pub const NAMES_ANSWERED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 11), 61053);

/// One network as the host has it: a bridge with the host's addresses.
///
/// A later overlay adds its tunnel here (identifier, peers); a network without one is node-local.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkLinks {
    /// The network's identity.
    pub id: Uid,
    /// Name of the bridge, [`Names::bridge`].
    pub bridge: String,
    /// The host's IPv4 address with the prefix length: the instances' gateway and name server.
    pub ipv4: Option<Ipv4Net>,
    /// The host's IPv6 address with the prefix length.
    pub ipv6: Option<Ipv6Net>,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// No way in or out but between members, and to the host's name server.
    pub internal: bool,
    /// What leaves the machine carries the host's address instead of the instance's.
    pub masquerade: bool,
}

impl NetworkLinks {
    /// The value for a network whose subnets are chosen. `mtu` counts when the network asks for none:
    /// the uplink's.
    pub fn of(id: &Uid, spec: &NetworkSpec, names: &Names, mtu: u32) -> Self {
        Self {
            id: id.clone(),
            bridge: names.bridge(id),
            ipv4: spec.host4(),
            ipv6: spec.enable_ipv6.then(|| spec.host6()).flatten(),
            mtu: spec.mtu.unwrap_or(mtu),
            internal: spec.internal,
            masquerade: !spec.internal,
        }
    }

    /// The address instances send what leaves the network to; none for an internal network.
    pub fn gateway4(&self) -> Option<Ipv4Addr> {
        self.ipv4.filter(|_| !self.internal).map(|net| net.addr())
    }

    /// As [`NetworkLinks::gateway4`], for IPv6.
    pub fn gateway6(&self) -> Option<Ipv6Addr> {
        self.ipv6.filter(|_| !self.internal).map(|net| net.addr())
    }
}

/// All interfaces of one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLinks {
    /// The instance's identity.
    pub id: Uid,
    /// Its interfaces; none: only loopback.
    pub interfaces: Vec<InterfaceLink>,
    /// It is a machine: what is between its interfaces and its guest is made and taken away with them.
    #[serde(default)]
    pub guest: bool,
}

/// One interface of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceLink {
    /// The network's identity.
    pub network: Uid,
    /// The network's bridge, which exists.
    pub bridge: String,
    /// Name inside the instance: `eth0`, `eth1` …
    pub name: String,
    /// Hardware address, `02:…`.
    pub mac: String,
    /// IPv4 address with the network's prefix length.
    pub ipv4: Option<Ipv4Net>,
    /// IPv6 address with the network's prefix length.
    pub ipv6: Option<Ipv6Net>,
    /// Next hop of the default IPv4 route, if this interface carries it.
    pub gateway4: Option<Ipv4Addr>,
    /// Next hop of the default IPv6 route, if this interface carries it.
    pub gateway6: Option<Ipv6Addr>,
    /// Largest packet, bytes.
    pub mtu: u32,
    /// The addresses are those of a guest: the interface is joined to a bridge inside,
    /// [`InterfaceLink::inner_bridge`], with a tap, [`InterfaceLink::tap`], and has none itself.
    #[serde(default)]
    pub guest: bool,
}

impl InstanceLinks {
    /// The value for an instance with these assigned interfaces; `networks` holds the network of each.
    /// The default route of a family goes through the first interface that has a gateway for it.
    pub fn of<'a>(
        id: &Uid,
        assigned: impl IntoIterator<Item = &'a model::instance::Interface>,
        networks: &[NetworkLinks],
    ) -> Result<Self> {
        let mut interfaces = Vec::new();
        let (mut route4, mut route6) = (false, false);
        for interface in assigned {
            let network = networks
                .iter()
                .find(|network| network.id == interface.network_id)
                .ok_or_else(|| {
                    Error::not_found(format!(
                        "network {:?} of instance {} is not known on this node",
                        interface.network,
                        id.short()
                    ))
                })?;
            let mut link = InterfaceLink::of(interface, network);
            link.gateway4 = link.gateway4.filter(|_| !std::mem::replace(&mut route4, true));
            link.gateway6 = link.gateway6.filter(|_| !std::mem::replace(&mut route6, true));
            interfaces.push(link);
        }
        Ok(Self { id: id.clone(), interfaces, guest: false })
    }

    /// The same for a machine: what is inside is a guest's.
    #[must_use]
    pub fn of_guest(mut self) -> Self {
        self.guest = true;
        self.interfaces.iter_mut().for_each(|interface| interface.guest = true);
        self
    }
}

impl InterfaceLink {
    /// The value for one assigned interface, with the default routes its network offers.
    pub fn of(interface: &model::instance::Interface, network: &NetworkLinks) -> Self {
        Self {
            network: network.id.clone(),
            bridge: network.bridge.clone(),
            name: interface.name.clone(),
            mac: interface.mac.clone(),
            ipv4: interface.ipv4,
            ipv6: interface.ipv6,
            gateway4: interface.ipv4.and(network.gateway4()),
            gateway6: interface.ipv6.and(network.gateway6()),
            mtu: network.mtu,
            guest: false,
        }
    }

    /// Name of the tap that a guest is behind.
    pub fn tap(&self) -> String {
        format!("tap-{}", self.name)
    }

    /// Name of the bridge between a guest's tap and the network.
    pub fn inner_bridge(&self) -> String {
        format!("{INNER_BRIDGE}{}", self.name)
    }

    /// The hardware address of the link itself: its own where the assigned one is a guest's.
    pub(crate) fn link_octets(&self) -> Result<[u8; 6]> {
        let mut octets = self.octets()?;
        if self.guest {
            // Bit 3 of the first octet is free in addresses of our own making (02:…).
            octets[0] ^= 0x04;
        }
        Ok(octets)
    }

    /// The hardware address as six octets.
    pub(crate) fn octets(&self) -> Result<[u8; 6]> {
        let mut octets = [0; 6];
        let mut parts = self.mac.split(':');
        for octet in &mut octets {
            *octet = parts
                .next()
                .and_then(|part| u8::from_str_radix(part, 16).ok())
                .ok_or_else(|| self.invalid("mac", "is not a hardware address"))?;
        }
        if parts.next().is_some() || octets[0] & 1 == 1 || octets == [0; 6] {
            return Err(self.invalid("mac", "is not the hardware address of one interface"));
        }
        Ok(octets)
    }

    /// Refuses what the kernel would refuse later or, worse, read as something else.
    pub(crate) fn validate(&self) -> Result<()> {
        let good = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
        if self.name.is_empty()
            || self.name.len() > MAX_INTERFACE_NAME
            || !self.name.bytes().all(good)
            || matches!(self.name.as_str(), "." | ".." | "lo" | "all" | "default")
        {
            return Err(self.invalid("name", "is not a name for an interface"));
        }
        if self.guest && self.tap().len() > MAX_INTERFACE_NAME {
            return Err(self.invalid("name", "is too long for an interface of a machine"));
        }
        self.octets().map(drop)
    }

    fn invalid(&self, field: &str, why: &str) -> Error {
        let value = if field == "mac" { &self.mac } else { &self.name };
        Error::invalid(format!("interface {:?}: {value:?} {why}", self.name)).at(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(byte: u8, internal: bool) -> NetworkLinks {
        let spec = NetworkSpec {
            ipv4: Some(format!("10.{byte}.0.0/24").parse().unwrap()),
            internal,
            ..NetworkSpec::default()
        };
        let names = Names::new("ab12c".parse().unwrap());
        NetworkLinks::of(&Uid::from_bytes([byte; 32]), &spec, &names, 1450)
    }

    fn interface(byte: u8, name: &str) -> model::instance::Interface {
        model::instance::Interface {
            network: "n".into(),
            network_id: Uid::from_bytes([byte; 32]),
            name: name.into(),
            ipv4: Some(format!("10.{byte}.0.5/24").parse().unwrap()),
            ipv6: None,
            mac: "02:00:00:00:00:05".into(),
            aliases: Vec::new(),
        }
    }

    #[test]
    fn the_first_network_with_a_way_out_carries_the_default_route() {
        let networks = [network(1, true), network(2, false), network(3, false)];
        let assigned = [interface(1, "eth0"), interface(2, "eth1"), interface(3, "eth2")];
        let links = InstanceLinks::of(&Uid::from_bytes([9; 32]), &assigned, &networks).unwrap();
        let gateways: Vec<_> = links.interfaces.iter().map(|link| link.gateway4).collect();
        assert_eq!(gateways, [None, Some("10.2.0.1".parse().unwrap()), None]);
        assert_eq!(links.interfaces[0].mtu, 1450);
    }

    #[test]
    fn hardware_addresses_and_names_are_checked() {
        let good = InterfaceLink::of(&interface(1, "eth0"), &network(1, false));
        assert!(good.validate().is_ok());
        for mac in ["", "02:00", "01:00:00:00:00:05", "02:00:00:00:00:05:06", "00:00:00:00:00:00"] {
            assert!(InterfaceLink { mac: mac.into(), ..good.clone() }.validate().is_err(), "{mac}");
        }
        for name in ["", "lo", "..", "a/b", "a name", "sixteen-letters-"] {
            assert!(InterfaceLink { name: name.into(), ..good.clone() }.validate().is_err());
        }
    }
}
