//! Where an instance goes.

use std::collections::BTreeSet;

use model::Uid;
use model::explain::NodeAnswer;
use model::instance::{
    Attachment, Instance, Interface, MountKind, NetworkMode, Placement, Port, Sharing,
};
use model::network::{DEFAULT_NETWORK, Network};
use model::volume::Volume;

use crate::addresses;
use crate::ledger::{Ledger, NodeBook, reservation};
use crate::ports;
use crate::refusal::{Cause, NodeRefusal, Refusal};

/// Where an instance goes, with everything assigned to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The node, the addresses and the ports.
    pub placement: Placement,
    /// Volumes that get this node for good.
    pub volumes: Vec<Uid>,
    /// Why this node, for people.
    pub reasons: Vec<String>,
}

/// What the choice of a node has to respect.
struct Needs<'a> {
    interfaces: Vec<Interface>,
    volumes: Vec<&'a Volume>,
    /// Instances whose namespaces are shared, and where they are.
    shares: Vec<(&'a str, &'a str)>,
    /// The machine whose snapshot a new one is made of, and where it is.
    source: Option<(&'a str, &'a str)>,
}

/// A node that could take the instance.
struct Candidate<'a> {
    book: &'a NodeBook<'a>,
    ports: Vec<Port>,
}

impl Ledger<'_> {
    /// Where an instance goes. One that has a placement keeps its node and its addresses; its ports
    /// are given anew, the ones it had if they are free. The instance must not be entered as one
    /// that holds anything: leave it out of the world when it has a placement.
    ///
    /// # Errors
    /// Why it can be nowhere, with a reason for each node.
    pub fn place(&self, instance: &Instance) -> Result<Decision, Refusal> {
        let needs = self.needs(instance)?;
        let (mut candidates, mut refused) = (Vec::new(), Vec::new());
        for (name, book) in &self.nodes {
            match self.consider(instance, &needs, book) {
                Ok(ports) => candidates.push(Candidate { book, ports }),
                Err(cause) => refused.push(NodeRefusal { node: (*name).to_owned(), cause }),
            }
        }
        let count = candidates.len();
        let Some(best) = candidates.into_iter().min_by_key(Candidate::burden) else {
            return Err(Refusal::Nodes { instance: instance.meta.name.clone(), nodes: refused });
        };
        Ok(self.decide(&needs, best, count, &refused))
    }

    /// What each node answers to an instance.
    ///
    /// # Errors
    /// Why it can be nowhere, whatever the node.
    pub fn answers(&self, instance: &Instance) -> Result<Vec<NodeAnswer>, Refusal> {
        let needs = self.needs(instance)?;
        let answer = |(name, book): (&&str, &NodeBook<'_>)| {
            let refused = self.consider(instance, &needs, book).err();
            NodeAnswer {
                node: (*name).to_owned(),
                takes: refused.is_none(),
                why: refused.map_or_else(|| "it can take it".to_owned(), |cause| cause.to_string()),
            }
        };
        Ok(self.nodes.iter().map(answer).collect())
    }

    fn needs<'b>(&'b self, instance: &'b Instance) -> Result<Needs<'b>, Refusal> {
        let volumes = self.mounted(instance)?;
        self.admits(instance, &volumes)?;
        Ok(Needs {
            interfaces: self.interfaces(instance)?,
            volumes,
            shares: self.shared(instance)?,
            source: self.source(instance)?,
        })
    }

    fn decide(
        &self,
        needs: &Needs<'_>,
        best: Candidate<'_>,
        count: usize,
        refused: &[NodeRefusal],
    ) -> Decision {
        let node = best.book.node.meta.name.clone();
        let why = match count {
            1 => format!("node {node}: the only one that can take it"),
            _ => format!(
                "node {node}: of {count} that can take it, the one with the least reserved memory \
                 and the fewest instances ({})",
                best.book.instances
            ),
        };
        let against = refused.iter().map(|it| format!("node {}: {}", it.node, it.cause));
        let unbound = needs.volumes.iter().filter(|volume| !self.is_bound(volume));
        Decision {
            volumes: unbound.map(|volume| volume.meta.id.clone()).collect(),
            reasons: [why].into_iter().chain(against).collect(),
            placement: Placement { node, interfaces: needs.interfaces.clone(), ports: best.ports },
        }
    }

    /// The ports the instance gets on a node, or what stands against the node.
    fn consider(
        &self,
        instance: &Instance,
        needs: &Needs<'_>,
        book: &NodeBook<'_>,
    ) -> Result<Vec<Port>, Cause> {
        let name = book.node.meta.name.as_str();
        match &instance.spec.placement {
            Some(placed) if placed.node != name => {
                return Err(Cause::Elsewhere(placed.node.clone()));
            }
            Some(_) => {}
            None => {
                allowed(instance, book)?;
                welcomes(book)?;
            }
        }
        for volume in &needs.volumes {
            if let Some(lives) = self.home(volume).filter(|lives| *lives != name) {
                let (volume, lives) = (volume.meta.name.clone(), lives.to_owned());
                return Err(Cause::Volume { volume, lives });
            }
        }
        if let Some((other, lives)) = needs.shares.iter().find(|(_, lives)| *lives != name) {
            let (instance, lives) = ((*other).to_owned(), (*lives).to_owned());
            return Err(Cause::Shares { instance, lives });
        }
        if let Some((other, lives)) = needs.source.filter(|(_, lives)| *lives != name) {
            return Err(Cause::Source { instance: other.to_owned(), lives: lives.to_owned() });
        }
        has_room(instance, book)?;
        let before = instance.spec.placement.as_ref().map_or(&[][..], |placed| &placed.ports);
        let wish = ports::Wish {
            ports: &instance.spec.ports,
            before,
            id: &instance.meta.id,
            name: &instance.meta.name,
        };
        ports::assign(&wish, &book.ports)
    }

    /// The interfaces of an instance on the networks it is joined to. Those it has it keeps, with their
    /// names and addresses. It must not be entered, as for [`Ledger::place`].
    ///
    /// # Errors
    /// The network that has no address for it.
    pub fn interfaces(&self, instance: &Instance) -> Result<Vec<Interface>, Refusal> {
        let default = [Attachment { network: DEFAULT_NETWORK.to_owned(), ..Attachment::default() }];
        let attachments = match &instance.spec.network {
            NetworkMode::Networks { attachments } if attachments.is_empty() => &default[..],
            NetworkMode::Networks { attachments } => attachments,
            NetworkMode::Host | NetworkMode::None | NetworkMode::Instance { .. } => &[],
        };
        let before = instance.spec.placement.as_ref().map_or(&[][..], |placed| &placed.interfaces);
        let mut joined = Vec::new();
        for attachment in attachments {
            let network = self.network(&instance.meta.project, &attachment.network);
            let network = network.ok_or_else(|| no_network(instance, &attachment.network))?;
            let before = before.iter().find(|interface| interface.network_id == network.meta.id);
            joined.push((attachment, network, before));
        }
        let kept = joined.iter().filter_map(|(_, _, before)| before.map(|it| it.name.as_str()));
        let mut names = InterfaceNames(kept.collect(), 0);
        let mut interfaces = Vec::new();
        for (attachment, network, before) in &joined {
            let name = before.map_or_else(|| names.free(), |before| before.name.clone());
            let wish = addresses::Wish { network, attachment, name, before: *before };
            interfaces.push(self.assign(&wish, network)?);
        }
        Ok(interfaces)
    }

    pub(crate) fn assign(
        &self,
        wish: &addresses::Wish<'_>,
        network: &Network,
    ) -> Result<Interface, Refusal> {
        let none = addresses::Book::default();
        let book = self.addresses(&network.meta.id).unwrap_or(&none);
        addresses::assign(wish, book, self.cursor(&network.meta.id))
    }

    /// The volumes of an instance, each once, however often it is mounted.
    fn mounted(&self, instance: &Instance) -> Result<Vec<&Volume>, Refusal> {
        let mounts = instance.spec.all_containers().flat_map(|container| &container.mounts);
        let names: BTreeSet<_> = mounts
            .filter_map(|mount| match &mount.kind {
                MountKind::Volume { name, .. } => Some(name),
                MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
            })
            .collect();
        let find = |name: &String| {
            self.volume(&instance.meta.project, name).ok_or_else(|| {
                let message =
                    format!("volume {name:?} of instance {:?} is gone", instance.meta.name);
                Refusal::anywhere("VolumeNotFound", message, "make the volume again")
            })
        };
        names.into_iter().map(find).collect()
    }

    fn shared<'b>(&'b self, instance: &'b Instance) -> Result<Vec<(&'b str, &'b str)>, Refusal> {
        let find = |name: &'b str| match self.place_of(&instance.meta.project, name) {
            None => Err(no_partner(instance, name, "does not exist", "make that one again")),
            Some("") => {
                let next = format!("`hull inspect {name}` says what that one waits for");
                Err(no_partner(instance, name, "is on no node yet", &next))
            }
            Some(node) => Ok((name, node)),
        };
        partners(instance).map(find).collect()
    }

    /// The machine whose disks are copied for a new one, and where they are. One that has its place may
    /// have outlived it.
    fn source<'b>(&'b self, instance: &Instance) -> Result<Option<(&'b str, &'b str)>, Refusal> {
        let asked = instance.spec.machine.as_ref().and_then(|machine| machine.source.as_ref());
        let (Some(asked), None) = (asked, &instance.spec.placement) else { return Ok(None) };
        match asked.id.as_ref().and_then(|id| self.place_by_id(id)) {
            Some(found) => Ok(Some(found)),
            None => {
                let message = format!(
                    "machine {:?}, of whose snapshot {:?} is to be made, is gone",
                    asked.machine, instance.meta.name
                );
                Err(Refusal::anywhere("InstanceNotFound", message, "make it of another"))
            }
        }
    }
}

