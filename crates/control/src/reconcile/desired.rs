//! Tells each node its whole desired set.
//!
//! A set is sent only when it differs from the last one in what a node acts on. Statuses are not
//! part of that: an object whose status alone changed is told as it was told before, so the reports
//! of a node do not come back to it as news. What is told is shared, never copied.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use link::stacks::Stacks;
use link::{Desired, NameEntry, ServiceLinks};
use model::instance::{Instance, InstanceNoun, Interface, Phase, RunState};
use model::network::NetworkNoun;
use model::volume::{SnapshotNoun, VolumeNoun};
use model::{Noun, Object, Result, Uid};
use tasks::Pass;
use tokio::sync::watch;

use super::placement::network_finalizer;
use super::services::reach;
use super::stacks;
use crate::core::Core;
use crate::mirror::State;

/// The loop.
pub(crate) struct Desires(pub(crate) Arc<Core>);

impl Pass for Desires {
    const NAME: &'static str = "desired";

    async fn pass(&mut self) -> Result<String> {
        let told = self.0.read(|state| self.0.desired.refresh(&self.0, state));
        Ok(told.join(", "))
    }
}

/// What each node was told last.
#[derive(Default)]
pub(crate) struct Board(Mutex<BTreeMap<String, Page>>);

/// What one node was told, and the objects it was made of.
struct Page {
    sender: watch::Sender<Arc<Desired>>,
    instances: Told<InstanceNoun>,
    networks: Told<NetworkNoun>,
    volumes: Told<VolumeNoun>,
    snapshots: Told<SnapshotNoun>,
    names: Names,
    services: Kept<ServiceLinks>,
    service_names: Kept<NameEntry>,
    stacks: Kept<Stacks>,
}

impl Board {
    /// The set of a node, now and as it changes. It is whole from the first moment.
    pub(crate) fn subscribe(
        &self,
        core: &Core,
        state: &State,
        node: &str,
    ) -> watch::Receiver<Arc<Desired>> {
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let page = pages.entry(node.to_owned()).or_insert_with(|| Page::new(core, state, node));
        page.sender.subscribe()
    }

    /// Works the sets out anew and tells those that differ; returns what was told to whom.
    fn refresh(&self, core: &Core, state: &State) -> Vec<String> {
        core.opened.forget(state);
        let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for node in state.nodes.iter() {
            let name = &node.meta.name;
            if !pages.contains_key(name) {
                pages.insert(name.clone(), Page::new(core, state, name));
            }
        }
        let told = pages.iter_mut().filter_map(|(node, page)| page.refresh(core, state, node));
        told.collect()
    }
}

impl Page {
    fn new(core: &Core, state: &State, node: &str) -> Self {
        let mut page = Self {
            sender: watch::Sender::default(),
            instances: Told::default(),
            networks: Told::default(),
            volumes: Told::default(),
            snapshots: Told::default(),
            names: Names::default(),
            services: Kept::default(),
            service_names: Kept::default(),
            stacks: Kept::default(),
        };
        let desired = page.make(core, state, node);
        page.sender.send_replace(Arc::new(desired));
        page
    }

    fn refresh(&mut self, core: &Core, state: &State, node: &str) -> Option<String> {
        let desired = self.make(core, state, node);
        if same(&self.sender.borrow(), &desired) {
            return None;
        }
        let told = format!("node {node}: {} instances", desired.instances.len());
        self.sender.send_replace(Arc::new(desired));
        Some(told)
    }

    fn make(&mut self, core: &Core, state: &State, node: &str) -> Desired {
        let placed = |instance: &Instance| {
            instance.spec.placement.as_ref().is_some_and(|placed| placed.node == node)
        };
        let finalizer = network_finalizer(node);
        let here = |of: &Option<String>| of.as_deref() == Some(node);
        let instances = || state.instances.iter().filter(|it| placed(it));
        let handed = core.opened.of(core, state, instances());
        let networks = state.networks.iter().filter(|it| it.meta.finalizers.contains(&finalizer));
        let networks = self.networks.tell(networks);
        let known: Vec<_> = networks.iter().map(|it| &it.meta.id).collect();
        let kept = || state.services.iter();
        let services = kept().flat_map(|service| reach::links_of(state, service));
        let services = services.filter(|it| known.contains(&&it.network_id));
        let names = kept().flat_map(|service| reach::names_of(state, service));
        let names = names.chain(stacks::names(state, instances()));
        let names = names.filter(|it| known.contains(&&it.network_id));
        let names = self.service_names.tell(names);
        Desired {
            generation: state.revision,
            node: node.to_owned(),
            instances: self.instances.tell(instances()),
            volumes: self.volumes.tell(state.volumes.iter().filter(|it| here(&it.spec.node))),
            snapshots: self.snapshots.tell(state.snapshots.iter().filter(|it| here(&it.spec.node))),
            services: self.services.tell(services),
            names: self.names.tell(state, &known).into_iter().chain(names).collect(),
            networks,
            handed,
            stacks: self.stacks.tell(stacks::of(state, instances()).into_iter()),
        }
    }
}

/// Whether two sets are the same to a node. Equal objects are one and the same here.
fn same(one: &Desired, two: &Desired) -> bool {
    fn lists<T>(one: &[Arc<T>], two: &[Arc<T>]) -> bool {
        one.len() == two.len() && one.iter().zip(two).all(|(a, b)| Arc::ptr_eq(a, b))
    }
    let Desired {
        generation: _,
        node,
        instances,
        networks,
        volumes,
        snapshots,
        services,
        names,
        handed,
        stacks,
    } = one;
    *node == two.node
        && lists(instances, &two.instances)
        && lists(networks, &two.networks)
        && lists(volumes, &two.volumes)
        && lists(snapshots, &two.snapshots)
        && lists(services, &two.services)
        && lists(names, &two.names)
        && lists(handed, &two.handed)
        && lists(stacks, &two.stacks)
}

