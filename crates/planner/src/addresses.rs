//! Which addresses instances get on their networks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use model::Uid;
use model::instance::{Attachment, Interface};
use model::network::Network;

use crate::hold::Holder;
use crate::refusal::Refusal;

/// The last address given on each network. The next one given is behind it, so that an address
/// rests as long as possible before it is another instance's.
pub type Cursors = HashMap<Uid, Ipv4Addr>;

/// Who has which address of a network.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book<'a> {
    holders: HashMap<IpAddr, Holder<'a>>,
}

impl<'a> Book<'a> {
    pub(crate) fn enter(&mut self, interface: &Interface, holder: &Holder<'a>) {
        let v4 = interface.ipv4.map(|net| IpAddr::V4(net.addr()));
        let v6 = interface.ipv6.map(|net| IpAddr::V6(net.addr()));
        self.holders.extend(v4.into_iter().chain(v6).map(|address| (address, holder.clone())));
    }

    pub(crate) fn enter_address(&mut self, address: IpAddr, holder: &Holder<'a>) {
        self.holders.insert(address, holder.clone());
    }

    fn is_free(&self, address: impl Into<IpAddr>) -> bool {
        !self.holders.contains_key(&address.into())
    }
}

/// A hardware address made of an IPv4 address, so that none is on a network twice: `02:42`, which
/// says that it is locally administered, and the address.
#[must_use]
pub fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// What is asked of an interface.
pub(crate) struct Wish<'a> {
    pub(crate) network: &'a Network,
    pub(crate) attachment: &'a Attachment,
    /// What it is called inside.
    pub(crate) name: String,
    /// What the instance had there before.
    pub(crate) before: Option<&'a Interface>,
}

/// Gives an interface its addresses.
pub(crate) fn assign(
    wish: &Wish<'_>,
    book: &Book<'_>,
    last: Option<Ipv4Addr>,
) -> Result<Interface, Refusal> {
    let (spec, attachment) = (&wish.network.spec, wish.attachment);
    let Some(subnet) = spec.ipv4 else {
        return Err(refuse(wish, "NetworkNotReady", "has no subnet yet", "try again in a moment"));
    };
    let v4 = match attachment.ipv4 {
        Some(fixed) => fixed4(wish, subnet, fixed, book)?,
        None => free4(wish, subnet, book, last)
            .ok_or_else(|| refuse(wish, "NoAddress", "has no address left", MORE_ROOM))?,
    };
    let v6 = match (spec.ipv6, attachment.ipv6) {
        (Some(subnet), Some(fixed)) => Some((subnet, fixed6(wish, subnet, fixed, book)?)),
        (Some(subnet), None) => {
            let free = free6(wish, subnet, host_part(v4, spec.ipv4), book);
            Some((
                subnet,
                free.ok_or_else(|| {
                    refuse(wish, "NoAddress", "has no IPv6 address left", MORE_ROOM)
                })?,
            ))
        }
        (None, Some(_)) => {
            return Err(refuse(wish, "AddressInvalid", "has no IPv6", "make it with --ipv6"));
        }
        (None, None) => None,
    };
    Ok(Interface {
        network: wish.network.meta.name.clone(),
        network_id: wish.network.meta.id.clone(),
        name: wish.name.clone(),
        ipv4: Ipv4Net::new(v4, subnet.prefix_len()).ok(),
        ipv6: v6.and_then(|(subnet, address)| Ipv6Net::new(address, subnet.prefix_len()).ok()),
        mac: attachment.mac.clone().unwrap_or_else(|| mac(v4)),
        aliases: attachment.aliases.clone(),
    })
}

const MORE_ROOM: &str = "remove instances that are joined to it, or make a larger network";

fn refuse(wish: &Wish<'_>, code: &str, what: &str, next: &str) -> Refusal {
    Refusal::anywhere(code, format!("network {:?} {what}", wish.network.meta.name), next)
}

