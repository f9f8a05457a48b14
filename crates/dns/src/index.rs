//! The value made ready for questions: who may ask, and who is called so.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use model::Uid;

use crate::zones::{Change, Member, NetworkNames, Zones};

/// Everything the server answers from.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Index {
    members: BTreeMap<String, Arc<Member>>,
    networks: HashMap<Uid, Network>,
    listeners: HashMap<IpAddr, Uid>,
    askers: HashMap<IpAddr, Claims<Arc<Asker>>>,
    domain: String,
}

/// What each member makes of an address, by its key: the last one counts.
type Claims<T> = BTreeMap<String, T>;

#[derive(Debug, Clone, PartialEq)]
struct Network {
    /// Suffixes a name of this network may carry: the network's name, the project's, both, and with
    /// the domain.
    suffixes: Vec<String>,
    project: String,
    subnets: Vec<IpNet>,
    forward: bool,
    names: HashMap<String, Named>,
    reverse: HashMap<IpAddr, Claims<String>>,
}

/// Who has a name: how many members, and which addresses, each with how many have it.
#[derive(Debug, Clone, PartialEq, Default)]
struct Named {
    members: usize,
    addresses: BTreeMap<IpAddr, usize>,
}

/// One who asks: the networks whose names he sees, first one first, and whom he has asked for the
/// rest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Asker {
    pub(crate) networks: Vec<Uid>,
    pub(crate) servers: Vec<IpAddr>,
    /// Names that stand for others, in lower case.
    aliases: HashMap<String, String>,
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
        zones.members.iter().for_each(|(key, member)| index.add(key, member));
        index
    }

    /// Makes it what [`Index::new`] makes of the changed value, at the cost of what changed; anew where networks
    /// did, which is seldom.
    pub(crate) fn change(&mut self, change: &Change) {
        if let Some(networks) = &change.networks {
            let mut members = std::mem::take(&mut self.members);
            for (key, member) in &change.members {
                match member {
                    Some(member) => members.insert(key.clone(), member.clone()),
                    None => members.remove(key),
                };
            }
            let zones = Zones { networks: networks.clone(), members, ..Zones::default() };
            *self = Self::new(&zones, &self.domain);
            return;
        }
        for (key, member) in &change.members {
            self.remove(key);
            if let Some(member) = member {
                self.add(key, member);
            }
        }
    }

    fn add(&mut self, key: &str, member: &Arc<Member>) {
        self.members.insert(key.to_owned(), member.clone());
        let networks = member.joined.iter().map(|joined| joined.network.clone()).collect();
        let aliases = member.aliases.iter().map(|it| (lower(&it.name), lower(&it.target)));
        let aliases = aliases.collect();
        let asker = Arc::new(Asker { networks, servers: member.servers.clone(), aliases });
        for joined in &member.joined {
            for from in &joined.addresses {
                self.askers.entry(*from).or_default().insert(key.to_owned(), asker.clone());
            }
            let Some(network) = self.networks.get_mut(&joined.network) else { continue };
            for name in &joined.names {
                let named = network.names.entry(lower(name)).or_default();
                named.members += 1;
                for address in &joined.addresses {
                    *named.addresses.entry(*address).or_default() += 1;
                }
            }
            if let Some(own) = joined.names.first() {
                let full = format!("{}.{}.{}", lower(own), network.project, self.domain);
                for address in &joined.addresses {
                    let claims = network.reverse.entry(*address).or_default();
                    claims.insert(key.to_owned(), full.clone());
                }
            }
        }
    }

    fn remove(&mut self, key: &str) {
        let Some(member) = self.members.remove(key) else { return };
        for joined in &member.joined {
            for from in &joined.addresses {
                release(&mut self.askers, from, key);
            }
            let Some(network) = self.networks.get_mut(&joined.network) else { continue };
            for name in joined.names.iter().map(|name| lower(name)) {
                if let Some(named) = network.names.get_mut(&name)
                    && named.is_left_by_last(&joined.addresses)
                {
                    network.names.remove(&name);
                }
            }
            for address in &joined.addresses {
                release(&mut network.reverse, address, key);
            }
        }
    }

    /// Who asks from `source` at our address `listen`; none if he may not.
    pub(crate) fn asker(&self, listen: IpAddr, source: IpAddr) -> Option<Arc<Asker>> {
        let id = self.listeners.get(&listen)?;
        let network = self.networks.get(id)?;
        if !network.subnets.iter().any(|subnet| subnet.contains(&source)) {
            return None;
        }
        let known = self.askers.get(&source).and_then(last).filter(|it| it.networks.contains(id));
        let stranger = || Arc::new(Asker { networks: vec![id.clone()], ..Asker::default() });
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
        let name =
            self.seen_by(asker).find_map(|network| network.reverse.get(&address).and_then(last));
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
        let named = all.find_map(|name| self.names.get(name))?;
        Some(named.addresses.keys().copied().collect())
    }

    /// A name without each suffix that it may carry.
    fn short<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.suffixes.iter().filter_map(|it| name.strip_suffix(it.as_str())?.strip_suffix('.'))
    }
}

