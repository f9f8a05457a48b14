//! How a service is reached: its addresses, its ports, and where they lead.

use std::net::IpAddr;
use std::sync::Arc;

use link::{NameEntry, ServiceLinks};
use model::instance::{Attachment, Instance, NetworkMode, Reason};
use model::network::{DEFAULT_NETWORK, Network};
use model::service::{Affinity, Service as Kept, ServiceAddress};
use model::{Error, Result};
use planner::rollout::is_ready;

use crate::batch::Batch;
use crate::core::Core;
use crate::keys;
use crate::mirror::State;
use crate::reconcile::placement::{keep_cursors, ledger_of, ledger_without_service};

/// The code of what publishes ports and has only networks that nothing comes in by.
const NO_WAY_IN: &str = "NoWayIn";
/// What the names of a service's instances taken together begin with.
const TASKS: &str = "tasks.";

/// Gives a service what it lacks of addresses and ports, and takes away what it has no use for; why
/// something cannot be given.
pub(super) fn settle(
    core: &Core,
    state: &State,
    service: &mut Kept,
    batch: &mut Batch,
) -> Option<Reason> {
    let wanted = match service.spec.has_address() && service.meta.deleted.is_none() {
        true => networks(state, service),
        false => Vec::new(),
    };
    let fits = |own: &ServiceAddress, network: &Network| {
        let families = [network.spec.ipv4.is_some(), network.spec.ipv6.is_some()];
        let count = families.into_iter().filter(|has| *has).count();
        own.network_id == network.meta.id
            && own.addresses.len() == count
            && own.addresses.iter().all(|address| is_within(network, *address))
    };
    let mut refused = None;
    let mut addresses = Vec::new();
    let missing =
        |network: &Arc<Network>| !service.status.addresses.iter().any(|own| fits(own, network));
    let mut ledger = wanted.iter().any(missing).then(|| ledger_of(core, state));
    for network in &wanted {
        if let Some(own) = service.status.addresses.iter().find(|own| fits(own, network)) {
            addresses.push(own.clone());
        } else if let Some(ledger) = &mut ledger {
            match ledger.service_address(network) {
                Ok(given) => addresses.push(ServiceAddress {
                    network: network.meta.name.clone(),
                    network_id: network.meta.id.clone(),
                    addresses: given,
                }),
                Err(refusal) => refused = Some(refusal.reason()),
            }
        }
    }
    if let Some(ledger) = ledger {
        batch.guard(state, keys::PLACEMENT);
        keep_cursors(core, ledger);
    }
    service.status.addresses = addresses;
    let ports = settle_ports(core, state, service, &wanted, batch);
    refused.or(ports).or_else(|| unpublished(state, service))
}

fn settle_ports(
    core: &Core,
    state: &State,
    service: &mut Kept,
    networks: &[Arc<Network>],
    batch: &mut Batch,
) -> Option<Reason> {
    let asked = &service.spec.template.spec.ports;
    if !service.spec.has_address() || service.meta.deleted.is_some() || asked.is_empty() {
        service.status.ports.clear();
        return None;
    }
    if let Some(reason) = shut_in(service, networks) {
        service.status.ports.clear();
        return Some(reason);
    }
    // Nobody is given what it has: the books are opened only for what it lacks.
    if planner::ports_are_given(asked, &service.status.ports) {
        return None;
    }
    match ledger_without_service(core, state, &service.meta.id).service_ports(service) {
        Ok(ports) => {
            batch.guard(state, keys::PLACEMENT);
            service.status.ports = ports;
            None
        }
        Err(reason) => {
            service.status.ports.clear();
            Some(reason)
        }
    }
}

/// Why the ports of a service lead nowhere: all of its networks are internal.
fn shut_in(service: &Kept, networks: &[Arc<Network>]) -> Option<Reason> {
    let shut = !networks.is_empty() && networks.iter().all(|network| network.spec.internal);
    let message = || {
        let names: Vec<_> = networks.iter().map(|network| network.meta.name.as_str()).collect();
        format!(
            "service {:?} is not published: nothing comes in by internal networks ({})",
            service.meta.name,
            names.join(", ")
        )
    };
    shut.then(|| Reason {
        next: Some("put it on a network that is not internal too, or publish no ports".to_owned()),
        ..Reason::new(NO_WAY_IN, message())
    })
}

/// Refuses a service that publishes ports to which there is no way.
pub(crate) fn refuse_shut_in(state: &State, service: &Kept) -> Result<()> {
    if !service.spec.has_address() || service.spec.template.spec.ports.is_empty() {
        return Ok(());
    }
    match shut_in(service, &networks(state, service)) {
        Some(reason) => Err(Error::invalid(reason.message)
            .at("template.spec.ports")
            .next(reason.next.unwrap_or_default())),
        None => Ok(()),
    }
}

