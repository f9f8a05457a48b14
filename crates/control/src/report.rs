//! What nodes say: statuses are merged into the records, many in one commit. Those commits are not
//! waited for by the disk: what a power cut takes of them, the node finds out and says again.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use link::{ControlPort, Desired, Report};
use model::instance::{Instance, InstanceStatus, RestartPolicy, RunState};
use model::network::{Network, NetworkNoun};
use model::node::{Node, NodeStatus};
use model::volume::{Snapshot, SnapshotNoun, Volume, VolumeNoun};
use model::{Kind, Result, Time, Uid};
use tokio::sync::watch;

use crate::batch::Batch;
use crate::control::Control;
use crate::core::{Core, Mode};
use crate::mirror::State;
use crate::quotas;
use crate::reconcile::placement::network_finalizer;
use crate::reconcile::{AGENT, removal};
use crate::volumes;

/// Reports merged by one commit; removed instances may take some volumes each with them.
const AT_ONCE: usize = 100;
/// A node that says nothing but that it is still there is written down no more often than this.
const HEARTBEAT: Duration = Duration::from_secs(60);

#[async_trait]
impl ControlPort for Control {
    fn desired(&self, node: &str) -> watch::Receiver<Arc<Desired>> {
        self.core.read(|state| self.core.desired.subscribe(&self.core, state, node))
    }

    async fn report(&self, node: &str, reports: Vec<Report>) -> Result<()> {
        let sorted = Sorted::of(reports);
        merge(&self.core, node, sorted.statuses).await?;
        // Objects before the instances: an instance takes volumes with it.
        release(&self.core, node, &sorted.released).await?;
        conclude(&self.core, node, &sorted.ended).await?;
        sorted.events.into_iter().for_each(|event| self.core.events.push(event));
        Ok(())
    }
}

/// Reports by what is done with them. Of several about one object the last one counts.
#[derive(Default)]
struct Sorted {
    statuses: Vec<Report>,
    released: Vec<(Kind, Uid)>,
    ended: Vec<Uid>,
    events: Vec<model::event::Event>,
}

impl Sorted {
    fn of(reports: Vec<Report>) -> Self {
        let (mut sorted, mut places) = (Self::default(), HashMap::new());
        for report in reports {
            let about = match &report {
                Report::Event(event) => {
                    sorted.events.push(event.as_ref().clone());
                    continue;
                }
                Report::Removed(Kind::Instance, id) => {
                    sorted.ended.push(id.clone());
                    continue;
                }
                Report::Removed(kind, id) => {
                    sorted.released.push((*kind, id.clone()));
                    continue;
                }
                Report::Node(_) => None,
                Report::Instance(id, _)
                | Report::Network(id, _)
                | Report::Volume(id, _)
                | Report::Snapshot(id, _)
                | Report::Kept(id, _) => Some(id.clone()),
            };
            let place = *places.entry(about).or_insert(sorted.statuses.len());
            match sorted.statuses.get_mut(place) {
                Some(known) => *known = report,
                None => sorted.statuses.push(report),
            }
        }
        sorted.ended.sort_unstable();
        sorted.ended.dedup();
        sorted.released.sort_unstable();
        sorted.released.dedup();
        sorted
    }
}

async fn merge(core: &Core, node: &str, statuses: Vec<Report>) -> Result<()> {
    let now = core.now();
    for part in statuses.chunks(AT_ONCE) {
        let plan = |state: &State, batch: &mut Batch| {
            batch.defer();
            let mut booted = false;
            for report in part {
                booted |= merge_one(state, node, report, now, batch);
            }
            Ok(booted)
        };
        let (_, booted) = core.transact(Mode::Apply, plan).await?;
        if booted {
            revive(core, node).await?;
        }
    }
    Ok(())
}

