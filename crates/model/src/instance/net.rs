//! How an instance is joined to the network.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::error::Code;
use crate::error::{Error, Result};
use crate::name::{check_host_name, check_name};
use crate::network::DEFAULT_NETWORK;

/// Which network namespace an instance has and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", tag = "mode")]
pub enum NetworkMode {
    /// Its own, joined to these networks; to the project's default one when the list is empty.
    #[serde(rename_all = "camelCase")]
    Networks {
        /// The networks, first one first: it carries the default route.
        #[serde(default)]
        attachments: Vec<Attachment>,
    },
    /// The host's.
    Host,
    /// Its own, with loopback only.
    None,
    /// That of another instance on the node.
    #[serde(rename_all = "camelCase")]
    Instance {
        /// Its name.
        name: String,
    },
}

impl Default for NetworkMode {
    fn default() -> Self {
        Self::Networks { attachments: Vec::new() }
    }
}

/// A network an instance is joined to, and what is wished of it there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    /// The network's name in the project; `default` is the project's own.
    pub network: String,
    /// Further names it answers to there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// A fixed address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ipv4: Option<Ipv4Addr>,
    /// A fixed address.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub ipv6: Option<Ipv6Addr>,
    /// A fixed hardware address, `02:42:ac:11:00:02`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}

/// What runs over IP.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Protocol {
    /// RFC 9293.
    #[default]
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
}

impl Protocol {
    /// `tcp`, `udp` or `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        }
    }
}

/// A port of the host that leads to a port of the instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Port inside the instance.
    pub target: u16,
    /// Port of the host; absent: a free one is chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<u16>,
    /// Address of the host it is reached at; every one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<IpAddr>,
    /// What runs over it.
    #[serde(default)]
    pub protocol: Protocol,
    /// So many ports in a row from each of the two; 1 unless given.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub count: u16,
}

fn one() -> u16 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_one(n: &u16) -> bool {
    *n == 1
}

impl NetworkMode {
    /// Whether the network namespace is the instance's own: only then can it be joined to a network and
    /// parted from one.
    pub fn is_own(&self) -> bool {
        match self {
            NetworkMode::Networks { .. } | NetworkMode::None => true,
            NetworkMode::Host | NetworkMode::Instance { .. } => false,
        }
    }

    /// The networks joined, first one first.
    fn joined(&self) -> Result<Vec<Attachment>> {
        match self {
            NetworkMode::Networks { attachments } if attachments.is_empty() => {
                Ok(vec![Attachment { network: DEFAULT_NETWORK.into(), ..Attachment::default() }])
            }
            NetworkMode::Networks { attachments } => Ok(attachments.clone()),
            NetworkMode::None => Ok(Vec::new()),
            NetworkMode::Host | NetworkMode::Instance { .. } => {
                Err(Error::conflict("has no network namespace of its own")
                    .at("network")
                    .next("make it anew without --network host or --network instance:NAME"))
            }
        }
    }

    /// Joins one more network, as the last one.
    ///
    /// # Errors
    /// `Conflict` when it is joined already, or the namespace is another's.
    pub fn connect(&mut self, attachment: Attachment) -> Result<()> {
        let mut attachments = self.joined()?;
        if attachments.iter().any(|it| it.network == attachment.network) {
            let name = &attachment.network;
            return Err(Error::conflict(format!("is joined to network {name:?} already"))
                .coded(Code::JoinedAlready)
                .at("network")
                .next("hull network disconnect it first, to join it in another way"));
        }
        attachments.push(attachment);
        *self = NetworkMode::Networks { attachments };
        Ok(())
    }

    /// Parts from a network; from the last one, and loopback alone is left.
    ///
    /// # Errors
    /// `NotFound` when it is not joined, `Conflict` when the namespace is another's.
    pub fn disconnect(&mut self, network: &str) -> Result<()> {
        let mut attachments = self.joined()?;
        let before = attachments.len();
        attachments.retain(|it| it.network != network);
        if attachments.len() == before {
            return Err(
                Error::not_found(format!("is not joined to network {network:?}")).at("network")
            );
        }
        *self = match attachments.is_empty() {
            true => NetworkMode::None,
            false => NetworkMode::Networks { attachments },
        };
        Ok(())
    }

