//! Completing and checking a new instance, and claiming what it needs to run.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::error::Code;
use model::instance::{
    Instance, InstanceNoun, InstanceSpec, MountKind, NetworkMode, RunState, Sharing,
};
use model::meta::Owner;
use model::network::{DEFAULT_NETWORK, Network, NetworkSpec};
use model::volume::{Volume, VolumeSpec, anonymous_name};
use model::{Error, Kind, Meta, Result};

use super::{VOLUMES, clone};
use crate::batch::Batch;
use crate::caller::{Via, stay_inside};
use crate::keys;
use crate::mirror::State;
use crate::networks::joined;
use crate::quotas;
use crate::reconcile::placement::{self, ledger, ledger_without};
use crate::service::{Context, find};

/// Completes a new instance: what only control writes is as for a new one, names are those of
/// objects that exist, and what it needs besides (volumes, the default network) is made with it.
pub(super) fn admit(
    context: &Context<'_>,
    instance: &mut Instance,
    batch: &mut Batch,
) -> Result<()> {
    begin(instance)?;
    if let Some(seed) =
        instance.spec.machine.as_ref().and_then(|machine| machine.cloud_init.as_ref())
    {
        machines::seed::check(seed).map_err(|error| error.under("spec.machine.cloudInit"))?;
    }
    if !instance.spec.ports.is_empty() && instance.spec.network == NetworkMode::None {
        return Err(Error::invalid("ports can be published only from a network")
            .at("spec.ports")
            .next("leave out the network mode, or the ports"));
    }
    resolve_partners(context, instance)?;
    clone::admit(context, instance)?;
    crate::handed::check_named(context, instance)?;
    if let Some(network) = check_networks(context, instance, batch)? {
        batch.create(&network);
    }
    make_volumes(context, instance, batch)?;
    if instance.spec.auto_remove {
        instance.meta.finalizers.push(VOLUMES.to_owned());
    }
    stay_inside(context.caller, instance.spec.reach()).map_err(|error| error.under("spec"))?;
    check_claims(context, instance)
}

fn begin(instance: &mut Instance) -> Result<()> {
    let spec = &mut instance.spec;
    spec.placement = None;
    spec.stop = None;
    spec.final_run = 0;
    spec.runs = match spec.run {
        RunState::Running => 1,
        RunState::Stopped => 0,
        RunState::Paused => {
            return Err(Error::invalid("an instance cannot begin paused")
                .at("spec.run")
                .next("make it running, then pause it"));
        }
    };
    Ok(())
}

/// Writes the names of the instances whose namespaces are shared, which may have been given by id.
///
/// Who shares what an instance has of the host's, has the host's: that is asked for by its own name, by who may. What the
/// platform makes of a template says so itself, or its node refuses it.
fn resolve_partners(context: &Context<'_>, instance: &mut Instance) -> Result<()> {
    let project = instance.meta.project.clone();
    let resolve = |name: &mut String, field: &str| {
        let at = |error: Error| error.at(format!("spec.{field}"));
        let partner = find::<InstanceNoun>(context.state, &project, name).map_err(at)?;
        partner.meta.name.clone_into(name);
        Ok::<_, Error>(partner)
    };
    let by_somebody = context.caller.via != Via::Platform;
    let spec = &mut instance.spec;
    if let NetworkMode::Instance { name } = &mut spec.network {
        let partner = resolve(name, "network.name")?;
        if by_somebody && partner.spec.network == NetworkMode::Host {
            spec.network = NetworkMode::Host;
        }
    }
    let others: [(&mut Sharing, &str, Shares); 4] = [
        (&mut spec.pid, "pid", |spec| &spec.pid),
        (&mut spec.ipc, "ipc", |spec| &spec.ipc),
        (&mut spec.uts, "uts", |spec| &spec.uts),
        (&mut spec.cgroup, "cgroup", |spec| &spec.cgroup),
    ];
    for (sharing, field, of) in others {
        if let Sharing::Instance(name) = sharing {
            let partner = resolve(name, field)?;
            if by_somebody && *of(&partner.spec) == Sharing::Host {
                *sharing = Sharing::Host;
            }
        }
    }
    Ok(())
}

