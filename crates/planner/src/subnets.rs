//! Which subnets networks get.

use std::net::Ipv6Addr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{Error, Result};

/// Prefix length of the subnets that are chosen from a pool.
const CHOSEN_PREFIX: u8 = 24;

/// A subnet in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    net: IpNet,
    holder: String,
}

impl Taken {
    /// A subnet and who has it, for messages: `network "web"`.
    pub fn new(net: impl Into<IpNet>, holder: &str) -> Self {
        Self { net: net.into(), holder: holder.to_owned() }
    }

    fn overlaps(&self, net: IpNet) -> bool {
        // A default route is no use of every address.
        self.net.prefix_len() > 0 && (self.net.contains(&net) || net.contains(&self.net))
    }
}

/// Takes an IPv4 subnet that was asked for, without its host bits.
///
/// # Errors
/// `Conflict` naming who has a subnet that overlaps it.
pub fn check4(wanted: Ipv4Net, taken: &[Taken]) -> Result<Ipv4Net> {
    check(wanted.trunc().into(), taken).map(|()| wanted.trunc())
}

/// Takes an IPv6 subnet that was asked for, without its host bits.
///
/// # Errors
/// `Conflict` naming who has a subnet that overlaps it.
pub fn check6(wanted: Ipv6Net, taken: &[Taken]) -> Result<Ipv6Net> {
    check(wanted.trunc().into(), taken).map(|()| wanted.trunc())
}

fn check(wanted: IpNet, taken: &[Taken]) -> Result<()> {
    match taken.iter().find(|taken| taken.overlaps(wanted)) {
        None => Ok(()),
        Some(other) => Err(Error::conflict(format!(
            "subnet {wanted} overlaps {} of {}",
            other.net, other.holder
        ))
        .next("give another subnet, or none to have a free one chosen")),
    }
}

/// The first /24 of the pool that overlaps nothing; the pool itself when it is smaller.
#[must_use]
pub fn choose4(pool: Ipv4Net, taken: &[Taken]) -> Option<Ipv4Net> {
    let taken: Vec<_> = taken.iter().filter(|taken| taken.overlaps(pool.into())).collect();
    let free = |net: &Ipv4Net| !taken.iter().any(|taken| taken.overlaps((*net).into()));
    let prefix = CHOSEN_PREFIX.max(pool.prefix_len());
    pool.subnets(prefix).ok()?.find(free)
}

/// The first /64 of the cluster's unique local prefix (RFC 4193: `fd`, 40 bits, 16 bits of subnet)
/// that overlaps nothing.
#[must_use]
pub fn choose6(cluster: [u8; 5], taken: &[Taken]) -> Option<Ipv6Net> {
    let free = |net: &Ipv6Net| !taken.iter().any(|taken| taken.overlaps((*net).into()));
    let subnet = |number: u16| {
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[1..6].copy_from_slice(&cluster);
        octets[6..8].copy_from_slice(&number.to_be_bytes());
        Ipv6Net::new(Ipv6Addr::from(octets), 64).ok()
    };
    (0..=u16::MAX).filter_map(subnet).find(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(net: &str, holder: &str) -> Taken {
        Taken::new(net.parse::<IpNet>().unwrap(), holder)
    }

    #[test]
    fn the_first_free_subnet_is_chosen() {
        let pool = "10.128.0.0/9".parse().unwrap();
        for (in_use, expected) in [
            (vec![], Some("10.128.0.0/24")),
            (vec![taken("10.128.0.0/24", "a")], Some("10.128.1.0/24")),
            (
                vec![taken("10.128.0.64/26", "a"), taken("10.128.1.0/24", "b")],
                Some("10.128.2.0/24"),
            ),
            (vec![taken("10.128.0.0/10", "host")], Some("10.192.0.0/24")),
            (vec![taken("0.0.0.0/0", "the default route")], Some("10.128.0.0/24")),
            (vec![taken("10.0.0.0/8", "host")], None),
        ] {
            let expected = expected.map(|net| net.parse().unwrap());
            assert_eq!(choose4(pool, &in_use), expected, "{in_use:?}");
        }
        let small = "192.168.7.0/26".parse().unwrap();
        assert_eq!(choose4(small, &[]), Some(small));
    }

    #[test]
    fn an_overlap_is_refused_naming_the_other() {
        let in_use = [taken("10.1.0.0/16", "network \"web\"")];
        let wanted = "10.1.2.0/24".parse().unwrap();
        let error = check4(wanted, &in_use).unwrap_err();
        assert_eq!(error.message(), "subnet 10.1.2.0/24 overlaps 10.1.0.0/16 of network \"web\"");
        assert_eq!(
            check4("10.2.0.9/24".parse().unwrap(), &in_use).unwrap().to_string(),
            "10.2.0.0/24"
        );
    }

    #[test]
    fn unique_local_subnets_come_from_the_cluster() {
        let cluster = [1, 2, 3, 4, 5];
        let first = choose6(cluster, &[]).unwrap();
        assert_eq!(first.to_string(), "fd01:203:405::/64");
        let second = choose6(cluster, &[Taken::new(first, "a")]).unwrap();
        assert_eq!(second.to_string(), "fd01:203:405:1::/64");
    }
}
