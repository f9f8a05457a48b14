//! Gives instances and volumes their nodes, addresses and ports, or writes down why they have none.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use model::instance::{Instance, InstanceSpec, Placement as Placed, Reason, RunState};
use model::network::Network;
use model::volume::Volume;
use model::{ErrorKind, Noun, Object, Result, Uid};
use planner::{Cursors, Decision, Ledger, Refusal, World};
use tasks::Pass;

use super::AGENT;
use crate::batch::Batch;
use crate::core::{Core, Mode};
use crate::keys;
use crate::mirror::State;

/// Most records written by one commit of a pass; the store takes 1,024.
const AT_ONCE: usize = 512;

/// The loop.
pub(crate) struct Placement {
    core: Arc<Core>,
    /// Records that the store doesn't take, by the revision they had: they are left as they are until
    /// they change.
    bad: Bad,
}

type Bad = BTreeMap<Uid, u64>;

/// What a round did.
#[derive(Debug, Default, Clone)]
struct Round {
    placed: usize,
    refused: usize,
    volumes: usize,
    cursors: Cursors,
    /// There is more to do than fits one commit.
    more: bool,
    /// The record it changed last, with its title and revision.
    last: Option<(Uid, String, u64)>,
}

impl Placement {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, bad: Bad::new() }
    }

    /// One round, of so many records. Says which record it changed last also when it failed.
    async fn round(&self, most: usize) -> (Option<(Uid, String, u64)>, Result<Round>) {
        let cursors = cursors_of(&self.core).clone();
        let mut last = None;
        let plan = |state: &State, batch: &mut Batch| {
            let round = round(state, batch, &cursors, &self.bad, most);
            last.clone_from(&round.last);
            Ok(round)
        };
        let done = self.core.transact(Mode::Apply, plan).await;
        (last, done.map(|(_, round)| round))
    }
}

impl Pass for Placement {
    const NAME: &'static str = "placement";

    async fn pass(&mut self) -> Result<String> {
        let mut total = Round::default();
        let mut most = AT_ONCE;
        loop {
            let round = match self.round(most).await {
                // Something in it cannot be written: each alone, to find out what.
                (_, Err(error)) if error.kind() == ErrorKind::Invalid && most > 1 => {
                    most = 1;
                    continue;
                }
                (Some((id, title, revision)), Err(error)) if error.kind() == ErrorKind::Invalid => {
                    tracing::error!(
                        object = title,
                        error = error.chain(),
                        "its placement cannot be written"
                    );
                    self.bad.insert(id, revision);
                    continue;
                }
                (_, round) => round?,
            };
            cursors_of(&self.core).clone_from(&round.cursors);
            total.placed += round.placed;
            total.refused = round.refused;
            total.volumes += round.volumes;
            if !round.more {
                return Ok(total.summary());
            }
        }
    }
}

impl Round {
    fn summary(&self) -> String {
        let parts = [
            (self.placed, "instances placed"),
            (self.refused, "instances waiting"),
            (self.volumes, "volumes given a node"),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        parts.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
    }
}

/// The world as the mirror has it.
pub(crate) fn ledger(state: &State) -> Ledger<'_> {
    make_ledger(state, |_| true, Cursors::new())
}

/// The same without one instance, which is to be placed anew.
pub(crate) fn ledger_without<'a>(state: &'a State, id: &Uid) -> Ledger<'a> {
    make_ledger(state, |instance| instance.meta.id != *id, Cursors::new())
}

fn make_ledger(state: &State, which: impl Fn(&Instance) -> bool, cursors: Cursors) -> Ledger<'_> {
    Ledger::new(&world(state, which), cursors)
}

fn world(state: &State, which: impl Fn(&Instance) -> bool) -> World<'_> {
    World {
        nodes: state.nodes.iter().map(|it| &**it).collect(),
        instances: state.instances.iter().map(|it| &**it).filter(|it| which(it)).collect(),
        services: state.services.iter().map(|it| &**it).collect(),
        networks: state.networks.iter().map(|it| &**it).collect(),
        volumes: state.volumes.iter().map(|it| &**it).collect(),
        snapshots: state.snapshots.iter().map(|it| &**it).collect(),
        projects: state.projects.iter().map(|it| &**it).collect(),
    }
}

/// The world without a service and its instances.
pub(crate) fn ledger_without_service<'a>(core: &Core, state: &'a State, id: &Uid) -> Ledger<'a> {
    let mut world = world(state, |instance| !model::service::is_of(instance, id));
    world.services.retain(|service| service.meta.id != *id);
    Ledger::new(&world, cursors_of(core).clone())
}

/// The world as the mirror has it, to give addresses of it.
pub(crate) fn ledger_of<'a>(core: &Core, state: &'a State) -> Ledger<'a> {
    make_ledger(state, |_| true, cursors_of(core).clone())
}

/// Keeps what a ledger remembers of the last addresses that were given.
pub(crate) fn keep_cursors(core: &Core, ledger: Ledger<'_>) {
    *cursors_of(core) = ledger.into_cursors();
}