/// One of the namespaces that an instance may share.
type Shares = fn(&InstanceSpec) -> &Sharing;

/// Refuses networks that are not there. The default one is made: it is returned, to be written.
pub(super) fn check_networks(
    context: &Context<'_>,
    instance: &Instance,
    batch: &mut Batch,
) -> Result<Option<Network>> {
    let (project, mut made) = (&instance.meta.project, None);
    for (index, name) in joined(instance).enumerate() {
        let network = context.state.networks.by_name(project, name);
        match network {
            Some(network) if network.meta.deleted.is_none() => {}
            Some(_) => {
                return Err(Error::conflict(format!("network {name:?} is being removed"))
                    .at(format!("spec.network.attachments[{index}].network"))
                    .next("try again in a moment, or join another network"));
            }
            None if name == DEFAULT_NETWORK => {
                made = Some(make_default_network(context, project, batch)?);
            }
            None => {
                return Err(Error::not_found(format!("there is no network {name:?}"))
                    .coded(Code::NetworkMissing)
                    .at(format!("spec.network.attachments[{index}].network"))
                    .next(format!("`hull network create {name}`")));
            }
        }
    }
    Ok(made)
}

fn make_default_network(
    context: &Context<'_>,
    project: &str,
    batch: &mut Batch,
) -> Result<Network> {
    let meta = Meta::new(project, DEFAULT_NETWORK, context.core.new_id(), context.now);
    let mut network = Network::new(meta, NetworkSpec::default());
    crate::subnets::assign(context.state, context.core, &mut network, batch)?;
    let event = model::event::Event::new(context.now, Kind::Network, "create", &network.meta);
    batch.event(context.caller, event);
    Ok(network)
}

/// Makes the volumes that are not there: named ones for whoever comes, anonymous ones for this
/// instance alone.
pub(super) fn make_volumes(
    context: &Context<'_>,
    instance: &mut Instance,
    batch: &mut Batch,
) -> Result<()> {
    let (project, mut made) = (instance.meta.project.clone(), BTreeSet::new());
    let owner = Owner {
        kind: Kind::Instance,
        id: instance.meta.id.clone(),
        name: instance.meta.name.clone(),
    };
    let asked = instance.clone();
    let spec = &mut instance.spec;
    // One that has its node already has its volumes there, too.
    let node = spec.placement.as_ref().map(|placed| placed.node.clone());
    let containers = spec.init.iter_mut().chain(&mut spec.containers);
    for mount in containers.flat_map(|container| &mut container.mounts) {
        let MountKind::Volume { name, .. } = &mut mount.kind else { continue };
        let anonymous = name.is_empty();
        if anonymous {
            anonymous_name(&context.core.new_id()).clone_into(name);
        }
        match context.state.volumes.by_name(&project, name) {
            Some(volume) if volume.meta.deleted.is_some() => {
                return Err(Error::conflict(format!("volume {name:?} is being removed"))
                    .at("spec.containers")
                    .next("try again in a moment, or mount another volume"));
            }
            Some(_) => {}
            None if made.contains(name) => {}
            None => {
                let owner = anonymous.then(|| owner.clone());
                let spec = clone::volume_spec(context.state, &asked, name);
                let volume = new_volume(context, &project, name, owner, spec);
                batch.create(&match &node {
                    Some(node) => placement::housed(&volume, node),
                    None => volume,
                });
                made.insert(name.clone());
            }
        }
    }
    Ok(())
}

fn new_volume(
    context: &Context<'_>,
    project: &str,
    name: &str,
    owner: Option<Owner>,
    spec: VolumeSpec,
) -> Volume {
    let mut meta = Meta::new(project, name, context.core.new_id(), context.now);
    let anonymous = owner.is_some();
    meta.owner = owner;
    Volume::new(meta, VolumeSpec { anonymous, ..spec })
}

