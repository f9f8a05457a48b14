//! Who is called what: the value the server answers from.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use model::Uid;
use serde::{Deserialize, Serialize};

/// All names of a node. Names are compared without regard to case (RFC 4343).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Zones {
    /// The networks that are served.
    pub networks: Vec<NetworkNames>,
    /// Those who have names, ask, or both, each by a key of its own. Of several that have an address the last
    /// one counts.
    pub members: BTreeMap<String, Arc<Member>>,
    /// Where members may ask without leaving their network namespace.
    #[serde(default)]
    pub inside: BTreeSet<Inside>,
}

/// How one value differs from another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Change {
    /// All networks, where any is another.
    pub(crate) networks: Option<Vec<NetworkNames>>,
    /// Members as they are now; none for those that are gone.
    pub(crate) members: BTreeMap<String, Option<Arc<Member>>>,
    /// Places that are left, and new ones.
    pub(crate) left: Vec<Inside>,
    pub(crate) new: Vec<Inside>,
}

impl Change {
    /// What makes `new` of `old`.
    pub(crate) fn between(old: &Zones, new: &Zones) -> Self {
        let is_other =
            |(key, member): &(&String, &Arc<Member>)| old.members.get(*key) != Some(member);
        let now = new.members.iter().filter(is_other);
        let now = now.map(|(key, member)| (key.clone(), Some(member.clone())));
        let gone = old.members.keys().filter(|key| !new.members.contains_key(*key));
        Self {
            networks: (old.networks != new.networks).then(|| new.networks.clone()),
            members: now.chain(gone.map(|key| (key.clone(), None))).collect(),
            left: old.inside.difference(&new.inside).cloned().collect(),
            new: new.inside.difference(&old.inside).cloned().collect(),
        }
    }
}

/// A place to ask at in a member's network namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Inside {
    /// The file that the namespace is mounted on.
    pub path: PathBuf,
    /// The file's number, which tells a namespace from one that takes its place.
    pub inode: u64,
    /// Where in it to listen.
    pub at: SocketAddr,
    /// The listening address that what is asked there counts as sent to.
    pub listen: IpAddr,
    /// The member's address that it counts as sent from.
    pub source: IpAddr,
}

/// A network whose members are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkNames {
    /// Its identity.
    pub id: Uid,
    /// Its name: `db.<name>` is `db` on this network.
    pub name: String,
    /// Its project's name: `db.<project>` is `db` on the project's networks.
    pub project: String,
    /// Addresses to listen on: the gateway's.
    pub listen: Vec<IpAddr>,
    /// Who may ask there; nobody else gets an answer.
    pub subnets: Vec<IpNet>,
    /// Whether names of the outside are asked of the host's resolvers; not so on internal networks.
    pub forward: bool,
}

/// An instance (or a service with an address of its own).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Member {
    /// The networks it is joined to, first one first: a name that several know is taken from the
    /// first.
    pub joined: Vec<Joined>,
    /// Servers asked for names of the outside on its behalf, in place of the host's.
    pub servers: Vec<IpAddr>,
    /// Names that stand for others when it asks.
    #[serde(default)]
    pub aliases: Vec<Alias>,
}

/// A name that stands for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    /// The name.
    pub name: String,
    /// The other one.
    pub target: String,
}

/// What a member is on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joined {
    /// The network.
    pub network: Uid,
    /// What it answers to, single labels or more: its own name first (the one that reverse look-ups
    /// give), then host name, aliases, services it stands for. A name several members have is
    /// answered with all their addresses in turn.
    pub names: Vec<String>,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
}
