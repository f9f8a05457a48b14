//! What instances may read of the apps of their project, where one of them was made to be read by them:
//! from Rancher's files, or with metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use link::NameEntry;
use link::stacks::{Stack, StackContainer, StackHost, StackNetwork, StackService, Stacks};
use model::app::{App, AppService, LINKS, METADATA, RANCHER_STACK};
use model::instance::{Health, Instance, Phase, Port};
use model::network::{DEFAULT_NETWORK, METADATA as METADATA_ADDRESS};
use model::service::{SLOT, ServiceMode, ServicePhase};
use model::{Object, Uid};

use crate::mirror::State;

/// What the service that tells them is called on networks, as in Rancher.
const NAME: &str = "rancher-metadata";
/// Its name in all of Rancher's domain.
const WHOLE_NAME: &str = "rancher-metadata.rancher.internal";

/// Whether an instance was made to ask.
fn asks(instance: &Instance) -> bool {
    instance.meta.annotations.contains_key(METADATA)
        || instance.meta.labels.contains_key(RANCHER_STACK)
}

/// What is told to a node whose instances are these: one for each project that has one that asks.
pub(super) fn of<'a>(
    state: &'a State,
    instances: impl Iterator<Item = &'a std::sync::Arc<Instance>>,
) -> Vec<Stacks> {
    let projects: BTreeSet<&str> =
        instances.filter(|it| asks(it)).map(|it| it.meta.project.as_str()).collect();
    projects.into_iter().map(|project| of_project(state, project)).collect()
}

/// The name of the service on all networks of instances that ask, and have a way to it.
pub(super) fn names<'a>(
    state: &'a State,
    instances: impl Iterator<Item = &'a std::sync::Arc<Instance>>,
) -> Vec<NameEntry> {
    let mut networks: BTreeSet<&Uid> = BTreeSet::new();
    for instance in instances.filter(|it| asks(it)) {
        let interfaces = instance.spec.placement.iter().flat_map(|placed| &placed.interfaces);
        networks.extend(interfaces.map(|it| &it.network_id));
    }
    let entry = |id: &Uid| {
        let network = state.networks.by_id(id).filter(|it| !it.spec.internal)?;
        Some(NameEntry {
            network_id: id.clone(),
            network: network.meta.name.clone(),
            project: network.meta.project.clone(),
            name: NAME.to_owned(),
            aliases: vec![WHOLE_NAME.to_owned()],
            addresses: vec![IpAddr::V4(METADATA_ADDRESS)],
        })
    };
    networks.into_iter().filter_map(entry).collect()
}

fn of_project(state: &State, project: &str) -> Stacks {
    let mut stacks: Vec<Stack> = state
        .apps
        .in_project(project)
        .filter(|app| app.meta.deleted.is_none())
        .map(|app| stack(state, app))
        .collect();
    stacks.sort_by(|one, other| one.name.cmp(&other.name));
    let mut hosts: Vec<StackHost> = state
        .nodes
        .iter()
        .map(|node| StackHost {
            id: node.meta.id.clone(),
            name: node.meta.name.clone(),
            address: node.status.addresses.first().cloned(),
            labels: node.meta.labels.clone(),
        })
        .collect();
    hosts.sort_by(|one, other| one.name.cmp(&other.name));
    let mut networks: Vec<StackNetwork> = state
        .networks
        .in_project(project)
        .map(|network| StackNetwork {
            id: network.meta.id.clone(),
            name: network.meta.name.clone(),
            default: network.meta.name == DEFAULT_NETWORK,
        })
        .collect();
    networks.sort_by(|one, other| one.name.cmp(&other.name));
    Stacks { project: project.to_owned(), stacks, hosts, networks }
}

fn stack(state: &State, app: &App) -> Stack {
    let services = &app.spec.objects.services;
    Stack {
        id: app.meta.id.clone(),
        name: app.meta.name.clone(),
        services: services.iter().flat_map(|it| parts(state, app, it)).collect(),
    }
}