/// Refuses at once what another instance holds by name: a port of every node, a fixed address.
/// Everything else can change and is waited for. One that is not to run yet may ask for the address of
/// one whose place it is to take: it gets its own as soon as that one is gone.
fn check_claims(context: &Context<'_>, instance: &Instance) -> Result<()> {
    let fixed = match &instance.spec.network {
        NetworkMode::Networks { attachments } => {
            attachments.iter().any(|it| it.ipv4.is_some() || it.ipv6.is_some())
        }
        NetworkMode::Host | NetworkMode::None | NetworkMode::Instance { .. } => false,
    };
    let runs = instance.spec.run == RunState::Running;
    let ports = runs && instance.spec.ports.iter().any(|port| port.host.is_some());
    if !fixed && !ports {
        return Ok(());
    }
    let mut probe = instance.clone();
    // What is made in the same change is not in the state yet.
    probe.spec.init.clear();
    probe.spec.containers.iter_mut().for_each(|container| container.mounts.clear());
    if !ports {
        probe.spec.ports.clear();
    }
    if !networks_are_there(context, instance) {
        probe.spec.network = NetworkMode::None;
    }
    let Err(refusal) = ledger(context.state).place(&probe) else { return Ok(()) };
    let error = refusal.error();
    let waits = !runs && error.code() == Some(Code::AddressTaken);
    if refusal.is_conflict() && !waits { Err(error) } else { Ok(()) }
}

/// Whether an instance's networks are in the state, and none is made only in the same change.
fn networks_are_there(context: &Context<'_>, instance: &Instance) -> bool {
    let network = |name| context.state.networks.by_name(&instance.meta.project, name);
    joined(instance).all(|name| network(name).is_some())
}

/// Joins a placed instance that is to run to the networks of its names: one may have been removed while it
/// was stopped, and another one of the name made.
pub(super) fn join(
    context: &Context<'_>,
    instance: &mut Instance,
    batch: &mut Batch,
) -> Result<()> {
    let Some(placed) = &instance.spec.placement else { return Ok(()) };
    let there = |network: &Arc<Network>| network.meta.deleted.is_none();
    let networks = &context.state.networks;
    if placed.interfaces.iter().all(|it| networks.by_id(&it.network_id).is_some_and(there)) {
        return Ok(());
    }
    let made = check_networks(context, instance, batch)?;
    placement::rejoin(context.core, context.state, instance, made.as_ref(), batch)
}

/// Claims what a placed instance needs for another run, as it is to be then: its ports, its memory, its share of the
/// quota. One that is not placed claims it when it is, and is refused at once what another one holds by name.
pub(super) fn claim(
    context: &Context<'_>,
    old: &Instance,
    new: &mut Instance,
    batch: &mut Batch,
) -> Result<()> {
    let reserves = |instance: &Instance| {
        instance.spec.containers.iter().any(|it| it.resources.memory_reservation.is_some())
    };
    let Some(placed) = &old.spec.placement else { return check_claims(context, new) };
    let bounded = quotas::of(context.state, &old.meta.project).is_some();
    let needs = !old.spec.ports.is_empty() || reserves(new) || bounded;
    if planner::holds(old) || !needs {
        return Ok(());
    }
    batch.guard(context.state, keys::PLACEMENT);
    let mut probe = new.clone();
    probe.spec.run = RunState::Running;
    if !networks_are_there(context, old) {
        probe.spec.network = NetworkMode::None;
    }
    let mut decision = ledger_without(context.state, &old.meta.id)
        .place(&probe)
        .map_err(|refusal| refusal.error())?;
    let placed = new.spec.placement.as_ref().unwrap_or(placed);
    decision.placement.interfaces.clone_from(&placed.interfaces);
    if decision.placement != *placed {
        new.spec.placement = Some(decision.placement);
    }
    Ok(())
}

/// The instances that share namespaces with one, by its name.
pub(super) fn partners_of<'a>(
    state: &'a State,
    instance: &'a Instance,
) -> impl Iterator<Item = &'a Arc<Instance>> {
    let name = instance.meta.name.as_str();
    state.instances.in_project(&instance.meta.project).filter(move |other| {
        let spec = &other.spec;
        let by_network = matches!(&spec.network, NetworkMode::Instance { name: it } if it == name);
        let others = [&spec.pid, &spec.ipc, &spec.uts, &spec.cgroup];
        let shares = |sharing: &&Sharing| matches!(sharing, Sharing::Instance(it) if it == name);
        other.meta.id != instance.meta.id && (by_network || others.iter().any(shares))
    })
}
