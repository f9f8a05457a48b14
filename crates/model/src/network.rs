//! Network: what instances are joined to.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::object::{Kind, Noun, Object};

/// The network every project has, made with its first instance.
pub const DEFAULT_NETWORK: &str = "default";

/// Where instances ask for what they are, by HTTP: the address that clouds have for it.
pub const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Addresses that can be set aside; more are better left out by the range.
const MOST_RESERVED: usize = 256;

/// The noun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NetworkNoun;

/// A network.
pub type Network = Object<NetworkNoun>;

/// What was asked of a network. Subnets cannot be changed once instances are joined.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkSpec {
    /// IPv4 subnet, /8 to /29; one that is free is chosen when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ipv4: Option<Ipv4Net>,
    /// The host's address in it; the first one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub gateway4: Option<std::net::Ipv4Addr>,
    /// Part of the subnet that addresses are given from; all of it when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub range4: Option<Ipv4Net>,
    /// Addresses that no instance is given, as others have them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub reserved: Vec<std::net::IpAddr>,
    /// Give it IPv6 too; a unique local subnet (RFC 4193) is chosen unless `ipv6` says one.
    pub enable_ipv6: bool,
    /// IPv6 subnet, /64 at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ipv6: Option<Ipv6Net>,
    /// The host's address in it; the first one when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub gateway6: Option<std::net::Ipv6Addr>,
    /// No way in or out but between its members.
    pub internal: bool,
    /// Largest packet in bytes; the uplink's when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// What was seen of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkStatus {
    /// Name of its bridge on the node.
    pub bridge: String,
    /// Why it does not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<crate::instance::Reason>,
}

impl Noun for NetworkNoun {
    const KIND: Kind = Kind::Network;
    const IN_PROJECT: bool = true;
    type Spec = NetworkSpec;
    type Status = NetworkStatus;

    fn validate(spec: &NetworkSpec) -> Result<()> {
        if let Some(subnet) = spec.ipv4 {
            if !(8..=29).contains(&subnet.prefix_len()) {
                return Err(Error::invalid(format!("{subnet} is not a /8 to /29")).at("ipv4"));
            }
            check_kind(subnet.into()).map_err(|error| error.at("ipv4"))?;
            if spec.range4.is_some_and(|range| !subnet.contains(&range)) {
                return Err(Error::invalid("not inside the subnet").at("range4"));
            }
        } else if spec.range4.is_some() || spec.gateway4.is_some() {
            return Err(Error::invalid("a range or gateway needs the subnet too").at("ipv4"));
        }
        if spec.gateway4.is_some_and(|gw| spec.ipv4.is_some_and(|net| !net.contains(&gw))) {
            return Err(Error::invalid("not inside the subnet").at("gateway4"));
        }
        let edge = |net: Ipv4Net| [net.network(), net.broadcast()];
        if spec.gateway4.is_some_and(|gw| spec.ipv4.is_some_and(|net| edge(net).contains(&gw))) {
            return Err(
                Error::invalid("the first and the last address are nobody's").at("gateway4")
            );
        }
        if let Some(subnet) = spec.ipv6 {
            if !(16..=120).contains(&subnet.prefix_len()) {
                return Err(Error::invalid(format!("{subnet} is not a /16 to /120")).at("ipv6"));
            }
            check_kind(subnet.into()).map_err(|error| error.at("ipv6"))?;
        }
        if spec.reserved.len() > MOST_RESERVED {
            return Err(Error::invalid(format!("more than {MOST_RESERVED}")).at("reserved"));
        }
        let inside = |address: &std::net::IpAddr| match address {
            std::net::IpAddr::V4(it) => spec.ipv4.is_some_and(|net| net.contains(it)),
            std::net::IpAddr::V6(it) => spec.ipv6.is_some_and(|net| net.contains(it)),
        };
        if let Some(address) = spec.reserved.iter().find(|it| !inside(it)) {
            return Err(Error::invalid(format!("{address} is not inside a subnet")).at("reserved"));
        }
        if spec.gateway6.is_some_and(|gw| spec.ipv6.is_none_or(|net| !net.contains(&gw))) {
            return Err(Error::invalid("not inside the subnet").at("gateway6"));
        }
        if spec.mtu.is_some_and(|mtu| !(576..=65535).contains(&mtu)) {
            return Err(Error::invalid("must lie between 576 and 65535").at("mtu"));
        }
        if spec.enable_ipv6 && spec.mtu.is_some_and(|mtu| mtu < 1280) {
            return Err(Error::invalid("IPv6 needs 1280 at least (RFC 8200, section 5)").at("mtu"));
        }
        Ok(())
    }
}

