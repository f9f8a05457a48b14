//! What an existing instance can take.

use model::event::Event;
use model::instance::{
    Instance, InstanceSpec, MachineSpec, NetworkMode, RestartPolicy, RunState, Sharing,
};
use model::service::{REVISION, SERVICE, SLOT};
use model::{Error, Kind, Result};

use super::create::{check_networks, claim, partners_of};
use super::disks;
use crate::batch::Batch;
use crate::caller::stay_inside;
use crate::networks::joined;
use crate::quotas;
use crate::reconcile::placement;
use crate::service::{Context, first_difference};

/// What people may change of an instance that exists; all but what its processes have from their
/// start. Networks come and go besides, where it has a namespace of its own, and a machine's disks.
const CHANGEABLE: [&str; 4] =
    ["restart", "stopTimeout", "containers[*].resources", "init[*].resources"];

/// What only control writes, and the verb that has it written.
const OWN: [(&str, &str); 5] = [
    ("placement", "where an instance is, is decided when it is made"),
    ("runs", "`hull start` and `hull restart` begin a run"),
    ("run", "`hull start`, `stop`, `pause` and `unpause` say what it is to do"),
    ("finalRun", "a signal that ends a run says that none follows it"),
    ("stop", "`hull stop` says how it is to end"),
];

/// Refuses a change of what cannot be changed, naming it; renames what refers to it by name.
pub(super) fn change(
    context: &Context<'_>,
    old: &Instance,
    new: &mut Instance,
    batch: &mut Batch,
) -> Result<()> {
    keep_slot(old, new)?;
    let mut compared = new.spec.clone();
    let rejoined = old.spec.network != new.spec.network
        && old.spec.network.is_own()
        && new.spec.network.is_own();
    if rejoined {
        compared.network.clone_from(&old.spec.network);
    }
    let (before, compared) = (without_disks(old.spec.clone()), without_disks(compared));
    if let Some(field) = first_difference(&before, &compared, &CHANGEABLE) {
        return Err(refuse(old, &field));
    }
    if old.spec.reach().is_none() {
        stay_inside(context.caller, new.spec.reach()).map_err(|error| error.under("spec"))?;
    }
    disks::change(context, old, new, batch)?;
    quotas::check_instance(context, old, new, batch)?;
    if rejoined {
        rejoin(context, old, new, batch)?;
    }
    if old.spec.auto_remove && new.spec.restart != RestartPolicy::No {
        return Err(Error::conflict(format!("{} is removed at its end", old.title()))
            .at("spec.restart")
            .next("make it anew without --rm"));
    }
    // Its node begins what has ended again where the policy is to do so now.
    if old.spec.policy() != new.spec.policy() && new.spec.run != RunState::Stopped {
        claim(context, old, new, batch)?;
    }
    if old.meta.name != new.meta.name {
        rename_in_partners(context, old, &new.meta.name, batch);
    }
    Ok(())
}

/// A spec without what may change of a machine's disks: those in volumes, the size and bounds of its root, and
/// what is in its CD drives.
fn without_disks(mut spec: InstanceSpec) -> InstanceSpec {
    for container in &mut spec.containers {
        container.mounts.retain(|mount| mount.disk.is_none());
    }
    let machine = MachineSpec {
        root_size: None,
        root_iops: 0,
        root_bps: 0,
        cdroms: Vec::new(),
        ..spec.machine.take().unwrap_or_default()
    };
    // Nothing asked is the same as nothing said.
    spec.machine = (machine != MachineSpec::default()).then_some(machine);
    spec
}

/// Joins an instance to the networks it names now, and parts it from those it does not.
fn rejoin(
    context: &Context<'_>,
    old: &Instance,
    new: &mut Instance,
    batch: &mut Batch,
) -> Result<()> {
    let made = check_networks(context, new, batch)?;
    placement::rejoin(context.core, context.state, new, made.as_ref(), batch)?;
    let (before, after): (Vec<_>, Vec<_>) = (joined(old).collect(), joined(new).collect());
    let went = before.iter().filter(|name| !after.contains(name)).map(|name| ("disconnect", *name));
    let came = after.iter().filter(|name| !before.contains(name)).map(|name| ("connect", *name));
    for (action, name) in went.chain(came) {
        let network = context.state.networks.by_name(&new.meta.project, name);
        let Some(network) = network.map(|it| &it.meta).or(made.as_ref().map(|it| &it.meta)) else {
            continue;
        };
        let event = Event::new(context.now, Kind::Network, action, network);
        batch.event(context.caller, event.with("instance", &new.meta.name));
    }
    Ok(())
}

fn refuse(instance: &Instance, field: &str) -> Error {
    let own = OWN.iter().find(|(name, _)| {
        field == *name || field.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '[']))
    });
    let (what, next) = match own {
        Some((_, next)) => ("is written by the platform alone", *next),
        None => ("cannot change once it exists", "remove the instance and make it anew"),
    };
    Error::conflict(format!("spec.{field} of {} {what}", instance.title()))
        .at(format!("spec.{field}"))
        .next(next)
}

/// Has the instances that share its namespaces know it by its new name.
fn rename_in_partners(context: &Context<'_>, old: &Instance, name: &str, batch: &mut Batch) {
    for partner in partners_of(context.state, old) {
        let mut changed = Instance::clone(partner);
        let spec = &mut changed.spec;
        if let NetworkMode::Instance { name: it } = &mut spec.network
            && *it == old.meta.name
        {
            name.clone_into(it);
        }
        for sharing in [&mut spec.pid, &mut spec.ipc, &mut spec.uts, &mut spec.cgroup] {
            if *sharing == Sharing::Instance(old.meta.name.clone()) {
                *sharing = Sharing::Instance(name.to_owned());
            }
        }
        changed.meta.generation += 1;
        batch.replace(partner, &changed);
    }
}

/// Refuses to change the labels by which a service tells its instances apart.
fn keep_slot(old: &Instance, new: &Instance) -> Result<()> {
    let owned = old.meta.owner.as_ref().filter(|owner| owner.kind == Kind::Service);
    let Some(owner) = owned else { return Ok(()) };
    for label in [SERVICE, SLOT, REVISION] {
        if old.meta.labels.get(label) != new.meta.labels.get(label) {
            return Err(Error::conflict(format!("service {:?} keeps label {label}", owner.name))
                .at("meta.labels"));
        }
    }
    Ok(())
}
