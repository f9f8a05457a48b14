//! Names of what is ours on the host.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use model::{Error, Result, Uid};

/// Bytes an interface name may have: `IFNAMSIZ` (linux/if.h) less the final zero.
pub const MAX_INTERFACE_NAME: usize = 15;

/// The part of a node's identity that names of host objects carry: five characters of `a-z0-9`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeTag(String);

impl NodeTag {
    /// Characters in a tag. Two prefix letters, the tag and eight digits fill an interface name.
    pub const LENGTH: usize = 5;

    /// The tag of the node with this identity: its first five digits.
    pub fn of(node: &Uid) -> Self {
        Self(node.as_str()[..Self::LENGTH].to_owned())
    }
}

impl FromStr for NodeTag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let good = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        if text.len() == Self::LENGTH && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(format!("{text:?} is not a node tag of five characters a-z, 0-9")))
        }
    }
}

impl fmt::Display for NodeTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names of one node's bridges, interfaces and nftables table. All are functions of identities, so
/// that they need not be remembered anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    tag: NodeTag,
}

impl Names {
    /// The names of the node with this tag.
    pub fn new(tag: NodeTag) -> Self {
        Self { tag }
    }

    /// The node's tag.
    pub fn tag(&self) -> &NodeTag {
        &self.tag
    }

    /// The nftables table, family `inet`.
    pub fn table(&self) -> String {
        format!("hull-{}", self.tag)
    }

    /// The bridge of a network, 15 bytes.
    pub fn bridge(&self, network: &Uid) -> String {
        format!("hb{}{}", self.tag, &network.as_str()[..8])
    }

    /// The hardware address of the bridge of that name. One without an address of its own takes the
    /// smallest of its ports', and with it changes each time one comes or goes, which neighbours
    /// notice by lost packets.
    pub(crate) fn bridge_mac(bridge: &str) -> [u8; 6] {
        let [a, b, c, d] = fnv1a(bridge.bytes()).to_be_bytes();
        // Locally administered, unicast (IEEE 802, section 8.2); the second octet tells bridges from
        // instances.
        [0x02, 0xb5, a, b, c, d]
    }

    /// The link-local address of the bridge of that name, if its network has IPv6: the one that a
    /// router advertisement of this gateway comes from (RFC 4291, appendix A).
    pub fn bridge_link_local(bridge: &str) -> Ipv6Addr {
        let [a, b, c, d, e, f] = Self::bridge_mac(bridge);
        let octets = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
        Ipv6Addr::from(octets)
    }

    /// The host's end of the link between an instance and a network, 15 bytes.
    pub fn link(&self, instance: &Uid, network: &Uid) -> String {
        let digest = fnv1a(instance.as_str().bytes().chain(network.as_str().bytes()));
        format!("hv{}{:08x}", self.tag, digest)
    }

    /// Whether an interface of the host is one of this node's bridges.
    pub fn is_bridge(&self, interface: &str) -> bool {
        interface.strip_prefix("hb").is_some_and(|rest| rest.starts_with(&self.tag.0))
    }

    /// Whether an interface of the host is a bridge of this or any other node.
    pub fn is_any_bridge(interface: &str) -> bool {
        is_ours(interface, "hb")
    }

    /// Whether an interface of the host is a link of this or any other node.
    pub fn is_any_link(interface: &str) -> bool {
        is_ours(interface, "hv")
    }

    /// Whether an interface of the host is one of this node's links to instances.
    pub fn is_link(&self, interface: &str) -> bool {
        interface.strip_prefix("hv").is_some_and(|rest| rest.starts_with(&self.tag.0))
    }
}

fn is_ours(interface: &str, prefix: &str) -> bool {
    let digit = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    interface.len() == MAX_INTERFACE_NAME
        && interface.strip_prefix(prefix).is_some_and(|rest| rest.bytes().all(digit))
}

/// FNV-1a, 32 bits, folded from 64 (draft-eastlake-fnv). Not for secrets: it spreads names.
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u32 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let folded = (hash >> 32) ^ (hash & 0xffff_ffff);
    u32::try_from(folded).expect("both halves have 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_tell_nodes_apart() {
        let names = Names::new("ab12c".parse().unwrap());
        let other = Names::new("ab12d".parse().unwrap());
        let (network, instance) = (Uid::from_bytes([7; 32]), Uid::from_bytes([9; 32]));
        assert_eq!(names.bridge(&network).len(), MAX_INTERFACE_NAME);
        assert_eq!(names.link(&instance, &network).len(), MAX_INTERFACE_NAME);
        assert!(names.is_bridge(&names.bridge(&network)));
        assert!(!other.is_bridge(&names.bridge(&network)));
        assert!(names.is_link(&names.link(&instance, &network)));
        assert_ne!(names.table(), other.table());
    }

    #[test]
    fn links_of_one_instance_differ() {
        let names = Names::new("ab12c".parse().unwrap());
        let instance = Uid::from_bytes([9; 32]);
        let links: std::collections::BTreeSet<_> =
            (0..200).map(|i| names.link(&instance, &Uid::from_bytes([i; 32]))).collect();
        assert_eq!(links.len(), 200);
    }
}