/// Merges one status; whether it says that the node has booted anew.
fn merge_one(state: &State, node: &str, report: &Report, now: Time, batch: &mut Batch) -> bool {
    match report {
        Report::Instance(id, status) => {
            if let Some(old) = state.instances.by_id(id) {
                merge_instance(state, node, old, status, now, batch);
            }
        }
        Report::Network(id, status) => {
            if let Some(old) = state.networks.by_id(id).filter(|it| it.status != *status) {
                batch.replace(old, &Network { status: status.clone(), ..Network::clone(old) });
            }
        }
        Report::Volume(id, status) => {
            let here = |it: &&Arc<Volume>| it.spec.node.as_deref() == Some(node);
            let Some(old) = state.volumes.by_id(id).filter(here) else { return false };
            let mut status = status.clone();
            status.used_by.clone_from(&old.status.used_by);
            status.disk = old.status.disk;
            let stale = status.observed_generation < old.status.observed_generation;
            if !stale && status != old.status {
                batch.replace(old, &Volume { status, ..Volume::clone(old) });
            }
        }
        Report::Snapshot(id, status) => {
            let here = |it: &&Arc<Snapshot>| it.spec.node.as_deref() == Some(node);
            let Some(old) = state.snapshots.by_id(id).filter(here) else { return false };
            if *status != old.status {
                batch.replace(old, &Snapshot { status: status.clone(), ..Snapshot::clone(old) });
            }
        }
        Report::Node(status) => {
            if let Some(old) = state.nodes.by_name("", node) {
                return merge_node(old, status, now, batch);
            }
        }
        Report::Kept(id, reason) => {
            let here = |it: &&Arc<Volume>| it.spec.node.as_deref() == Some(node);
            let Some(old) = state.volumes.by_id(id).filter(here) else { return false };
            if old.meta.deleted.is_some() {
                let mut new = Volume::clone(old);
                new.meta.deleted = None;
                new.meta.deleted_by.clear();
                new.status.reason = Some(reason.clone());
                batch.replace(old, &new);
            }
        }
        Report::Removed(..) | Report::Event(_) => {}
    }
    false
}

fn merge_instance(
    state: &State,
    node: &str,
    old: &Arc<Instance>,
    status: &InstanceStatus,
    now: Time,
    batch: &mut Batch,
) {
    let here = old.spec.placement.as_ref().is_some_and(|placed| placed.node == node);
    let stale = status.observed_generation < old.status.observed_generation
        || status.runs < old.status.runs;
    if !here || stale || *status == old.status {
        return;
    }
    let mut new = Instance::clone(old);
    new.status = status.clone();
    volumes::adopt(state, &new, node, now, batch);
    removal::conclude(state, old, new, now, batch);
}

fn merge_node(old: &Node, status: &NodeStatus, now: Time, batch: &mut Batch) -> bool {
    let seen = status.seen.unwrap_or(now);
    let news = NodeStatus { seen: old.status.seen, ..status.clone() } != old.status;
    // Also after the clock was set back.
    let apart = |before: Time| seen.since(before).max(before.since(seen));
    let due = old.status.seen.is_none_or(|before| apart(before) >= HEARTBEAT);
    if news || due {
        let mut new = old.clone();
        new.status = NodeStatus { seen: Some(seen), ..status.clone() };
        batch.replace(old, &new);
    }
    !old.status.boot_id.is_empty() && old.status.boot_id != status.boot_id
}

/// Whether it does not run because somebody wanted so. One that still ends is to end.
fn is_put_down(instance: &Instance) -> bool {
    let signalled = instance.spec.final_run == instance.spec.runs;
    (instance.spec.run == RunState::Stopped || signalled) && planner::is_over(instance)
}

