//! The world as the planner sees it: who is where and holds what.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

use model::instance::{Instance, InstanceSpec, Interface, Placement};
use model::network::Network;
use model::node::Node;
use model::project::Project;
use model::service::Service;
use model::volume::{Snapshot, Volume, VolumeSource};
use model::{Time, Uid};

use crate::addresses::{self, Cursors};
use crate::hold::{Holder, holds};
use crate::place::Decision;
use crate::ports;
use crate::quota;
use crate::refusal::Refusal;

/// What is known of the world.
#[derive(Debug, Clone, Default)]
pub struct World<'a> {
    /// All nodes.
    pub nodes: Vec<&'a Node>,
    /// All instances; those that are not placed hold nothing.
    pub instances: Vec<&'a Instance>,
    /// All services.
    pub services: Vec<&'a Service>,
    /// All networks.
    pub networks: Vec<&'a Network>,
    /// All volumes.
    pub volumes: Vec<&'a Volume>,
    /// All snapshots.
    pub snapshots: Vec<&'a Snapshot>,
    /// All projects.
    pub projects: Vec<&'a Project>,
}

/// The world, entered so that questions are answered fast.
#[derive(Debug, Clone)]
pub struct Ledger<'a> {
    pub(crate) nodes: BTreeMap<&'a str, NodeBook<'a>>,
    networks: HashMap<String, &'a Network>,
    addresses: HashMap<Uid, addresses::Book<'a>>,
    cursors: Cursors,
    instances: Vec<&'a Instance>,
    /// Instances that were given a node since the ledger was made, by project and name.
    placed: HashMap<String, String>,
    volumes: HashMap<String, &'a Volume>,
    snapshots: HashMap<String, &'a Snapshot>,
    /// Volumes that were given a node since the ledger was made.
    bound: HashMap<Uid, String>,
    /// What is used of each quota, by project. One without a quota is not there.
    quotas: HashMap<&'a str, quota::Book<'a>>,
}

/// What is known of one node.
#[derive(Debug, Clone)]
pub(crate) struct NodeBook<'a> {
    pub(crate) node: &'a Node,
    pub(crate) ports: ports::Book<'a>,
    /// Bytes of memory that are reserved.
    pub(crate) reserved: u64,
    /// Instances that are on it.
    pub(crate) instances: usize,
}

/// The key of everything that has a project and a name.
pub(crate) fn key(project: &str, name: &str) -> String {
    format!("{project}/{name}")
}

/// Bytes of memory that an instance has reserved.
pub(crate) fn reservation(spec: &InstanceSpec) -> u64 {
    let reserved = spec.containers.iter().filter_map(|it| it.resources.memory_reservation);
    reserved.map(|bytes| bytes.0).fold(0, u64::saturating_add)
}

impl<'a> Ledger<'a> {
    /// Enters the world. `cursors` are those of the ledger before, where there was one; without
    /// them the address of a network's newest instance counts as the last one given.
    #[must_use]
    pub fn new(world: &World<'a>, cursors: Cursors) -> Self {
        let by_name = |node: &&'a Node| (node.meta.name.as_str(), NodeBook::new(node));
        let of = |meta: &model::Meta| key(&meta.project, &meta.name);
        let mut ledger = Self {
            nodes: world.nodes.iter().map(by_name).collect(),
            networks: world.networks.iter().map(|it| (of(&it.meta), *it)).collect(),
            addresses: HashMap::new(),
            instances: world.instances.clone(),
            placed: HashMap::new(),
            volumes: world.volumes.iter().map(|it| (of(&it.meta), *it)).collect(),
            snapshots: world.snapshots.iter().map(|it| (of(&it.meta), *it)).collect(),
            bound: HashMap::new(),
            quotas: quota::books(&world.projects),
            cursors,
        };
        for volume in world.volumes.iter().filter(|it| it.spec.node.is_some()) {
            ledger.count_volume(volume);
        }
        for (network, (_, address)) in newest_addresses(world, &ledger.cursors) {
            ledger.cursors.insert(network.clone(), address);
        }
        for service in &world.services {
            ledger.enter_service(service);
        }
        for instance in &world.instances {
            if let Some(placed) = &instance.spec.placement {
                ledger.enter(instance, placed, Holder::instance(&*instance.meta.name));
            }
        }
        ledger
    }

    /// A service holds its address on each of its networks, and its ports on each node.
    fn enter_service(&mut self, service: &'a Service) {
        let holder = Holder::service(&*service.meta.name);
        for own in &service.status.addresses {
            let book = self.addresses.entry(own.network_id.clone()).or_default();
            own.addresses.iter().for_each(|address| book.enter_address(*address, &holder));
        }
        for book in self.nodes.values_mut() {
            service.status.ports.iter().for_each(|port| book.ports.enter(port, &holder));
        }
    }

    fn count_volume(&mut self, volume: &Volume) {
        if let Some(book) = self.quotas.get_mut(volume.meta.project.as_str()) {
            book.tally.enter_volume(volume);
        }
    }

    fn enter(&mut self, instance: &Instance, placed: &Placement, holder: Holder<'a>) {
        if let Some(book) = self.quotas.get_mut(instance.meta.project.as_str()) {
            book.tally.enter(instance);
        }
        for interface in &placed.interfaces {
            let id = &interface.network_id;
            if !self.addresses.contains_key(id) {
                self.addresses.insert(id.clone(), addresses::Book::default());
            }
            if let Some(book) = self.addresses.get_mut(id) {
                book.enter(interface, &holder);
            }
        }
        let Some(book) = self.nodes.get_mut(placed.node.as_str()) else { return };
        book.instances += 1;
        if holds(instance) {
            placed.ports.iter().for_each(|port| book.ports.enter(port, &holder));
            book.reserved = book.reserved.saturating_add(reservation(&instance.spec));
        }
    }