    pub(super) fn validate(&self) -> Result<()> {
        match self {
            NetworkMode::Networks { attachments } => {
                let mut seen = BTreeSet::new();
                for (i, attachment) in attachments.iter().enumerate() {
                    let place = format!("attachments[{i}]");
                    attachment.validate().map_err(|error| error.under(&place))?;
                    if !seen.insert(&attachment.network) {
                        return Err(Error::invalid(format!(
                            "joined twice to network {:?}",
                            attachment.network
                        ))
                        .at(place));
                    }
                }
                Ok(())
            }
            NetworkMode::Instance { name } => check_name(name).map_err(|error| error.at("name")),
            NetworkMode::Host | NetworkMode::None => Ok(()),
        }
    }
}

impl Attachment {
    fn validate(&self) -> Result<()> {
        check_name(&self.network).map_err(|error| error.at("network"))?;
        for alias in &self.aliases {
            check_host_name(alias).map_err(|error| error.at("aliases"))?;
        }
        match &self.mac {
            Some(mac) => check_mac(mac),
            None => Ok(()),
        }
    }
}

fn check_mac(mac: &str) -> Result<()> {
    let octets: Vec<_> = mac.split(':').map(|part| u8::from_str_radix(part, 16)).collect();
    let unicast = octets.first().is_some_and(|first| matches!(first, Ok(octet) if octet & 1 == 0));
    let six = octets.len() == 6 && octets.iter().all(Result::is_ok);
    if six && unicast && mac.len() == 17 {
        Ok(())
    } else {
        Err(Error::invalid(format!("{mac:?} is not a unicast hardware address")).at("mac"))
    }
}

impl Port {
    /// The single ports this stands for.
    pub fn expand(&self) -> impl Iterator<Item = Port> + '_ {
        (0..self.count.max(1)).map(|i| Port {
            target: self.target.saturating_add(i),
            host: self.host.map(|host| host.saturating_add(i)),
            count: 1,
            ..self.clone()
        })
    }

    /// Whether both could not be served by one host.
    pub fn collides(&self, other: &Port) -> bool {
        let address = match (self.address, other.address) {
            (Some(one), Some(two)) => one == two || one.is_unspecified() || two.is_unspecified(),
            _ => true,
        };
        self.host.is_some() && self.host == other.host && self.protocol == other.protocol && address
    }

    pub(super) fn validate(&self) -> Result<()> {
        let last = |first: u16| u32::from(first) + u32::from(self.count) - 1;
        if self.count == 0 || self.target == 0 || last(self.target) > 65535 {
            return Err(Error::invalid("ports inside must lie between 1 and 65535").at("target"));
        }
        if self.host.is_some_and(|host| host == 0 || last(host) > 65535) {
            return Err(Error::invalid("ports of the host must lie between 1 and 65535").at("host"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host: u16, address: Option<&str>) -> Port {
        let address = address.map(|text| text.parse().unwrap());
        Port { target: 80, host: Some(host), address, protocol: Protocol::Tcp, count: 1 }
    }

    #[test]
    fn collisions_depend_on_the_address() {
        assert!(port(80, None).collides(&port(80, Some("127.0.0.1"))));
        assert!(port(80, Some("0.0.0.0")).collides(&port(80, Some("10.0.0.1"))));
        assert!(!port(80, Some("10.0.0.2")).collides(&port(80, Some("10.0.0.1"))));
        assert!(!port(80, None).collides(&port(81, None)));
    }

    #[test]
    fn networks_come_and_go() {
        let to = |network: &str| Attachment { network: network.into(), ..Attachment::default() };
        let mut mode = NetworkMode::default();
        mode.connect(to("back")).unwrap();
        let attachments = vec![to("default"), to("back")];
        assert_eq!(mode, NetworkMode::Networks { attachments }, "the default one is said now");
        assert!(mode.connect(to("back")).is_err());
        assert!(mode.disconnect("front").is_err());
        mode.disconnect("default").unwrap();
        mode.disconnect("back").unwrap();
        assert_eq!(mode, NetworkMode::None);
        mode.connect(to("back")).unwrap();
        assert_eq!(mode, NetworkMode::Networks { attachments: vec![to("back")] });
        for mut other in [NetworkMode::Host, NetworkMode::Instance { name: "db".into() }] {
            assert!(other.connect(to("back")).is_err() && other.disconnect("back").is_err());
        }
    }

    #[test]
    fn a_range_is_taken_apart() {
        let range = Port { count: 3, ..port(8000, None) };
        let hosts: Vec<_> = range.expand().map(|port| (port.host, port.target)).collect();
        assert_eq!(hosts, [(Some(8000), 80), (Some(8001), 81), (Some(8002), 82)]);
    }
}