/// What the files call services, of one that makes instances.
fn parts(state: &State, app: &App, wanted: &AppService) -> Vec<StackService> {
    let Some(service) = state.services.by_name(&app.meta.project, &wanted.object.name) else {
        return Vec::new();
    };
    let template = &wanted.spec.template;
    let containers = || template.spec.init.iter().chain(&template.spec.containers);
    let key = &wanted.object.key;
    let written = template.annotations.get(METADATA);
    let mut metadata: BTreeMap<String, BTreeMap<String, serde_json::Value>> =
        written.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let written = template.annotations.get(LINKS);
    let links: BTreeMap<String, BTreeMap<String, String>> =
        written.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let full = |name: &String| match name.contains('/') {
        true => name.clone(),
        false => format!("{}/{name}", app.meta.name),
    };
    let mut instances: Vec<_> = state.instances.owned_by(&service.meta.id).collect();
    instances.retain(|it| it.meta.deleted.is_none());
    instances.sort_by_key(|it| (slot(it).unwrap_or(u32::MAX), it.meta.name.clone()));
    let mut part = |name: &str| StackService {
        id: service.meta.id.clone(),
        name: name.to_owned(),
        primary: key.clone(),
        sidekicks: match name == key {
            true => containers().map(|it| it.name.clone()).filter(|it| it != key).collect(),
            false => Vec::new(),
        },
        scale: match service.spec.mode {
            ServiceMode::Replicated { replicas } => Some(replicas),
            ServiceMode::Job { .. } | ServiceMode::Global {} | ServiceMode::Cron(_) => None,
        },
        address: service.status.addresses.iter().flat_map(|it| &it.addresses).next().copied(),
        ready: service.status.phase == ServicePhase::Steady,
        ports: service.spec.template.spec.ports.iter().flat_map(Port::expand).map(port).collect(),
        labels: template.labels.iter().chain(&wanted.object.labels).map(owned).collect(),
        metadata: metadata.remove(name).unwrap_or_default(),
        links: links
            .get(name)
            .into_iter()
            .flatten()
            .map(|(service, alias)| (full(service), alias.clone()))
            .collect(),
        containers: instances
            .iter()
            .enumerate()
            .map(|(place, it)| container(it, name, name == key, place))
            .collect(),
    };
    let names: Vec<String> = containers().map(|it| it.name.clone()).collect();
    // The first one has the service's own name, whatever its container is called.
    let first = std::iter::once(key.as_str());
    first.chain(names.iter().map(String::as_str).filter(|it| it != key)).map(&mut part).collect()
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

fn port(port: Port) -> String {
    let own = port.host.map_or_else(String::new, |host| format!("{host}:"));
    format!("{own}{}/{}", port.target, port.protocol.as_str())
}

fn slot(instance: &Instance) -> Option<u32> {
    instance.meta.labels.get(SLOT)?.parse().ok()
}

fn container(
    instance: &Object<model::instance::InstanceNoun>,
    name: &str,
    first: bool,
    place: usize,
) -> StackContainer {
    let interfaces = || instance.spec.placement.iter().flat_map(|placed| &placed.interfaces);
    let addresses = interfaces().flat_map(|it| {
        let v6 = it.ipv6.map(|net| IpAddr::V6(net.addr()));
        it.ipv4.map(|net| IpAddr::V4(net.addr())).into_iter().chain(v6)
    });
    let seen = match first {
        true => instance.status.health,
        false => instance.status.container(name).map(|it| it.health).unwrap_or_default(),
    };
    let place = u32::try_from(place + 1).unwrap_or(u32::MAX);
    StackContainer {
        instance: instance.meta.id.clone(),
        name: match first {
            true => instance.meta.name.clone(),
            false => format!("{}-{name}", instance.meta.name),
        },
        first,
        index: slot(instance).unwrap_or(place),
        addresses: addresses.collect(),
        network: interfaces().next().map(|it| it.network_id.clone()),
        mac: interfaces().next().map(|it| it.mac.clone()).unwrap_or_default(),
        labels: instance.meta.labels.clone(),
        node: instance.spec.placement.as_ref().map(|it| it.node.clone()).unwrap_or_default(),
        running: instance.status.phase == Phase::Running,
        health: match seen {
            Health::Unchecked => None,
            Health::Starting => Some("initializing".to_owned()),
            Health::Healthy => Some("healthy".to_owned()),
            Health::Unhealthy => Some("unhealthy".to_owned()),
        },
    }
}