    /// Enters a decision for an instance, so that what is decided next takes it into account.
    pub fn take(&mut self, instance: &Instance, decision: &Decision) {
        let (meta, placement) = (&instance.meta, &decision.placement);
        placement.interfaces.iter().for_each(|interface| self.move_cursor(interface));
        for id in &decision.volumes {
            self.bind(id, &placement.node);
        }
        self.placed.insert(key(&meta.project, &meta.name), placement.node.clone());
        self.enter(instance, placement, Holder::instance(meta.name.clone()));
    }

    /// Enters that a volume has its node.
    pub fn bind(&mut self, id: &Uid, node: &str) {
        self.bound.insert(id.clone(), node.to_owned());
        if self.quotas.is_empty() {
            return;
        }
        let volume = self.volumes.values().find(|volume| volume.meta.id == *id);
        if let Some(volume) = volume.copied() {
            self.count_volume(volume);
        }
    }

    /// Whether the quota of its project allows an instance, with the volumes that it would bring.
    pub(crate) fn admits(&self, instance: &Instance, volumes: &[&Volume]) -> Result<(), Refusal> {
        let Some(book) = self.quotas.get(instance.meta.project.as_str()) else { return Ok(()) };
        let brought = volumes.iter().copied().filter(|volume| !self.is_bound(volume));
        book.admits(instance, &brought.collect::<Vec<_>>())
    }

    /// Whether the quota of its project allows a volume.
    pub(crate) fn admits_volume(&self, volume: &Volume) -> Result<(), Refusal> {
        match self.quotas.get(volume.meta.project.as_str()) {
            Some(book) => book.admits_volume(volume),
            None => Ok(()),
        }
    }

    /// Has the next address of the interface's network lie behind its own.
    pub fn move_cursor(&mut self, interface: &Interface) {
        if let Some(address) = interface.ipv4 {
            self.cursors.insert(interface.network_id.clone(), address.addr());
        }
    }

    /// The last address given on each network, for the next ledger.
    #[must_use]
    pub fn into_cursors(self) -> Cursors {
        self.cursors
    }

    pub(crate) fn network(&self, project: &str, name: &str) -> Option<&'a Network> {
        self.networks.get(&key(project, name)).copied().filter(|it| it.meta.deleted.is_none())
    }

    pub(crate) fn addresses(&self, network: &Uid) -> Option<&addresses::Book<'a>> {
        self.addresses.get(network)
    }

    pub(crate) fn cursor(&self, network: &Uid) -> Option<Ipv4Addr> {
        self.cursors.get(network).copied()
    }

    /// Where an instance is; empty when it is nowhere yet, `None` when there is none.
    pub(crate) fn place_of(&self, project: &str, name: &str) -> Option<&str> {
        if let Some(node) = self.placed.get(&key(project, name)) {
            return Some(node);
        }
        let is = |it: &&&Instance| it.meta.name == name && it.meta.project == project;
        let instance = self.instances.iter().find(is)?;
        Some(instance.spec.placement.as_ref().map_or("", |placed| &placed.node))
    }

    /// The name of a placed instance, and where it is.
    pub(crate) fn place_by_id(&self, id: &Uid) -> Option<(&str, &str)> {
        let found = self.instances.iter().find(|it| it.meta.id == *id)?;
        Some((&found.meta.name, &found.spec.placement.as_ref()?.node))
    }

    pub(crate) fn volume(&self, project: &str, name: &str) -> Option<&'a Volume> {
        self.volumes.get(&key(project, name)).copied().filter(|it| it.meta.deleted.is_none())
    }

    /// The node a volume lives on, or has to: that of what it begins with.
    pub(crate) fn home<'b>(&'b self, volume: &'b Volume) -> Option<&'b str> {
        let own = volume.spec.node.as_deref();
        if let Some(node) = own.or_else(|| self.bound.get(&volume.meta.id).map(String::as_str)) {
            return Some(node);
        }
        let project = &volume.meta.project;
        match volume.spec.source.as_ref()? {
            VolumeSource::Volume(name) => {
                self.volumes.get(&key(project, name))?.spec.node.as_deref()
            }
            VolumeSource::Snapshot(name) => {
                self.snapshots.get(&key(project, name))?.spec.node.as_deref()
            }
        }
    }

    /// Whether a volume has its node already, in its record or by a decision.
    pub(crate) fn is_bound(&self, volume: &Volume) -> bool {
        volume.spec.node.is_some() || self.bound.contains_key(&volume.meta.id)
    }
}

impl<'a> NodeBook<'a> {
    fn new(node: &'a Node) -> Self {
        Self { node, ports: ports::Book::default(), reserved: 0, instances: 0 }
    }
}

/// The address of the newest instance on each network that has no cursor.
fn newest_addresses<'a>(
    world: &World<'a>,
    cursors: &Cursors,
) -> HashMap<&'a Uid, (Time, Ipv4Addr)> {
    let mut newest: HashMap<&Uid, (Time, Ipv4Addr)> = HashMap::new();
    for instance in &world.instances {
        let interfaces = instance.spec.placement.iter().flat_map(|placed| &placed.interfaces);
        for interface in interfaces.filter(|it| !cursors.contains_key(&it.network_id)) {
            let Some(address) = interface.ipv4 else { continue };
            let entry = (instance.meta.created, address.addr());
            let known = newest.entry(&interface.network_id).or_insert(entry);
            *known = (*known).max(entry);
        }
    }
    newest
}