fn taken(wish: &Wish<'_>, address: IpAddr, book: &Book<'_>) -> Refusal {
    let holder = book.holders.get(&address);
    let title = holder.map_or_else(String::new, Holder::title);
    let removal = holder.map_or_else(String::new, Holder::removal);
    refuse(
        wish,
        "AddressTaken",
        &format!("cannot give {address}: {title} has it"),
        &format!("ask for another address, or `{removal}`"),
    )
}

fn fixed4(
    wish: &Wish<'_>,
    subnet: Ipv4Net,
    fixed: Ipv4Addr,
    book: &Book<'_>,
) -> Result<Ipv4Addr, Refusal> {
    if !usable4(wish, subnet, fixed) {
        let what = format!("cannot give {fixed}: it is not an address for instances in {subnet}");
        return Err(refuse(wish, "AddressInvalid", &what, "ask for another address, or none"));
    }
    if book.is_free(fixed) { Ok(fixed) } else { Err(taken(wish, fixed.into(), book)) }
}

/// Whether an address can be an instance's: not the network's, its broadcast, its host's or set aside.
fn usable4(wish: &Wish<'_>, subnet: Ipv4Net, address: Ipv4Addr) -> bool {
    let host = wish.network.spec.host4().map(|host| host.addr());
    subnet.contains(&address)
        && address != subnet.network()
        && address != subnet.broadcast()
        && Some(address) != host
        && !wish.network.spec.reserved.contains(&address.into())
}

/// What it had, else the first free address behind the last one given.
fn free4(
    wish: &Wish<'_>,
    subnet: Ipv4Net,
    book: &Book<'_>,
    last: Option<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let free = |address: &Ipv4Addr| usable4(wish, subnet, *address) && book.is_free(*address);
    let before = wish.before.and_then(|before| before.ipv4).map(|net| net.addr());
    if let Some(before) = before.filter(free) {
        return Some(before);
    }
    let range = wish.network.spec.range4.unwrap_or(subnet);
    let (first, end) = (u32::from(range.network()), u32::from(range.broadcast()));
    let start = last.map_or(first, |last| u32::from(last).saturating_add(1));
    let start = if (first..=end).contains(&start) { start } else { first };
    (start..=end).chain(first..start).map(Ipv4Addr::from).find(free)
}

fn host_part(address: Ipv4Addr, subnet: Option<Ipv4Net>) -> u128 {
    let network = subnet.map_or(0, |subnet| u32::from(subnet.network()));
    u128::from(u32::from(address).wrapping_sub(network))
}

fn fixed6(
    wish: &Wish<'_>,
    subnet: Ipv6Net,
    fixed: Ipv6Addr,
    book: &Book<'_>,
) -> Result<Ipv6Addr, Refusal> {
    if !usable6(wish, subnet, fixed) {
        let what = format!("cannot give {fixed}: it is not an address for instances in {subnet}");
        return Err(refuse(wish, "AddressInvalid", &what, "ask for another address, or none"));
    }
    if book.is_free(fixed) { Ok(fixed) } else { Err(taken(wish, fixed.into(), book)) }
}

fn usable6(wish: &Wish<'_>, subnet: Ipv6Net, address: Ipv6Addr) -> bool {
    let host = wish.network.spec.host6().map(|host| host.addr());
    subnet.contains(&address)
        && address != subnet.network()
        && Some(address) != host
        && !wish.network.spec.reserved.contains(&address.into())
}

/// What it had, else the one with the IPv4 address' host part, else the first free one.
fn free6(wish: &Wish<'_>, subnet: Ipv6Net, host: u128, book: &Book<'_>) -> Option<Ipv6Addr> {
    /// Addresses tried before a network counts as full.
    const TRIED: u128 = 1 << 16;
    let free = |address: &Ipv6Addr| usable6(wish, subnet, *address) && book.is_free(*address);
    let before = wish.before.and_then(|before| before.ipv6).map(|net| net.addr());
    let network = u128::from(subnet.network());
    let by_host = [host].into_iter().chain(1..TRIED).map(|host| Ipv6Addr::from(network + host));
    before.into_iter().chain(by_host).find(free)
}