/// Runs what was stopped by hand but is to run always, after its node has booted or its daemon was
/// started anew.
pub(crate) async fn revive(core: &Core, node: &str) -> Result<()> {
    let plan = |state: &State, batch: &mut Batch| {
        let stopped = state.instances.iter().filter(|it| {
            it.spec.restart == RestartPolicy::Always
                && is_put_down(it)
                && it.spec.runs > 0
                && it.meta.deleted.is_none()
                && it.spec.placement.as_ref().is_some_and(|placed| placed.node == node)
        });
        let mut revived = 0;
        // Of a project with a quota one at a time: what each takes is counted for the next.
        let mut bounded = BTreeSet::new();
        for old in stopped {
            if revived == AT_ONCE * 5 {
                break;
            }
            let mut new = Instance::clone(old);
            new.spec.run = RunState::Running;
            new.spec.runs += 1;
            new.spec.stop = None;
            new.meta.generation += 1;
            let project = &old.meta.project;
            if quotas::of(state, project).is_some() {
                if bounded.contains(project) {
                    continue;
                }
                if let Err(error) = quotas::check_run(state, old, &new, batch) {
                    tracing::warn!(
                        instance = old.meta.name,
                        error = error.chain(),
                        "it stays stopped"
                    );
                    continue;
                }
                bounded.insert(project.clone());
            }
            revived += 1;
            batch.replace(old, &new);
        }
        Ok(revived > 0)
    };
    while core.transact(Mode::Apply, plan).await?.1 {}
    Ok(())
}

/// Takes the node's finalizer off objects that it has removed.
async fn release(core: &Core, node: &str, objects: &[(Kind, Uid)]) -> Result<()> {
    let now = core.now();
    for part in objects.chunks(AT_ONCE) {
        let plan = |state: &State, batch: &mut Batch| {
            batch.defer();
            for (kind, id) in part {
                release_one(state, node, *kind, id, now, batch);
            }
            Ok(())
        };
        core.transact(Mode::Apply, plan).await?;
    }
    Ok(())
}

fn release_one(state: &State, node: &str, kind: Kind, id: &Uid, now: Time, batch: &mut Batch) {
    match kind {
        Kind::Network => {
            let network = state.networks.by_id(id).filter(|it| it.meta.deleted.is_some());
            if let Some(network) = network {
                let finalizer = network_finalizer(node);
                removal::release::<NetworkNoun>(network, &finalizer, now, batch);
            }
        }
        Kind::Volume => {
            let volume = state.volumes.by_id(id).filter(|it| it.meta.deleted.is_some());
            if let Some(volume) = volume.filter(|it| it.spec.node.as_deref() == Some(node)) {
                removal::release::<VolumeNoun>(volume, AGENT, now, batch);
            }
        }
        Kind::Snapshot => {
            let snapshot = state.snapshots.by_id(id).filter(|it| it.meta.deleted.is_some());
            if let Some(snapshot) = snapshot.filter(|it| it.spec.node.as_deref() == Some(node)) {
                removal::release::<SnapshotNoun>(snapshot, AGENT, now, batch);
            }
        }
        Kind::Instance
        | Kind::App
        | Kind::Config
        | Kind::Event
        | Kind::Image
        | Kind::Node
        | Kind::Operation
        | Kind::Project
        | Kind::Secret
        | Kind::Service
        | Kind::Catalog
        | Kind::Token
        | Kind::User => {}
    }
}

/// Lets instances go that their node has removed.
async fn conclude(core: &Core, node: &str, ended: &[Uid]) -> Result<()> {
    let now = core.now();
    for part in ended.chunks(AT_ONCE) {
        let plan = |state: &State, batch: &mut Batch| {
            batch.defer();
            for old in part.iter().filter_map(|id| state.instances.by_id(id)) {
                let here = old.spec.placement.as_ref().is_some_and(|it| it.node == node);
                if old.meta.deleted.is_none() || !here {
                    continue;
                }
                let mut new = Instance::clone(old);
                new.meta.finalizers.retain(|finalizer| finalizer != AGENT);
                removal::conclude(state, old, new, now, batch);
            }
            Ok(())
        };
        core.transact(Mode::Apply, plan).await?;
    }
    Ok(())
}