/// A list of which what is equal to what was told is told as the same.
struct Kept<T>(Vec<Arc<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Kept<T> {
    fn tell(&mut self, now: impl Iterator<Item = T>) -> Vec<Arc<T>> {
        let mut before = std::mem::take(&mut self.0).into_iter();
        let tell = |new: T| match before.next() {
            Some(old) if *old == new => old,
            _ => Arc::new(new),
        };
        self.0 = now.map(tell).collect();
        self.0.clone()
    }
}

/// What a node was told of the objects of a noun, in the order of their ids: each with the newest
/// version that was the same to the node as the one it was told.
struct Told<N: Noun>(Vec<SeenAndTold<N>>);

type SeenAndTold<N> = (Arc<Object<N>>, Arc<Object<N>>);

impl<N: Noun> Default for Told<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<N: Noun> Told<N> {
    /// Takes objects in the order of their ids.
    fn tell<'a>(
        &mut self,
        objects: impl Iterator<Item = &'a Arc<Object<N>>>,
    ) -> Vec<Arc<Object<N>>> {
        let before = std::mem::take(&mut self.0);
        self.0.reserve(before.len());
        let mut before = Before(before.into_iter().peekable());
        let tell = |object: &Arc<Object<N>>| {
            let told = match before.of(object) {
                Some((seen, told)) if Arc::ptr_eq(&seen, object) || same_to_node(&told, object) => {
                    told
                }
                _ => object.clone(),
            };
            self.0.push((object.clone(), told.clone()));
            told
        };
        objects.map(tell).collect()
    }
}

/// A list in the order of ids that is walked beside another one.
struct Before<T>(std::iter::Peekable<std::vec::IntoIter<T>>);

impl<N: Noun, T> Before<(Arc<Object<N>>, T)> {
    /// What is there for an object. Each call has to be for an object behind the one before.
    fn of(&mut self, object: &Arc<Object<N>>) -> Option<(Arc<Object<N>>, T)> {
        // Most objects did not change: one look at a pointer.
        if self.0.peek().is_some_and(|(seen, _)| Arc::ptr_eq(seen, object)) {
            return self.0.next();
        }
        while self.0.next_if(|(seen, _)| seen.meta.id < object.meta.id).is_some() {}
        self.0.next_if(|(seen, _)| seen.meta.id == object.meta.id)
    }
}

fn same_to_node<N: Noun>(one: &Object<N>, two: &Object<N>) -> bool {
    one.meta.generation == two.meta.generation
        && one.meta.name == two.meta.name
        && one.meta.deleted == two.meta.deleted
        && one.meta.labels == two.meta.labels
        && one.meta.annotations == two.meta.annotations
        && one.spec == two.spec
}

/// The names of instances in the order of their ids, kept with the version of the instance they
/// were made of.
#[derive(Default)]
struct Names(Vec<(Arc<Instance>, Vec<Arc<NameEntry>>)>);

impl Names {
    fn tell(&mut self, state: &State, networks: &[&Uid]) -> Vec<Arc<NameEntry>> {
        let before = std::mem::take(&mut self.0);
        self.0.reserve(before.len());
        let (mut before, mut told) = (Before(before.into_iter().peekable()), Vec::new());
        for instance in state.instances.iter().filter(|it| it.spec.placement.is_some()) {
            let entries = match before.of(instance) {
                Some((seen, entries)) if Arc::ptr_eq(&seen, instance) => entries,
                Some((_, entries)) => reuse(entries, names_of(instance)),
                None => names_of(instance).into_iter().map(Arc::new).collect(),
            };
            told.extend(entries.iter().filter(|it| networks.contains(&&it.network_id)).cloned());
            self.0.push((instance.clone(), entries));
        }
        told
    }
}

fn reuse(before: Vec<Arc<NameEntry>>, now: Vec<NameEntry>) -> Vec<Arc<NameEntry>> {
    let same = before.len() == now.len() && before.iter().zip(&now).all(|(a, b)| **a == *b);
    if same { before } else { now.into_iter().map(Arc::new).collect() }
}

/// The names an instance has on its networks while it runs or is about to.
fn names_of(instance: &Instance) -> Vec<NameEntry> {
    let wanted = instance.spec.run != RunState::Stopped && instance.meta.deleted.is_none();
    let known = match instance.status.phase {
        Phase::Running | Phase::Paused => true,
        Phase::Pending | Phase::Creating | Phase::Restarting => wanted,
        Phase::Exited | Phase::Failed | Phase::Removing => false,
    };
    let interfaces = instance.spec.placement.iter().flat_map(|placed| &placed.interfaces);
    interfaces.filter(|_| known).map(|interface| name_on(instance, interface)).collect()
}

fn name_on(instance: &Instance, interface: &Interface) -> NameEntry {
    let v4 = interface.ipv4.map(|net| IpAddr::V4(net.addr()));
    let v6 = interface.ipv6.map(|net| IpAddr::V6(net.addr()));
    let mut aliases = interface.aliases.clone();
    aliases.push(instance.meta.id.short().to_owned());
    if !instance.spec.hostname.is_empty() && !aliases.contains(&instance.spec.hostname) {
        aliases.push(instance.spec.hostname.clone());
    }
    NameEntry {
        network_id: interface.network_id.clone(),
        network: interface.network.clone(),
        project: instance.meta.project.clone(),
        name: match instance.meta.name.len() <= model::name::MAX_DNS_LABEL {
            true => instance.meta.name.clone(),
            false => instance.meta.id.short().to_owned(),
        },
        aliases,
        addresses: v4.into_iter().chain(v6).collect(),
    }
}
