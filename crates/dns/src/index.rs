//! The value made ready for questions: who may ask, and who is called so.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::Uid;

use crate::zones::{Member, NetworkNames, Zones};

/// Everything the server answers from; never changed, only replaced.
#[derive(Debug, Default)]
pub(crate) struct Index {
    networks: HashMap<Uid, Network>,
    listeners: HashMap<IpAddr, Uid>,
    askers: HashMap<IpAddr, Asker>,
    domain: String,
}

#[derive(Debug)]
struct Network {
    /// Suffixes a name of this network may carry: the network's name, the project's, both, and with
    /// the domain.
    suffixes: Vec<String>,
    project: String,
    subnets: Vec<IpNet>,
    forward: bool,
    names: HashMap<String, Vec<IpAddr>>,
    reverse: HashMap<IpAddr, String>,
}

/// One who asks: the networks whose names he sees, first one first, and whom he has asked for the
/// rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) networks: Vec<Uid>,
    pub(crate) servers: Vec<IpAddr>,
    /// Names that stand for others, in lower case.
    aliases: Arc<HashMap<String, String>>,
}

/// What a name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A name of ours with these addresses; none: the name exists and has none.
    Addresses(Vec<IpAddr>),
    /// A name under our domain that nobody has.
    Nobody,
    /// Not ours.
    Elsewhere,
}

/// What an address is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Called {
    /// This, written out.
    Name(String),
    /// An address of our networks that nobody known to the asker has.
    Nobody,
    /// Not ours.
    Elsewhere,
}

impl Index {
    /// Makes a value ready. `domain` without dots at its ends, in lower case.
    pub(crate) fn new(zones: &Zones, domain: &str) -> Self {
        let mut index = Self { domain: domain.to_owned(), ..Self::default() };
        for network in &zones.networks {
            index.listeners.extend(network.listen.iter().map(|at| (*at, network.id.clone())));
            index.networks.insert(network.id.clone(), Network::new(network, domain));
        }
        zones.members.iter().for_each(|member| index.add(member));
        index
    }

    fn add(&mut self, member: &Member) {
        let networks = member.joined.iter().map(|joined| joined.network.clone()).collect();
        let aliases = member.aliases.iter().map(|it| (lower(&it.name), lower(&it.target)));
        let aliases = Arc::new(aliases.collect());
        let asker = Asker { networks, servers: member.servers.clone(), aliases };
        for joined in &member.joined {
            self.askers.extend(joined.addresses.iter().map(|from| (*from, asker.clone())));
            let Some(network) = self.networks.get_mut(&joined.network) else { continue };
            for name in &joined.names {
                let addresses = network.names.entry(lower(name)).or_default();
                addresses.extend(&joined.addresses);
                addresses.sort_unstable();
                addresses.dedup();
            }
            if let Some(own) = joined.names.first() {
                let full = format!("{}.{}.{}", lower(own), network.project, self.domain);
                let full = joined.addresses.iter().map(|address| (*address, full.clone()));
                network.reverse.extend(full);
            }
        }
    }

    /// Who asks from `source` at our address `listen`; none if he may not.
    pub(crate) fn asker(&self, listen: IpAddr, source: IpAddr) -> Option<Asker> {
        let id = self.listeners.get(&listen)?;
        let network = self.networks.get(id)?;
        if !network.subnets.iter().any(|subnet| subnet.contains(&source)) {
            return None;
        }
        let known = self.askers.get(&source).filter(|asker| asker.networks.contains(id));
        let stranger =
            || Asker { networks: vec![id.clone()], servers: Vec::new(), aliases: Arc::default() };
        Some(known.cloned().unwrap_or_else(stranger))
    }

    /// Whether names of the outside are asked for him.
    pub(crate) fn forwards(&self, asker: &Asker) -> bool {
        self.seen_by(asker).any(|network| network.forward)
    }

    /// The name that `name` (lower case, without the last dot) stands for when he asks.
    pub(crate) fn stands_for<'a>(&self, asker: &'a Asker, name: &str) -> Option<&'a str> {
        // Most have none, and are not asked for suffixes.
        if asker.aliases.is_empty() {
            return None;
        }
        let below = |network: &Network| network.short(name).find_map(|it| asker.aliases.get(it));
        let alias = asker.aliases.get(name).or_else(|| self.seen_by(asker).find_map(below));
        alias.map(String::as_str)
    }

    /// What `name` (lower case, without the last dot) is to him.
    pub(crate) fn find(&self, asker: &Asker, name: &str) -> Found {
        let addresses = self.seen_by(asker).find_map(|network| network.addresses(name));
        if let Some(addresses) = addresses {
            return Found::Addresses(addresses);
        }
        if !under(name, &self.domain) {
            return Found::Elsewhere;
        }
        // A name with others below it exists, though it has no addresses (RFC 8020, section 2).
        let above = |network: &Network| network.suffixes.iter().any(|suffix| under(suffix, name));
        let inner = name == self.domain || self.seen_by(asker).any(above);
        if inner { Found::Addresses(Vec::new()) } else { Found::Nobody }
    }

    /// What `address` is called to him.
    pub(crate) fn called(&self, asker: &Asker, address: IpAddr) -> Called {
        let name = self.seen_by(asker).find_map(|network| network.reverse.get(&address));
        let ours = || {
            let mut subnets = self.networks.values().flat_map(|network| &network.subnets);
            subnets.any(|subnet| subnet.contains(&address))
        };
        match name {
            Some(name) => Called::Name(name.clone()),
            None if ours() => Called::Nobody,
            None => Called::Elsewhere,
        }
    }

    fn seen_by<'a>(&'a self, asker: &'a Asker) -> impl Iterator<Item = &'a Network> {
        asker.networks.iter().filter_map(|id| self.networks.get(id))
    }
}

