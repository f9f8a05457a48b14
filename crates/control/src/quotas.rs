//! What projects use of their quotas. New instances and volumes are held to them where they are placed; this is
//! about what is there already and is to have more.

use model::instance::Instance;
use model::project::{Quota, Used};
use model::volume::Volume;
use model::{Noun, Object, Result, Uid};
use planner::quota::{self, Tally};

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
    tally(state, project, None).used()
}

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

/// Refuses what an instance that has its place would come to have beyond the quota.
pub(crate) fn check_instance(
    context: &Context<'_>,
    old: &Instance,
    new: &Instance,
    batch: &mut Batch,
) -> Result<()> {
    let Some(quota) = of(context.state, &old.meta.project) else { return Ok(()) };
    if old.spec.placement.is_none() {
        return Ok(());
    }
    if planner::holds(new) && quota::has_limits(quota, old).is_ok() {
        quota::has_limits(quota, new).map_err(|refusal| refusal.error())?;
    }
    check(context, quota, old, new, Tally::enter, batch)
}

/// Refuses a size that a volume would come to have beyond the quota.
pub(crate) fn check_volume(
    context: &Context<'_>,
    old: &Volume,
    new: &Volume,
    batch: &mut Batch,
) -> Result<()> {
    match of(context.state, &old.meta.project) {
        Some(quota) if old.spec.node.is_some() => {
            check(context, quota, old, new, Tally::enter_volume, batch)
        }
        _ => Ok(()),
    }
}

fn check<N: Noun>(
    context: &Context<'_>,
    quota: &Quota,
    old: &Object<N>,
    new: &Object<N>,
    enter: fn(&mut Tally, &Object<N>),
    batch: &mut Batch,
) -> Result<()> {
    let rest = tally(context.state, &old.meta.project, Some(&old.meta.id));
    let with = |object: &Object<N>| {
        let mut tally = rest.clone();
        enter(&mut tally, object);
        tally.used()
    };
    let (before, after) = (with(old), with(new));
    if before == after {
        return Ok(());
    }
    batch.guard(context.state, keys::PLACEMENT);
    quota::within(quota, &old.meta.project, &old.title(), &before, &after)
        .map_err(|refusal| refusal.error())
}