/// Names for interfaces that have none yet: what an instance has keeps its name while others come and go.
struct InterfaceNames<'a>(BTreeSet<&'a str>, usize);

impl InterfaceNames<'_> {
    fn free(&mut self) -> String {
        loop {
            let name = format!("eth{}", self.1);
            self.1 += 1;
            if !self.0.contains(name.as_str()) {
                return name;
            }
        }
    }
}

impl Candidate<'_> {
    /// What is least on the best node: the share of memory that is reserved, in thousandths, then
    /// the number of instances, then the name.
    fn burden(&self) -> (u64, usize, String) {
        let memory = self.book.node.status.memory.0.max(1);
        let share = (u128::from(self.book.reserved) * 1000 / u128::from(memory)) as u64;
        (share, self.book.instances, self.book.node.meta.name.clone())
    }
}

/// The instances whose namespaces an instance shares, by name.
fn partners(instance: &Instance) -> impl Iterator<Item = &str> {
    let spec = &instance.spec;
    let network = match &spec.network {
        NetworkMode::Instance { name } => Some(name.as_str()),
        NetworkMode::Networks { .. } | NetworkMode::Host | NetworkMode::None => None,
    };
    let others = [&spec.pid, &spec.ipc, &spec.uts, &spec.cgroup];
    let others = others.into_iter().filter_map(|sharing| match sharing {
        Sharing::Instance(name) => Some(name.as_str()),
        Sharing::Private | Sharing::Group | Sharing::Host => None,
    });
    network.into_iter().chain(others)
}

