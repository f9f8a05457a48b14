//! Makes and removes instances of services as `planner::rollout` says.
//!
//! What a service has become is written before its instances are made: a platform that dies in between
//! makes them after its next start.

pub(crate) mod reach;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use faults::may_die;
use model::instance::{Attachment, Instance, InstanceNoun, InstanceSpec, NetworkMode, Reason};
use model::meta::Owner;
use model::network::DEFAULT_NETWORK;
use model::service::schedule::Times;
use model::service::{
    DUE, REVISION, SERVICE, SLOT, Schedule, Service as Kept, ServiceMode, ServiceStatus, is_of,
};
use model::{Error, ErrorKind, Kind, Result, Uid};
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
/// Most instances that are made for one service before the next has its turn.
const AT_ONCE: usize = 50;

/// The loop.
pub(crate) struct Services {
    core: Arc<Core>,
    /// What asks for a pass when a wait of a service's is over; one at most.
    timer: JoinSet<()>,
    /// The schedules of services that run at set times, as they were read last.
    read: BTreeMap<Uid, (Schedule, Option<Times>)>,
}

/// What a pass did.
#[derive(Default)]
struct Done {
    made: usize,
    removed: usize,
    again: Option<Duration>,
}

impl Services {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core, timer: JoinSet::new(), read: BTreeMap::new() }
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

    /// Reads the schedules that are not read yet, and forgets those that are not there any more.
    fn read_schedules(&mut self) {
        let mut before = std::mem::take(&mut self.read);
        self.core.read(|state| {
            for service in state.services.iter() {
                let ServiceMode::Cron(schedule) = &service.spec.mode else { continue };
                let id = &service.meta.id;
                let known = before.remove(id).filter(|(known, _)| known == schedule);
                let entry = known.unwrap_or_else(|| (schedule.clone(), schedule.read().ok()));
                self.read.insert(id.clone(), entry);
            }
        });
    }

    /// The times of a service, if they are those of its present schedule.
    fn times(&self, service: &Kept) -> Option<&Times> {
        let ServiceMode::Cron(schedule) = &service.spec.mode else { return None };
        let (known, times) = self.read.get(&service.meta.id)?;
        times.as_ref().filter(|_| known == schedule)
    }
}

impl Pass for Services {
    const NAME: &'static str = "services";

    async fn pass(&mut self) -> Result<String> {
        self.read_schedules();
        let all = self.core.read(in_turn);
        let (mut done, mut failed, count) = (Done::default(), Vec::new(), all.len());
        for id in all {
            // What becomes of one is no matter of the others.
            failed.extend(self.look_after(&id, &mut done).await.err());
        }
        self.look_again(done.again);
        let failures = failed.len();
        if let Some(first) = failed.into_iter().next() {
            let message = format!("{failures} of {count} services could not be looked after");
            return Err(Error::unavailable(message).caused_by(first));
        }
        Ok(done.summary())
    }
}

impl Done {
    fn summary(&self) -> String {
        let parts = [(self.made, "made"), (self.removed, "on their way out")];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        parts
            .map(|(count, what)| format!("{count} instances {what}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Services {
    /// One service's step: what it has become is written, then instances go and are made. All of it follows
    /// from what is written and from the instances that are there, so that a platform that dies in
    /// between goes on with it.
    async fn look_after(&self, id: &Uid, done: &mut Done) -> Result<()> {
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| Ok(self.write(state, batch, id, now));
        let (_, Some((service, step))) = self.core.transact(Mode::Apply, plan).await? else {
            return Ok(());
        };
        done.again = [done.again, step.again].into_iter().flatten().min();
        for uid in &step.remove {
            may_die("services.remove");
            done.removed += usize::from(self.remove(&service, uid).await?);
        }
        let (made, refusal) = self.make_all(&service, &step).await?;
        done.made += made;
        if made > 0 && step.create.len() > made {
            self.core.wakes.services.wake();
        }
        match refusal {
            Some(refusal) => self.refused(&service, &refusal).await,
            None => Ok(()),
        }
    }

    /// Makes instances that are missing, so many at a time: how many, and the first refusal.
    async fn make_all(&self, service: &Kept, step: &Step) -> Result<(usize, Option<Error>)> {
        let (mut made, mut refusal) = (0, None);
        for slot in &step.create {
            may_die("services.make");
            match self.make(service, &step.status, slot).await {
                Ok(()) => {
                    may_die("services.made");
                    made += 1;
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
                Err(error) => {
                    // Somebody has the name: the next slot may be luckier.
                    let next = error.kind() == ErrorKind::Exists;
                    refusal.get_or_insert(error);
                    if !next {
                        break;
                    }
                }
            }
            if made == AT_ONCE {
                break;
            }
        }
        Ok((made, refusal))
    }

    /// Works out what a service needs next, and writes how far it is.
    fn write(
        &self,
        state: &State,
        batch: &mut Batch,
        id: &Uid,
        now: model::Time,
    ) -> Option<(Kept, Step)> {
        let old = state.services.by_id(id)?;
        let owned = state.instances.owned_by(id);
        let own: Vec<&Instance> = owned.map(|it| &**it).filter(|it| is_of(it, id)).collect();
        let around = Around { times: self.times(old), ..around(state, old) };
        let mut step = step(old, &own, &around, now);
        if old.meta.deleted.is_some() && own.is_empty() {
            release(old, INSTANCES, now, batch);
            return None;
        }
        let mut new = Kept::clone(old);
        new.status = step.status.clone();
        let unreached = reach::settle(&self.core, state, &mut new, batch);
        new.status.reason = why(old, &step, unreached);
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

    /// Notes why an instance cannot be made. [`why`] keeps it until all are.
    async fn refused(&self, service: &Kept, error: &Error) -> Result<()> {
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

/// Which of several reasons a service's status says: why an instance was refused, for as long as some are
/// missing; why it is not reached; what it waits for. They come from different hands, and two in turns
/// would be a change in each pass.
fn why(old: &Kept, step: &Step, unreached: Option<Reason>) -> Option<Reason> {
    let refused = old.status.reason.as_ref().filter(|reason| reason.code == REFUSED);
    let refused = refused.filter(|_| !step.create.is_empty());
    refused.cloned().or(unreached).or_else(|| step.status.reason.clone())
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
    Around { services: names.filter_map(found).collect(), nodes, times: None }
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
