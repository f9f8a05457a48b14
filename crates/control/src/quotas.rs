//! What projects use of their quotas. New instances and volumes are held to them where they are placed; this is
//! about what is there already and is to have more.

use model::instance::Instance;
use model::project::{Quota, Used};
use model::volume::Volume;
use model::{Noun, Object, Result, Uid};
use planner::quota::{self, Limit, Tally};

use crate::batch::Batch;
use crate::keys;
use crate::mirror::State;
use crate::service::Context;

/// The quota of a project, where it has one.
pub(crate) fn of<'a>(state: &'a State, project: &str) -> Option<&'a Quota> {
    let quota = &state.projects.by_name("", project)?.spec.quota;
    (!quota.is_unbounded()).then_some(quota)
}

/// What is used in a project.
pub(crate) fn used(state: &State, project: &str) -> Used {
    tally(state, project, None).used().clone()
}

/// What the things of a project have, but for one of them.
fn tally(state: &State, project: &str, without: Option<&Uid>) -> Tally {
    let mut tally = Tally::default();
    for volume in state.volumes.in_project(project) {
        if volume.spec.node.is_some() && without != Some(&volume.meta.id) {
            tally.enter_volume(volume);
        }
    }
    for instance in state.instances.in_project(project) {
        if instance.spec.placement.is_some() && without != Some(&instance.meta.id) {
            tally.enter(instance);
        }
    }
    tally
}

/// Refuses what an instance that has its place would come to have beyond the quota. What it had no limit of
/// was as much as there is: a limit is no more than that.
pub(crate) fn check_instance(
    context: &Context<'_>,
    old: &Instance,
    new: &Instance,
    batch: &mut Batch,
) -> Result<()> {
    let project = &old.meta.project;
    let Some(quota) = of(context.state, project) else { return Ok(()) };
    if old.spec.placement.is_none() {
        return Ok(());
    }
    let before: Vec<_> = quota::missing_limits(quota, old).collect();
    if planner::holds(new) {
        let lost = quota::missing_limits(quota, new).find(|limit| !before.contains(limit));
        if let Some(limit) = lost {
            return Err(limit.refusal(new).error());
        }
    }
    let rest = tally(context.state, project, Some(&old.meta.id));
    let (mut had, mut wants) = (rest.clone(), rest);
    had.enter(old);
    // Volumes without a node come to be where the machine is; a disk is no larger than its volume.
    for (name, _) in new.spec.disks() {
        if let Some(volume) = context.state.volumes.by_name(project, name) {
            wants.enter_volume(volume);
        }
    }
    wants.enter(new);
    let mut had = had.used().clone();
    for limit in before {
        match limit {
            Limit::Cpus => had.cpus = had.cpus.max(wants.used().cpus),
            Limit::Memory => had.memory = had.memory.max(wants.used().memory),
        }
    }
    check(context.state, quota, old, &had, wants.used(), batch)
}

/// Refuses a size that a volume would come to have beyond the quota.
pub(crate) fn check_volume(
    context: &Context<'_>,
    old: &Volume,
    new: &Volume,
    batch: &mut Batch,
) -> Result<()> {
    let project = &old.meta.project;
    let Some(quota) = of(context.state, project) else { return Ok(()) };
    if old.spec.node.is_none() || old.spec.size == new.spec.size {
        return Ok(());
    }
    let (had, wants) = before_and_after(context.state, old, new, Tally::enter_volume);
    check(context.state, quota, old, had.used(), wants.used(), batch)
}

/// Refuses that an instance that is stopped runs again beyond the quota.
pub(crate) fn check_run(
    state: &State,
    old: &Instance,
    new: &Instance,
    batch: &mut Batch,
) -> Result<()> {
    let project = &old.meta.project;
    let Some(quota) = of(state, project) else { return Ok(()) };
    let (had, wants) = before_and_after(state, old, new, Tally::enter);
    check(state, quota, old, had.used(), wants.used(), batch)
}

/// What the things of a project have, with one of them as it was and as it is to be.
fn before_and_after<N: Noun>(
    state: &State,
    old: &Object<N>,
    new: &Object<N>,
    enter: fn(&mut Tally, &Object<N>),
) -> (Tally, Tally) {
    let rest = tally(state, &old.meta.project, Some(&old.meta.id));
    let (mut had, mut wants) = (rest.clone(), rest);
    enter(&mut had, old);
    enter(&mut wants, new);
    (had, wants)
}

fn check<N: Noun>(
    state: &State,
    quota: &Quota,
    object: &Object<N>,
    had: &Used,
    wants: &Used,
    batch: &mut Batch,
) -> Result<()> {
    if had == wants {
        return Ok(());
    }
    batch.guard(state, keys::PLACEMENT);
    quota::within(quota, &object.meta.project, &object.title(), had, wants)
        .map_err(|refusal| refusal.error())
}