fn unplaced(state: &State) -> Vec<&Arc<Instance>> {
    let waits = |it: &&Arc<Instance>| it.spec.placement.is_none() && it.meta.deleted.is_none();
    let mut waiting: Vec<_> = state.instances.iter().filter(waits).collect();
    waiting.sort_by_key(|instance| (instance.meta.created, instance.meta.id.clone()));
    waiting
}

fn homeless(state: &State) -> Vec<&Arc<Volume>> {
    let waits = |it: &&Arc<Volume>| it.spec.node.is_none() && it.meta.deleted.is_none();
    let mut waiting: Vec<_> = state.volumes.iter().filter(waits).collect();
    waiting.sort_by_key(|volume| (volume.meta.created, volume.meta.id.clone()));
    waiting
}

/// Whether an instance waits for the quota of its project, which holds up no other project's.
fn waits_for_quota(instance: &Instance) -> bool {
    let code = instance.status.reason.as_ref().map(|reason| reason.code.as_str());
    matches!(code, Some("QuotaExceeded" | "LimitMissing"))
}

/// Works out what to write for those that have no place yet.
fn round(state: &State, batch: &mut Batch, cursors: &Cursors, bad: &Bad, most: usize) -> Round {
    let mut round = Round { cursors: cursors.clone(), ..Round::default() };
    let mut waiting = unplaced(state);
    waiting.retain(|it| bad.get(&it.meta.id) != Some(&it.meta.revision));
    if waiting.is_empty() && homeless(state).is_empty() {
        return round;
    }
    let ledger = make_ledger(state, |_| true, cursors.clone());
    let (networks, volumes) = (Vec::new(), Vec::new());
    let mut desk = Desk { state, batch, ledger, networks, volumes, bad, most, last: None };
    for instance in waiting {
        if desk.batch.len() >= desk.most {
            round.more = true;
            break;
        }
        match place(&desk.ledger, instance) {
            Ok(decision) => {
                desk.accept(instance, decision);
                round.placed += 1;
            }
            Err(refusal) => {
                desk.refuse(instance, &refusal);
                round.refused += 1;
            }
        }
    }
    if !round.more {
        round.more = desk.house_volumes();
    }
    round.volumes = desk.volumes.len();
    desk.finish();
    let Desk { ledger, last, .. } = desk;
    round.cursors = ledger.into_cursors();
    round.last = last;
    round
}

/// Places an instance. One that is not to run yet claims no ports: it gets them when it starts, as
/// long as they are free then.
fn place(ledger: &Ledger<'_>, instance: &Instance) -> Result<Decision, Refusal> {
    if instance.spec.run != RunState::Stopped || instance.spec.ports.is_empty() {
        return ledger.place(instance);
    }
    let mut quiet = instance.clone();
    quiet.spec.ports.clear();
    ledger.place(&quiet)
}

/// Places a new instance in the change that makes it, which spares it a second wait for the disk.
/// Only when it is plain: nobody waits before it, and nothing else has to be written with it.
pub(crate) fn place_new(core: &Core, state: &State, instance: &mut Instance, batch: &mut Batch) {
    let project = &instance.meta.project;
    let before = |other: &Instance| other.meta.project == *project || !waits_for_quota(other);
    if unplaced(state).iter().any(|other| before(other)) {
        return;
    }
    let ledger = make_ledger(state, |_| true, cursors_of(core).clone());
    let Ok(decision) = place(&ledger, instance) else { return };
    let has_network = |interface: &model::instance::Interface| {
        let finalizer = network_finalizer(&decision.placement.node);
        let network = state.networks.by_id(&interface.network_id);
        network.is_some_and(|network| network.meta.finalizers.contains(&finalizer))
    };
    if !decision.volumes.is_empty() || !decision.placement.interfaces.iter().all(has_network) {
        return;
    }
    let mut ledger = ledger;
    ledger.take(instance, &decision);
    *cursors_of(core) = ledger.into_cursors();
    batch.guard(state, keys::PLACEMENT);
    *instance = placed(instance, decision.placement);
}

/// Gives a placed instance the interfaces of the networks that it is joined to now, on its node, which
/// comes to have those networks; `made` is one that is made in the same change.
pub(crate) fn rejoin(
    core: &Core,
    state: &State,
    instance: &mut Instance,
    made: Option<&Network>,
    batch: &mut Batch,
) -> Result<()> {
    let Some(placed) = &instance.spec.placement else {
        made.into_iter().for_each(|network| batch.create(network));
        return Ok(());
    };
    let mut world = world(state, |other| other.meta.id != instance.meta.id);
    world.networks.extend(made);
    let mut ledger = Ledger::new(&world, cursors_of(core).clone());
    let interfaces = ledger.interfaces(instance).map_err(|refusal| refusal.error())?;
    let finalizer = network_finalizer(&placed.node);
    for interface in &interfaces {
        ledger.move_cursor(interface);
        match (state.networks.by_id(&interface.network_id), made) {
            (Some(network), _) => add_finalizers(batch, network, [&finalizer].into_iter()),
            (None, Some(made)) => {
                let mut made = made.clone();
                made.meta.finalizers.push(finalizer.clone());
                batch.create(&made);
            }
            (None, None) => {}
        }
    }
    *cursors_of(core) = ledger.into_cursors();
    batch.guard(state, keys::PLACEMENT);
    if let Some(placed) = &mut instance.spec.placement {
        placed.interfaces = interfaces;
    }
    Ok(())
}

