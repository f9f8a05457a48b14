//! Takes away what has come to its end or was asked to go, once nothing is left to clean up.

use std::sync::Arc;

use model::event::Event;
use model::instance::Instance;
use model::network::{Network, NetworkNoun};
use model::volume::{SnapshotNoun, VolumeNoun};
use model::{Kind, Object, Result, Time};
use tasks::Pass;

use super::AGENT;
use crate::batch::Batch;
use crate::caller::Caller;
use crate::core::{Core, Mode};
use crate::instances::{VOLUMES, delete_anonymous, has_ended};
use crate::mirror::{Mirrored, State};

/// Most objects concluded by one commit; each may take some volumes with it.
const AT_ONCE: usize = 100;

/// The loop.
pub(crate) struct Removal(pub(crate) Arc<Core>);

impl Pass for Removal {
    const NAME: &'static str = "removal";

    async fn pass(&mut self) -> Result<String> {
        let (mut removed, now) = (0, self.0.now());
        loop {
            let plan = |state: &State, batch: &mut Batch| Ok(round(state, batch, now));
            let (_, done) = self.0.transact(Mode::Apply, plan).await?;
            removed += done;
            if done < AT_ONCE {
                break;
            }
        }
        Ok(if removed == 0 { String::new() } else { format!("{removed} objects on their way out") })
    }
}

fn round(state: &State, batch: &mut Batch, now: Time) -> usize {
    let ready = |instance: &&Arc<Instance>| match instance.meta.deleted {
        Some(_) => !has_node(state, instance),
        None => goes_at_its_end(instance),
    };
    let mut done = 0;
    for instance in state.instances.iter().filter(ready).take(AT_ONCE) {
        let mut new = Instance::clone(instance);
        if new.meta.deleted.is_some() {
            new.meta.finalizers.retain(|finalizer| finalizer != AGENT);
        }
        conclude(state, instance, new, now, batch);
        done += 1;
    }
    let gone = |network: &&Arc<Network>| network.meta.deleted.is_some();
    for network in state.networks.iter().filter(gone).take(AT_ONCE - done) {
        done += usize::from(drop_lost_nodes(state, network, now, batch));
    }
    let left = AT_ONCE - done;
    done += drop_unheld::<VolumeNoun>(state, now, batch, left, |it| it.spec.node.as_deref());
    let left = AT_ONCE - done;
    done += drop_unheld::<SnapshotNoun>(state, now, batch, left, |it| it.spec.node.as_deref());
    done
}

/// Whether a node has an instance, and is there to clean up.
fn has_node(state: &State, instance: &Instance) -> bool {
    let node = instance.spec.placement.as_ref().map(|placed| placed.node.as_str());
    let there = node.is_some_and(|node| state.nodes.by_name("", node).is_some());
    there && instance.meta.finalizers.iter().any(|finalizer| finalizer == AGENT)
}

/// Whether an instance is to be removed because it ended.
pub(crate) fn goes_at_its_end(instance: &Instance) -> bool {
    instance.spec.auto_remove && instance.meta.deleted.is_none() && has_ended(instance)
}

/// Writes what an instance has become: one that goes at its end is marked, one that was marked goes
/// when no node has it any more, and its anonymous volumes with it.
pub(crate) fn conclude(
    state: &State,
    old: &Arc<Instance>,
    mut new: Instance,
    now: Time,
    batch: &mut Batch,
) {
    let by = Caller::platform();
    if goes_at_its_end(&new) {
        new.meta.deleted = Some(now);
    }
    let held = new.meta.finalizers.iter().any(|finalizer| finalizer != VOLUMES);
    if new.meta.deleted.is_none() || held {
        if new != **old {
            batch.replace(old, &new);
        }
        return;
    }
    if new.meta.finalizers.iter().any(|finalizer| finalizer == VOLUMES) {
        delete_anonymous(state, &new, now, &by, batch);
    }
    batch.remove(old);
    let image = new.spec.main().map_or("", |main| main.image.as_str());
    let event = Event::new(now, Kind::Instance, "destroy", &new.meta).with("image", image);
    batch.removal(event, &new.meta);
}

/// Takes a finalizer off an object that is to go, and the object with its last one.
pub(crate) fn release<N: Mirrored>(old: &Object<N>, finalizer: &str, now: Time, batch: &mut Batch) {
    let mut new = old.clone();
    new.meta.finalizers.retain(|it| it != finalizer);
    if new.meta.finalizers.len() != old.meta.finalizers.len() {
        batch.delete(old, new, now, &Caller::platform());
    }
}

/// A network waits for no node that is not there any more.
fn drop_lost_nodes(state: &State, network: &Network, now: Time, batch: &mut Batch) -> bool {
    let mut new = Object::<NetworkNoun>::clone(network);
    new.meta.finalizers.retain(|finalizer| {
        let node = finalizer.strip_prefix(AGENT).and_then(|rest| rest.strip_prefix('/'));
        node.is_none_or(|node| state.nodes.by_name("", node).is_some())
    });
    if new == *network && !new.meta.finalizers.is_empty() {
        return false;
    }
    batch.delete(network, new, now, &Caller::platform());
    true
}

/// Removes objects that were to go and whose node is not there any more.
fn drop_unheld<N: Mirrored>(
    state: &State,
    now: Time,
    batch: &mut Batch,
    most: usize,
    node: impl Fn(&Object<N>) -> Option<&str>,
) -> usize {
    let lost = |object: &&Arc<Object<N>>| {
        let there = node(object).is_some_and(|node| state.nodes.by_name("", node).is_some());
        let held = there && !object.meta.finalizers.is_empty();
        object.meta.deleted.is_some() && !held
    };
    let gone: Vec<_> = N::table(state).iter().filter(lost).take(most).collect();
    for object in &gone {
        let mut new = Object::clone(object);
        new.meta.finalizers.clear();
        batch.delete(object, new, now, &Caller::platform());
    }
    gone.len()
}
