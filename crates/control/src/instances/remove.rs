//! Taking instances away.

use std::sync::Arc;

use model::instance::{Instance, InstanceNoun, Phase, RunState, StopRequest};
use model::{Error, Kind, Object, Result};

use super::{Instances, clone, is_active};
use crate::batch::Batch;
use crate::caller::{Caller, Verb, authorise};
use crate::core::{Core, Mode};
use crate::mirror::State;
use crate::service::{Context, find};
use crate::volumes::{is_owned, users};

/// The finalizer that takes an instance's anonymous volumes away with it.
pub(crate) const VOLUMES: &str = "volumes";

/// How an instance is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RemoveOptions {
    /// End it first if it runs, without waiting.
    pub force: bool,
    /// Its anonymous volumes go with it.
    pub volumes: bool,
}

impl Instances {
    /// Removes an instance: at once when no node has it, else when its node has cleaned up. Of one
    /// that is being removed already it changes nothing but what the options add.
    ///
    /// # Errors
    /// `Conflict` for one that runs, or that a machine is still to be made of, unless `force`.
    pub async fn remove(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        options: RemoveOptions,
        mode: Mode,
    ) -> Result<Arc<Instance>> {
        authorise(caller, Verb::Delete, Kind::Instance, project)?;
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find::<InstanceNoun>(state, project, name)?;
            let mut new = Instance::clone(old);
            let context = Context { state, caller, core: &self.core, now };
            prepare(&context, &mut new, &options, batch)?;
            if old.meta.deleted.is_some() && new == **old {
                return Ok(new);
            }
            Ok(batch.delete(old, new, now, caller))
        };
        self.changed(mode, self.core.transact(mode, plan).await?)
    }
}

/// Makes an instance ready to be removed, or refuses.
pub(super) fn prepare(
    context: &Context<'_>,
    instance: &mut Instance,
    options: &RemoveOptions,
    batch: &mut Batch,
) -> Result<()> {
    let name = &instance.meta.name;
    let failed = instance.status.phase == Phase::Failed;
    let placed = instance.spec.placement.is_some();
    if is_active(instance) && placed && !failed && !options.force {
        let state = instance.status.phase.as_str();
        return Err(Error::conflict(format!("{} is {state}", instance.title()))
            .next(format!("`hull stop {name}` first, or `hull rm --force {name}`")));
    }
    if !options.force && instance.meta.deleted.is_none() {
        clone::refuse_needed(context.state, instance, None)?;
    }
    let volumes = VOLUMES.to_owned();
    if options.volumes && !instance.meta.finalizers.contains(&volumes) {
        instance.meta.finalizers.push(volumes);
    }
    if instance.spec.run != RunState::Stopped {
        instance.spec.run = RunState::Stopped;
        instance.spec.stop = Some(StopRequest::default());
        instance.meta.generation += 1;
    } else if options.force && instance.status.phase.is_live() {
        instance.spec.stop = Some(StopRequest::default());
    }
    if instance.meta.finalizers.iter().all(|finalizer| finalizer == VOLUMES) {
        finish(context.state, instance, context, batch);
    }
    Ok(())
}

/// Has an instance end as its spec says, and go then, with its anonymous volumes.
pub(crate) fn retire(
    state: &State,
    core: &Core,
    old: &Arc<Instance>,
    now: model::Time,
    batch: &mut Batch,
) -> Result<()> {
    let by = Caller::platform();
    let mut new = Instance::clone(old);
    let context = Context { state, caller: &by, core, now };
    prepare(&context, &mut new, &RemoveOptions { force: true, volumes: true }, batch)?;
    new.spec.stop.clone_from(&old.spec.stop);
    batch.delete(old, new, now, &by);
    Ok(())
}

/// Has the anonymous volumes go, if they are to, once no node has the instance.
fn finish(state: &State, instance: &mut Instance, context: &Context<'_>, batch: &mut Batch) {
    if instance.meta.finalizers.is_empty() {
        return;
    }
    instance.meta.finalizers.clear();
    delete_anonymous(state, instance, context.now, context.caller, batch);
}

/// Removes the anonymous volumes that were made for an instance and that no other one uses.
pub(crate) fn delete_anonymous(
    state: &State,
    instance: &Instance,
    now: model::Time,
    caller: &Caller,
    batch: &mut Batch,
) {
    let volumes = state.volumes.in_project(&instance.meta.project);
    for volume in volumes.filter(|volume| volume.spec.anonymous && is_owned(volume, instance)) {
        let others = users(state, volume).any(|user| user.meta.id != instance.meta.id);
        if !others && volume.meta.deleted.is_none() {
            batch.delete(volume, Object::clone(volume), now, caller);
        }
    }
}