/// Whether a node takes anything new at all.
fn welcomes(book: &NodeBook<'_>) -> Result<(), Cause> {
    let node = book.node;
    if node.meta.deleted.is_some() {
        return Err(Cause::Leaving);
    }
    if node.spec.cordoned {
        return Err(Cause::Cordoned);
    }
    if node.status.ready { Ok(()) } else { Err(Cause::NotReady) }
}

/// Whether the instance may be on the node.
fn allowed(instance: &Instance, book: &NodeBook<'_>) -> Result<(), Cause> {
    let rules = &instance.spec.nodes;
    if rules.allow(&book.node.meta) {
        return Ok(());
    }
    let name = (!rules.name.is_empty()).then(|| format!("node {}", rules.name));
    let labels = (!rules.labels.is_empty()).then(|| format!("nodes with {}", rules.labels));
    let asked = name.into_iter().chain(labels).collect::<Vec<_>>().join(", ");
    Err(Cause::Rules { asked })
}

/// Whether what the instance reserves is left. A node that has not said what it has refuses nothing.
fn has_room(instance: &Instance, book: &NodeBook<'_>) -> Result<(), Cause> {
    let status = &book.node.status;
    let asked = reservation(&instance.spec);
    let free = status.memory.0.saturating_sub(book.reserved);
    if status.memory.0 > 0 && asked > free {
        return Err(Cause::Memory { asked: model::Bytes(asked), free: model::Bytes(free) });
    }
    let most = instance.spec.all_containers().filter_map(|it| it.resources.cpus).max();
    match most {
        Some(asked) if status.cpus.milli() > 0 && asked > status.cpus => {
            Err(Cause::Cpus { asked, has: status.cpus })
        }
        _ => Ok(()),
    }
}

fn no_network(instance: &Instance, network: &str) -> Refusal {
    let message = format!(
        "instance {:?} is joined to network {network:?}, which is gone",
        instance.meta.name
    );
    Refusal::anywhere("NetworkNotFound", message, &format!("`hull network create {network}`"))
}

fn no_partner(instance: &Instance, partner: &str, what: &str, next: &str) -> Refusal {
    let name = &instance.meta.name;
    let message =
        format!("instance {name:?} shares namespaces with instance {partner:?}, which {what}");
    Refusal::anywhere("InstanceNotFound", message, next)
}
