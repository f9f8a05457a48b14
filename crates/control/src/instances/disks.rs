//! Disks of a machine that come, go and grow.

use model::instance::{DiskOptions, Instance};
use model::{Bytes, Error, Result};

use super::create::make_volumes;
use crate::batch::Batch;
use crate::reconcile::placement;
use crate::service::Context;

/// Takes in a change of disks: refuses what shrinks, makes volumes that are not there, and has those
/// without a node live where the machine is.
pub(super) fn change(
    context: &Context<'_>,
    old: &Instance,
    new: &mut Instance,
    batch: &mut Batch,
) -> Result<()> {
    let root = |instance: &Instance| instance.spec.machine.as_ref().and_then(|it| it.root_size);
    let bounds = |instance: &Instance| {
        let machine = instance.spec.machine.as_ref();
        machine.map_or((0, 0), |it| (it.root_iops, it.root_bps))
    };
    let (before, after): (Vec<_>, Vec<_>) =
        (old.spec.disks().collect(), new.spec.disks().collect());
    let same = before == after && root(old) == root(new) && bounds(old) == bounds(new);
    if same && discs(old) == discs(new) {
        return Ok(());
    }
    if old.status.machine.is_none() && old.status.runs > 0 {
        return Err(Error::invalid(format!("{} is a container: it has no disks", old.title()))
            .at("spec.containers")
            .next("make it anew with -v NAME:/path"));
    }
    if let (Some(was), Some(size)) = (root(old), root(new)) {
        grown("spec.machine.rootSize", "the root disk", was, size)?;
    }
    for (name, options) in &after {
        let was = before.iter().find(|(it, _)| it == name);
        if let Some(((_, was), size)) = was.zip(options.size)
            && let Some(was) = was.size
        {
            grown("spec.containers[0].mounts", &format!("disk {name:?}"), was, size)?;
        }
    }
    twice(&after)?;
    house(context, new, batch)?;
    make_volumes(context, new, batch)
}

/// What is to be in its CD drives.
fn discs(instance: &Instance) -> &[String] {
    instance.spec.machine.as_ref().map(|machine| machine.cdroms.as_slice()).unwrap_or_default()
}

fn grown(field: &str, what: &str, was: Bytes, size: Bytes) -> Result<()> {
    match size < was {
        true => Err(Error::invalid(format!("{what} has {was}: disks do not shrink to {size}"))
            .at(field)
            .next("make a smaller one and copy")),
        false => Ok(()),
    }
}

fn twice(disks: &[(&str, &DiskOptions)]) -> Result<()> {
    for (index, (name, _)) in disks.iter().enumerate() {
        if disks[..index].iter().any(|(it, _)| it == name) {
            return Err(Error::invalid(format!("volume {name:?} is a disk twice"))
                .at("spec.containers[0].mounts"));
        }
    }
    Ok(())
}

/// Volumes that no node has yet come to live where the machine is; those of other nodes are refused.
fn house(context: &Context<'_>, new: &Instance, batch: &mut Batch) -> Result<()> {
    let Some(placed) = &new.spec.placement else { return Ok(()) };
    for (name, _) in new.spec.disks() {
        let Some(volume) = context.state.volumes.by_name(&new.meta.project, name) else { continue };
        match &volume.spec.node {
            Some(node) if *node != placed.node => {
                return Err(Error::conflict(format!(
                    "volume {name:?} is on node {node}, and {} on {}",
                    new.title(),
                    placed.node
                ))
                .at("spec.containers[0].mounts"));
            }
            Some(_) => {}
            None => batch.replace(volume, &placement::housed(volume, &placed.node)),
        }
    }
    Ok(())
}
