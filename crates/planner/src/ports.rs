//! Which ports of a node lead to an instance.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use model::Uid;
use model::instance::{Port, Protocol};

use crate::hold::Holder;
use crate::refusal::Cause;

/// Ports that are chosen when none is asked for: those that a host gives to nobody by itself, and no
/// service is known by.
const CHOSEN: RangeInclusive<u16> = 61000..=65535;
/// When these are all given: those that hosts give to clients (Linux, `net.ipv4.ip_local_port_range`), any of
/// which may have a connection at the moment.
const OF_CLIENTS: RangeInclusive<u16> = 32768..=60999;

/// Who holds which port of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book<'a> {
    holders: HashMap<(Protocol, u16), Vec<Held<'a>>>,
}

type Held<'a> = (Port, Holder<'a>);

impl<'a> Book<'a> {
    pub(crate) fn enter(&mut self, port: &Port, holder: &Holder<'a>) {
        let Some(host) = port.host else { return };
        let held = self.holders.entry((port.protocol, host)).or_default();
        held.push((port.clone(), holder.clone()));
    }

    /// Who holds a port that this one collides with.
    fn holder(&self, port: &Port) -> Option<&Holder<'a>> {
        let held = self.holders.get(&(port.protocol, port.host?))?;
        held.iter().find(|(other, _)| other.collides(port)).map(|(_, holder)| holder)
    }
}

/// What is asked for: the ports as people wrote them, what the instance had before, and what it
/// is, from which its random ports are made.
pub(crate) struct Wish<'a> {
    pub(crate) ports: &'a [Port],
    pub(crate) before: &'a [Port],
    pub(crate) id: &'a Uid,
    pub(crate) name: &'a str,
}

/// Gives each single port its port of the host.
pub(crate) fn assign(wish: &Wish<'_>, book: &Book<'_>) -> Result<Vec<Port>, Cause> {
    let (mut own, mut given) = (Book::default(), Vec::new());
    let name = Holder::instance(wish.name);
    let singles: Vec<_> = wish.ports.iter().flat_map(Port::expand).collect();
    // Ports that were asked for by number first, so that no random one gets in their way.
    for port in singles.iter().filter(|port| port.host.is_some()) {
        if let Some(holder) = book.holder(port).or_else(|| own.holder(port)) {
            let (holder, release) = (holder.title(), holder.release());
            return Err(Cause::PortTaken { port: title(port), holder, release });
        }
        own.enter(port, &name);
    }
    for (index, port) in singles.into_iter().enumerate() {
        let port = match port.host {
            Some(_) => port,
            None => {
                let chosen = choose(wish, index, &port, book, &own).ok_or(Cause::NoPort)?;
                own.enter(&chosen, &name);
                chosen
            }
        };
        given.push(port);
    }
    Ok(given)
}

/// Whether what was given is what is asked for now.
#[must_use]
pub fn ports_are_given(asked: &[Port], given: &[Port]) -> bool {
    let mut left = given.iter();
    let mut same = |port: &Port| {
        left.next().is_some_and(|own| {
            let chosen = port.host.is_none() && own.host.is_some();
            (chosen || own.host == port.host) && Port { host: own.host, ..port.clone() } == *own
        })
    };
    let all = asked.iter().flat_map(Port::expand).all(|port| same(&port));
    all && left.next().is_none()
}

fn choose(
    wish: &Wish<'_>,
    index: usize,
    port: &Port,
    book: &Book<'_>,
    own: &Book<'_>,
) -> Option<Port> {
    let free = |port: &Port| book.holder(port).is_none() && own.holder(port).is_none();
    let same = |before: &&Port| {
        (before.target, before.protocol, before.address)
            == (port.target, port.protocol, port.address)
    };
    if let Some(before) = wish.before.iter().filter(same).find(|before| free(before)) {
        return Some(before.clone());
    }
    let seed = u32::from_str_radix(&wish.id.as_str()[..8], 16).unwrap_or_default();
    let start = seed.wrapping_add((index as u32).wrapping_mul(7919)) as usize;
    [CHOSEN, OF_CLIENTS]
        .into_iter()
        .flat_map(|range| {
            let count = range.len();
            range.cycle().skip(start % count).take(count)
        })
        .map(|host| Port { host: Some(host), ..port.clone() })
        .find(free)
}

fn title(port: &Port) -> String {
    let host = port.host.unwrap_or_default();
    let number = match port.address {
        Some(IpAddr::V6(address)) => format!("[{address}]:{host}"),
        Some(IpAddr::V4(address)) => format!("{address}:{host}"),
        None => host.to_string(),
    };
    format!("{number}/{}", port.protocol.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_chosen_where_no_client_gets_one_while_there_are_such() {
        let (id, holder) = (Uid::from_bytes([7; 32]), Holder::instance("other"));
        let port =
            |host| Port { target: 80, host, address: None, protocol: Protocol::Tcp, count: 1 };
        let asked = [port(None)];
        let wish = Wish { ports: &asked, before: &[], id: &id, name: "web" };
        let mut book = Book::default();
        let mut left = CHOSEN;
        let last = left.next_back();
        left.for_each(|taken| book.enter(&port(Some(taken)), &holder));
        let given = assign(&wish, &book).unwrap();
        assert_eq!(given, [port(last)]);
        book.enter(&given[0], &holder);
        let given = assign(&wish, &book).unwrap();
        assert!(OF_CLIENTS.contains(&given[0].host.unwrap()), "{given:?}");
    }
}