impl Network {
    fn new(network: &NetworkNames, domain: &str) -> Self {
        let (name, project) = (lower(&network.name), lower(&network.project));
        Self {
            suffixes: vec![
                name.clone(),
                project.clone(),
                format!("{name}.{project}"),
                format!("{project}.{domain}"),
                format!("{name}.{project}.{domain}"),
            ],
            project,
            subnets: network.subnets.clone(),
            forward: network.forward,
            names: HashMap::new(),
            reverse: HashMap::new(),
        }
    }

    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut all = std::iter::once(name).chain(self.short(name));
        all.find_map(|name| self.names.get(name)).cloned()
    }

    /// A name without each suffix that it may carry.
    fn short<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.suffixes.iter().filter_map(|it| name.strip_suffix(it.as_str())?.strip_suffix('.'))
    }
}

/// Whether `name` is `domain` or below it.
fn under(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn lower(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::zones::Joined;

    pub(crate) fn uid(byte: u8) -> Uid {
        Uid::from_bytes([byte; 32])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn network(byte: u8, name: &str, forward: bool) -> NetworkNames {
        NetworkNames {
            id: uid(byte),
            name: name.into(),
            project: "shop".into(),
            listen: vec![ip(&format!("10.0.{byte}.1"))],
            subnets: vec![format!("10.0.{byte}.0/24").parse().unwrap()],
            forward,
        }
    }

    fn joined(network: u8, last: u8, names: &[&str]) -> Joined {
        Joined {
            network: uid(network),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            addresses: vec![ip(&format!("10.0.{network}.{last}"))],
        }
    }

    fn index() -> Index {
        let member = |joined| Member { joined, ..Member::default() };
        let zones = Zones {
            networks: vec![network(1, "default", true), network(2, "back", false)],
            members: vec![
                member(vec![joined(1, 5, &["web", "www.example.com"])]),
                member(vec![joined(1, 6, &["api-1", "api"]), joined(2, 6, &["api-1", "api"])]),
                member(vec![joined(1, 7, &["api-2", "API"])]),
                member(vec![joined(2, 8, &["db"])]),
            ],
            inside: Vec::new(),
        };
        Index::new(&zones, "hull.internal")
    }

    #[test]
    fn names_are_found_as_far_as_one_sees() {
        let index = index();
        let web = index.asker(ip("10.0.1.1"), ip("10.0.1.5")).unwrap();
        let both = index.asker(ip("10.0.1.1"), ip("10.0.1.6")).unwrap();
        let db = index.asker(ip("10.0.2.1"), ip("10.0.2.8")).unwrap();
        let at = |list: &[&str]| Found::Addresses(list.iter().map(|text| ip(text)).collect());
        for (asker, name, expected) in [
            (&web, "web", at(&["10.0.1.5"])),
            (&web, "web.default", at(&["10.0.1.5"])),
            (&web, "web.shop", at(&["10.0.1.5"])),
            (&web, "web.shop.hull.internal", at(&["10.0.1.5"])),
            (&web, "web.default.shop.hull.internal", at(&["10.0.1.5"])),
            (&web, "www.example.com", at(&["10.0.1.5"])),
            (&web, "api", at(&["10.0.1.6", "10.0.1.7"])),
            (&web, "db", Found::Elsewhere),
            (&web, "db.shop.hull.internal", Found::Nobody),
            (&web, "web.back", Found::Elsewhere),
            (&web, "shop.hull.internal", at(&[])),
            (&web, "hull.internal", at(&[])),
            (&web, "other.hull.internal", Found::Nobody),
            (&web, "xhull.internal", Found::Elsewhere),
            (&web, "example.com", Found::Elsewhere),
            (&web, "", Found::Elsewhere),
            (&both, "db", at(&["10.0.2.8"])),
            (&both, "api", at(&["10.0.1.6", "10.0.1.7"])),
            (&both, "api.back", at(&["10.0.2.6"])),
            (&db, "api", at(&["10.0.2.6"])),
            (&db, "web", Found::Elsewhere),
        ] {
            assert_eq!(index.find(asker, name), expected, "{name}");
        }
        assert!(index.forwards(&web) && index.forwards(&both) && !index.forwards(&db));
    }

    #[test]
    fn strangers_do_not_ask() {
        let index = index();
        assert!(index.asker(ip("10.0.1.1"), ip("192.0.2.1")).is_none());
        assert!(index.asker(ip("10.0.1.1"), ip("10.0.2.8")).is_none(), "from another network");
        assert!(index.asker(ip("10.0.9.1"), ip("10.0.9.2")).is_none(), "not ours");
        let new = index.asker(ip("10.0.1.1"), ip("10.0.1.99")).unwrap();
        assert_eq!(new.networks, [uid(1)]);
    }

    #[test]
    fn addresses_are_called_by_their_first_name() {
        let index = index();
        let web = index.asker(ip("10.0.1.1"), ip("10.0.1.5")).unwrap();
        let name = |text: &str| Called::Name(text.to_owned());
        assert_eq!(index.called(&web, ip("10.0.1.6")), name("api-1.shop.hull.internal"));
        assert_eq!(index.called(&web, ip("10.0.1.200")), Called::Nobody);
        assert_eq!(index.called(&web, ip("10.0.2.8")), Called::Nobody, "not seen from here");
        assert_eq!(index.called(&web, ip("192.0.2.1")), Called::Elsewhere);
    }
}
