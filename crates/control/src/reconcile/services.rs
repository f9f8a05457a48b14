//! Makes and removes instances of services as `planner::rollout` says.
//!
//! What a service has become is written before its instances are made: a platform that dies in between
//! makes them after its next start.

pub(crate) mod reach;

use std::sync::Arc;
use std::time::Duration;

use model::instance::{Attachment, Instance, InstanceNoun, InstanceSpec, NetworkMode, Reason};
use model::meta::Owner;
use model::network::DEFAULT_NETWORK;
use model::service::{
    DUE, REVISION, SERVICE, SLOT, Service as Kept, ServiceMode, ServiceStatus, is_of,
};
use model::{ErrorKind, Kind, Result, Uid};
use planner::rollout::{Around, Key, Slot, Step, step};
use tasks::Pass;
use tokio::task::JoinSet;

use super::removal::release;
use crate::batch::Batch;
use crate::caller::Caller;
use crate::core::{Core, Mode};
use crate::instances::retire;
use crate::mirror::State;
use crate::service::{New, Service};
use crate::services::INSTANCES;

/// The code of what keeps an instance from being made.
const REFUSED: &str = "InstanceRefused";
/// Most instances that are made for one service before the next one has its turn.
const AT_ONCE: usize = 50;

/// The loop.
pub(crate) struct Services {
    core: Arc<Core>,
    /// What asks for a pass when a wait of a service's is over; one at most.
    timer: JoinSet<()>,
}

impl Services {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, timer: JoinSet::new() }
    }

    fn look_again(&mut self, after: Option<Duration>) {
        self.timer.abort_all();
        if let Some(after) = after {
            let wake = self.core.wakes.services.clone();
            self.timer.spawn(async move {
                tokio::time::sleep(after).await;
                wake.wake();
            });
        }
    }
}

impl Pass for Services {
    const NAME: &'static str = "services";