impl Named {
    /// Takes a member with these addresses away; whether nobody has the name any more.
    fn is_left_by_last(&mut self, addresses: &[IpAddr]) -> bool {
        self.members -= 1;
        for address in addresses {
            if let Some(count) = self.addresses.get_mut(address) {
                *count -= 1;
                if *count == 0 {
                    self.addresses.remove(address);
                }
            }
        }
        self.members == 0
    }
}

fn last<T>(claims: &Claims<T>) -> Option<&T> {
    claims.values().next_back()
}

/// Takes back what a member made of an address.
fn release<T>(all: &mut HashMap<IpAddr, Claims<T>>, address: &IpAddr, key: &str) {
    if let Some(claims) = all.get_mut(address) {
        claims.remove(key);
        if claims.is_empty() {
            all.remove(address);
        }
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
    use proptest::prelude::*;

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
        let member = |joined| Arc::new(Member { joined, ..Member::default() });
        let members = [
            ("a", member(vec![joined(1, 5, &["web", "www.example.com"])])),
            ("b", member(vec![joined(1, 6, &["api-1", "api"]), joined(2, 6, &["api-1", "api"])])),
            ("c", member(vec![joined(1, 7, &["api-2", "API"])])),
            ("d", member(vec![joined(2, 8, &["db"])])),
        ];
        let zones = Zones {
            networks: vec![network(1, "default", true), network(2, "back", false)],
            members: members.map(|(key, member)| (key.to_owned(), member)).into(),
            ..Zones::default()
        };
        Index::new(&zones, "hull.internal")
    }

    /// Any member of few names, addresses and networks, so that several have the same.
    fn some_member() -> impl Strategy<Value = Arc<Member>> {
        let names = proptest::collection::vec(proptest::sample::select(vec!["a", "b", "B"]), 0..3);
        let joined = (1..4_u8, names, proptest::collection::vec(5..8_u8, 0..3));
        proptest::collection::vec(joined, 0..3).prop_map(|all| {
            let joined = all.into_iter().map(|(network, names, last)| Joined {
                network: uid(network),
                names: names.into_iter().map(str::to_owned).collect(),
                addresses: last.iter().map(|last| ip(&format!("10.0.{network}.{last}"))).collect(),
            });
            Arc::new(Member { joined: joined.collect(), ..Member::default() })
        })
    }

    fn some_zones() -> impl Strategy<Value = Zones> {
        let key = proptest::sample::select(vec!["x", "y", "z"]).prop_map(str::to_owned);
        let members = proptest::collection::btree_map(key, some_member(), 0..4);
        (members, 1..3_u8).prop_map(|(members, networks)| Zones {
            // Of three that members are on; the third is never here.
            networks: (1..=networks).map(|byte| network(byte, "n", true)).collect(),
            members,
            ..Zones::default()
        })
    }

    proptest! {
        #[test]
        fn a_change_makes_what_the_whole_would(all in proptest::collection::vec(some_zones(), 1..6)) {
            let mut told = Zones::default();
            let mut index = Index::new(&told, "hull.internal");
            for zones in all {
                index.change(&Change::between(&told, &zones));
                prop_assert_eq!(&index, &Index::new(&zones, "hull.internal"));
                told = zones;
            }
        }
    }

    #[test]
    fn a_change_is_as_large_as_what_changed() {
        let member = |last: u8| {
            Arc::new(Member { joined: vec![joined(1, last, &["x"])], ..Member::default() })
        };
        let many = (0..1000).map(|number| (format!("p/{number:04}"), member(7)));
        let old = Zones { members: many.collect(), ..Zones::default() };
        let mut new = old.clone();
        assert_eq!(Change::between(&old, &new), Change::default());
        new.members.insert("p/0500".into(), member(8));
        new.members.remove("p/0501");
        let change = Change::between(&old, &new);
        let keys: Vec<_> =
            change.members.iter().map(|(key, now)| (&**key, now.is_some())).collect();
        assert_eq!(keys, [("p/0500", true), ("p/0501", false)]);
        assert!(serde_json::to_vec(&change).unwrap().len() < 1000);
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