/// Addresses that no machine can have, or that mean something else to each (RFC 6890).
const SPECIAL: [(&str, &str); 9] = [
    ("0.0.0.0/8", "\"this network\""),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/8", "loopback and mapped IPv4"),
    ("64:ff9b::/96", "translated IPv4"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
];

fn check_kind(subnet: IpNet) -> Result<()> {
    let overlaps = |(range, _): &&(&str, &str)| {
        let range: IpNet = range.parse().expect("the table holds subnets");
        range.contains(&subnet) || subnet.contains(&range)
    };
    match SPECIAL.iter().find(overlaps) {
        None => Ok(()),
        Some((range, what)) => {
            Err(Error::invalid(format!("{subnet} is not for instances: {range} is {what}"))
                .next("take a private one, like 10.9.0.0/24 or fd00:9::/64"))
        }
    }
}

impl NetworkSpec {
    /// The host's IPv4 address with the prefix length.
    pub fn host4(&self) -> Option<Ipv4Net> {
        let subnet = self.ipv4?;
        let address = self.gateway4.or_else(|| subnet.hosts().next())?;
        Ipv4Net::new(address, subnet.prefix_len()).ok()
    }

    /// The host's IPv6 address with the prefix length.
    pub fn host6(&self) -> Option<Ipv6Net> {
        let subnet = self.ipv6?;
        let first = u128::from(subnet.network()) + 1;
        Ipv6Net::new(self.gateway6.unwrap_or_else(|| first.into()), subnet.prefix_len()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(ipv4: Option<&str>, ipv6: Option<&str>, gateway4: Option<&str>) -> Option<String> {
        let spec = NetworkSpec {
            ipv4: ipv4.map(|text| text.parse().unwrap()),
            ipv6: ipv6.map(|text| text.parse().unwrap()),
            gateway4: gateway4.map(|text| text.parse().unwrap()),
            ..NetworkSpec::default()
        };
        NetworkNoun::validate(&spec).err().map(|error| error.message().to_owned())
    }

    #[test]
    fn subnets_that_no_machine_can_have() {
        for good in ["10.9.0.0/24", "192.168.0.0/16", "172.16.0.0/12", "203.0.113.0/29"] {
            assert_eq!(refusal(Some(good), None, None), None);
        }
        for bad in ["127.0.0.0/24", "224.1.0.0/16", "169.254.9.0/24", "255.0.0.0/8", "0.0.0.0/8"] {
            let said = refusal(Some(bad), None, None).unwrap_or_default();
            assert!(said.contains("is not for instances"), "{bad}: {said}");
        }
        assert_eq!(refusal(None, Some("fd00:9::/64"), None), None);
        for bad in ["fe80::/64", "ff02::/64", "::/64", "::ffff:0:0/96"] {
            let said = refusal(None, Some(bad), None).unwrap_or_default();
            assert!(said.contains("is not for instances"), "{bad}: {said}");
        }
    }

    #[test]
    fn a_gateway_is_an_address_of_a_machine() {
        assert_eq!(refusal(Some("10.9.0.0/24"), None, Some("10.9.0.254")), None);
        for bad in ["10.9.0.0", "10.9.0.255", "10.8.0.1"] {
            assert!(refusal(Some("10.9.0.0/24"), None, Some(bad)).is_some(), "{bad}");
        }
    }
}