    async fn pass(&mut self) -> Result<String> {
        let all = self.core.read(in_turn);
        let (mut made, mut removed, mut again) = (0, 0, None);
        for (id, now) in all.into_iter().map(|id| (id, self.core.now())) {
            let plan =
                |state: &State, batch: &mut Batch| Ok(write(&self.core, state, batch, &id, now));
            let (_, Some((service, step))) = self.core.transact(Mode::Apply, plan).await? else {
                continue;
            };
            again = [again, step.again].into_iter().flatten().min();
            for uid in &step.remove {
                removed += usize::from(self.remove(&service, uid).await?);
            }
            if step.create.len() > AT_ONCE {
                self.core.wakes.services.wake();
            }
            for slot in step.create.iter().take(AT_ONCE) {
                match self.make(&service, &step.status, slot).await {
                    Ok(()) => made += 1,
                    // Somebody has the name, or what it needs is not there: others may be luckier.
                    Err(error) if error.kind() != ErrorKind::Unavailable => {
                        self.refused(&service, &error).await?;
                        break;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.look_again(again);
        let parts = [(made, "made"), (removed, "on their way out")];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        Ok(parts
            .map(|(count, what)| format!("{count} instances {what}"))
            .collect::<Vec<_>>()
            .join(", "))
    }
}

impl Services {
    async fn make(&self, service: &Kept, status: &ServiceStatus, slot: &Slot) -> Result<()> {
        let template = &service.spec.template;
        let mut labels = template.labels.clone();
        labels.insert(SERVICE.to_owned(), service.meta.name.clone());
        labels.insert(SLOT.to_owned(), slot.key.to_string());
        if let Some(due) = slot.due {
            labels.insert(DUE.to_owned(), due.to_string());
        }
        labels.insert(REVISION.to_owned(), status.revision.to_string());
        let new = New {
            name: Some(slot.name.clone()),
            labels,
            annotations: template.annotations.clone(),
            spec: spec_of(service, slot),
            owner: Some(owner(service)),
        };
        let instances = Service::<InstanceNoun>::new(self.core.clone());
        let (id, by) = (self.core.new_id(), Caller::platform());
        instances.create_as(id, &by, &service.meta.project, new, Mode::Apply).await.map(drop)
    }

    /// Has an instance of the service end and go; false if it is gone.
    async fn remove(&self, service: &Kept, uid: &Uid) -> Result<bool> {
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let instance = state.instances.by_id(uid);
            let Some(old) = instance.filter(|it| it.meta.deleted.is_none()) else {
                return Ok(false);
            };
            retire(state, &self.core, old, now, batch)?;
            Ok(true)
        };
        let (_, removed) = self.core.transact(Mode::Apply, plan).await?;
        tracing::debug!(service = service.meta.name, instance = %uid.short(), "removed");
        Ok(removed)
    }

    async fn refused(&self, service: &Kept, error: &model::Error) -> Result<()> {
        let reason = Some(Reason::from_error(REFUSED, error));
        let plan = |state: &State, batch: &mut Batch| {
            if let Some(old) = state.services.by_id(&service.meta.id)
                && old.status.reason != reason
            {
                let mut new = Kept::clone(old);
                new.status.reason.clone_from(&reason);
                batch.replace(old, &new);
            }
            Ok(())
        };
        self.core.transact(Mode::Apply, plan).await.map(drop)
    }
}

/// Services, in the order in which they were made.
fn in_turn(state: &State) -> Vec<Uid> {
    let mut all: Vec<_> = state.services.iter().collect();
    all.sort_by_key(|service| (service.meta.created, service.meta.id.clone()));
    all.into_iter().map(|service| service.meta.id.clone()).collect()
}

fn owner(service: &Kept) -> Owner {
    let (id, name) = (service.meta.id.clone(), service.meta.name.clone());
    Owner { kind: Kind::Service, id, name }
}

/// Works out what a service needs next, and writes how far it is.
fn write(
    core: &Core,
    state: &State,
    batch: &mut Batch,
    id: &Uid,
    now: model::Time,
) -> Option<(Kept, Step)> {
    let old = state.services.by_id(id)?;
    let owned = state.instances.owned_by(id);
    let own: Vec<&Instance> = owned.map(|it| &**it).filter(|it| is_of(it, id)).collect();
    let mut step = step(old, &own, &around(state, old), now);
    if old.meta.deleted.is_some() && own.is_empty() {
        release(old, INSTANCES, now, batch);
        return None;
    }
    // What was refused is said until all could be made: two reasons in turns would be a change each time.
    let refused = old.status.reason.as_ref().filter(|reason| reason.code == REFUSED);
    if let Some(refused) = refused.filter(|_| !step.create.is_empty()) {
        step.status.reason = Some(refused.clone());
    }
    let mut new = Kept::clone(old);
    new.status = step.status.clone();
    if let Some(reason) = reach::settle(core, state, &mut new, batch) {
        new.status.reason = Some(reason);
    }
    if let Some(number) = step.roll_back
        && let Some(revision) = step.status.revision(number)
    {
        new.spec.template = revision.template.clone();
        new.meta.generation += 1;
        // Nothing of what failed is made any more.
        step.create.clear();
    }
    if step.renew && step.roll_back.is_none() {
        new.spec.template.renewed = new.spec.template.renewed.saturating_add(1);
        new.meta.generation += 1;
        step.create.clear();
    }
    if new.status.phase != old.status.phase {
        let event =
            model::event::Event::new(now, Kind::Service, new.status.phase.as_str(), &new.meta);
        batch.event(&Caller::platform(), event);
    }
    if new != **old {
        batch.replace(old, &new);
    }
    Some((new, step))
}

/// What the next step of a service depends on besides itself.
fn around<'a>(state: &'a State, service: &'a Kept) -> Around<'a> {
    let names = service.spec.depends_on.iter().map(|it| it.service.as_str());
    let found = |name| {
        let other = state.services.by_name(&service.meta.project, name)?;
        Some((name, &**other))
    };
    let nodes = match service.spec.mode {
        ServiceMode::Global {} => state.nodes.iter().map(|node| &**node).collect(),
        ServiceMode::Replicated { .. } | ServiceMode::Job { .. } | ServiceMode::Cron(_) => {
            Vec::new()
        }
    };
    Around { services: names.filter_map(found).collect(), nodes }
}

/// The spec of the instance in a slot.
fn spec_of(service: &Kept, slot: &Slot) -> InstanceSpec {
    let mut spec = service.spec.template.spec.clone();
    if let NetworkMode::Networks { attachments } = &mut spec.network {
        if attachments.is_empty() {
            let network = DEFAULT_NETWORK.to_owned();
            attachments.push(Attachment { network, ..Attachment::default() });
        }
        attachments.iter_mut().for_each(|attachment| reach::alias(service, attachment));
    }
    if service.spec.has_address() {
        // They are the service's, and lead to whichever instance is ready.
        spec.ports.clear();
    }
    if let Key::Node(node) = &slot.key {
        spec.nodes.name.clone_from(node);
    }
    spec
}