/// Why a node does not publish a port of a service, as its agent says.
fn unpublished(state: &State, service: &Kept) -> Option<Reason> {
    if service.status.ports.is_empty() {
        return None;
    }
    let mut found = state.nodes.iter().filter(|node| node.status.ready).flat_map(|node| {
        let own = node.status.unpublished.iter().filter(|it| it.service == service.meta.id);
        own.map(move |it| (&node.meta.name, &it.reason))
    });
    let (node, reason) = found.next()?;
    let name = &service.meta.name;
    let message = format!("service {name:?} is not published on node {node}: {}", reason.message);
    Some(Reason { message, ..reason.clone() })
}

fn is_within(network: &Network, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => network.spec.ipv4.is_some_and(|net| net.contains(&address)),
        IpAddr::V6(address) => network.spec.ipv6.is_some_and(|net| net.contains(&address)),
    }
}

/// The attachments of a service's template; the default network where it names none.
fn attachments(service: &Kept) -> Vec<Attachment> {
    match &service.spec.template.spec.network {
        NetworkMode::Networks { attachments } if attachments.is_empty() => {
            vec![Attachment { network: DEFAULT_NETWORK.to_owned(), ..Attachment::default() }]
        }
        NetworkMode::Networks { attachments } => attachments.clone(),
        NetworkMode::Host | NetworkMode::None | NetworkMode::Instance { .. } => Vec::new(),
    }
}

/// The networks of a service that are there.
fn networks(state: &State, service: &Kept) -> Vec<Arc<Network>> {
    let project = &service.meta.project;
    let found = |it: Attachment| state.networks.by_name(project, &it.network).cloned();
    let all = attachments(service).into_iter().filter_map(found);
    all.filter(|network| network.meta.deleted.is_none()).collect()
}

/// Instances of a service that new connections are led to, in the order of their names.
fn ready<'a>(state: &'a State, service: &Kept) -> Vec<&'a Arc<Instance>> {
    let leaves = |instance: &Instance| {
        service.status.leaving.iter().any(|it| it.instance == instance.meta.id)
    };
    let owned = state.instances.owned_by(&service.meta.id);
    let mut ready: Vec<_> = owned.filter(|it| is_ready(it) && !leaves(it)).collect();
    ready.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
    ready
}

/// The addresses of these instances on a network.
fn addresses_on(instances: &[&Arc<Instance>], network: &model::Uid) -> Vec<IpAddr> {
    let mut all = Vec::new();
    for instance in instances {
        let interfaces = instance.spec.placement.iter().flat_map(|placed| &placed.interfaces);
        for interface in interfaces.filter(|it| it.network_id == *network) {
            all.extend(interface.ipv4.map(|net| IpAddr::V4(net.addr())));
            all.extend(interface.ipv6.map(|net| IpAddr::V6(net.addr())));
        }
    }
    all
}

/// Where a service's addresses and ports lead: one for each of its networks.
pub(crate) fn links_of(state: &State, service: &Kept) -> Vec<ServiceLinks> {
    if service.status.addresses.is_empty() {
        return Vec::new();
    }
    let ready = ready(state, service);
    // Ports come in by a network with a way in.
    let open = |own: &&ServiceAddress| {
        let network = state.networks.by_id(&own.network_id);
        network.is_some_and(|network| !network.spec.internal)
    };
    let open = service.status.addresses.iter().find(open).map(|own| &own.network_id);
    let link = |own: &ServiceAddress| ServiceLinks {
        id: service.meta.id.clone(),
        name: service.meta.name.clone(),
        network_id: own.network_id.clone(),
        addresses: own.addresses.clone(),
        sticky: service.spec.access.affinity == Affinity::ClientAddress,
        members: addresses_on(&ready, &own.network_id),
        ports: match open == Some(&own.network_id) {
            true => service.status.ports.clone(),
            false => Vec::new(),
        },
    };
    service.status.addresses.iter().map(link).collect()
}

/// What a service is called on its networks: its own address, or those of its instances that are ready.
pub(crate) fn names_of(state: &State, service: &Kept) -> Vec<NameEntry> {
    if !service.spec.lasts() || service.meta.name.len() > model::name::MAX_DNS_LABEL {
        return Vec::new();
    }
    let ready = ready(state, service);
    let entry = |attachment: Attachment| {
        let network = state.networks.by_name(&service.meta.project, &attachment.network)?;
        let own = service.status.addresses.iter().find(|own| own.network_id == network.meta.id);
        let addresses = match own {
            Some(own) => own.addresses.clone(),
            None => addresses_on(&ready, &network.meta.id),
        };
        let known = !addresses.is_empty();
        known.then(|| NameEntry {
            network_id: network.meta.id.clone(),
            network: network.meta.name.clone(),
            project: service.meta.project.clone(),
            name: service.meta.name.clone(),
            aliases: attachment.aliases.clone(),
            addresses,
        })
    };
    attachments(service).into_iter().filter_map(entry).collect()
}

/// The names of one instance of a service on its networks: where the service has a name of its own, the
/// instance is one of its tasks.
pub(super) fn alias(service: &Kept, attachment: &mut Attachment) {
    let name = &service.meta.name;
    match service.spec.lasts() {
        true => attachment.aliases = vec![format!("{TASKS}{name}")],
        false if attachment.aliases.contains(name) => {}
        false => attachment.aliases.push(name.clone()),
    }
}