fn cursors_of(core: &Core) -> MutexGuard<'_, Cursors> {
    core.cursors.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a round has decided so far.
struct Desk<'a, 'b> {
    state: &'a State,
    batch: &'b mut Batch,
    ledger: Ledger<'a>,
    /// Networks that a node comes to have, with the node's finalizer.
    networks: Vec<(Uid, String)>,
    /// Volumes that get a node.
    volumes: Vec<(Uid, String)>,
    bad: &'a Bad,
    /// Records after which there is another round.
    most: usize,
    last: Option<(Uid, String, u64)>,
}

impl Desk<'_, '_> {
    fn accept(&mut self, instance: &Arc<Instance>, decision: Decision) {
        tracing::debug!(
            instance = instance.meta.name,
            reasons = decision.reasons.join("; "),
            "placed"
        );
        self.ledger.take(instance, &decision);
        let node = &decision.placement.node;
        let bound = decision.volumes.iter().map(|volume| (volume.clone(), node.clone()));
        self.volumes.extend(bound);
        for interface in &decision.placement.interfaces {
            let entry = (interface.network_id.clone(), network_finalizer(node));
            if !self.networks.contains(&entry) {
                self.networks.push(entry);
            }
        }
        self.replace(instance, &placed(instance, decision.placement));
    }

    fn replace<N: Noun>(&mut self, old: &Object<N>, new: &Object<N>) {
        self.last = Some((old.meta.id.clone(), old.title(), old.meta.revision));
        self.batch.replace(old, new);
    }

    fn refuse(&mut self, instance: &Arc<Instance>, refusal: &Refusal) {
        let reason = Some(refusal.reason());
        if instance.status.reason == reason {
            return;
        }
        let mut new = Instance::clone(instance);
        new.status.reason = reason;
        self.replace(instance, &new);
    }

    /// Gives volumes that no placed instance mounts a node, where that is plain; whether some are
    /// left for another round.
    fn house_volumes(&mut self) -> bool {
        for volume in homeless(self.state) {
            if self.bad.get(&volume.meta.id) == Some(&volume.meta.revision) {
                continue;
            }
            if self.batch.len() + self.volumes.len() >= self.most {
                return true;
            }
            if self.volumes.iter().any(|(id, _)| *id == volume.meta.id) {
                continue;
            }
            match planner::volumes::choose_node(&self.ledger, volume) {
                Ok(node) => {
                    self.last =
                        Some((volume.meta.id.clone(), volume.title(), volume.meta.revision));
                    self.ledger.bind(&volume.meta.id, &node);
                    self.volumes.push((volume.meta.id.clone(), node));
                }
                Err(reason) => self.wait(volume, reason),
            }
        }
        false
    }

    fn wait(&mut self, volume: &Volume, reason: Reason) {
        if volume.status.reason.as_ref() == Some(&reason) {
            return;
        }
        let mut new = volume.clone();
        new.status.reason = Some(reason);
        self.replace(volume, &new);
    }

    /// Writes what goes with the placements.
    fn finish(&mut self) {
        for (id, node) in &self.volumes {
            let Some(volume) = self.state.volumes.by_id(id) else { continue };
            self.batch.replace(volume, &housed(volume, node));
        }
        let mut ids: Vec<_> = self.networks.iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            let Some(network) = self.state.networks.by_id(id) else { continue };
            let finalizers = self.networks.iter().filter(|(it, _)| it == id).map(|(_, it)| it);
            add_finalizers(self.batch, network, finalizers);
        }
        if !self.batch.is_empty() {
            self.batch.guard(self.state, keys::PLACEMENT);
        }
    }
}

/// The finalizer of a network that a node has; several nodes may have one network.
pub(crate) fn network_finalizer(node: &str) -> String {
    format!("{AGENT}/{node}")
}

fn placed(instance: &Instance, placement: Placed) -> Instance {
    let mut new = instance.clone();
    new.spec = InstanceSpec { placement: Some(placement), ..new.spec };
    new.status.reason = None;
    new.meta.finalizers.push(AGENT.to_owned());
    new.meta.generation += 1;
    new
}

/// A volume that lives on a node from now on.
pub(crate) fn housed(volume: &Volume, node: &str) -> Volume {
    let mut new = volume.clone();
    new.spec.node = Some(node.to_owned());
    new.status.reason = None;
    new.meta.finalizers.push(AGENT.to_owned());
    new.meta.generation += 1;
    new
}

fn add_finalizers<'a>(
    batch: &mut Batch,
    network: &Network,
    finalizers: impl Iterator<Item = &'a String>,
) {
    let mut new = network.clone();
    for finalizer in finalizers.filter(|it| !network.meta.finalizers.contains(it)) {
        new.meta.finalizers.push(finalizer.clone());
    }
    if new != *network {
        batch.replace(network, &new);
    }
}
