//! What a service needs next: which instances to make and to remove, and how far it is.
//!
//! One pure function of the service, its instances, what is around it and the time. It is asked again
//! whenever one of them changes, and after [`Step::again`]; what it answered before is not remembered
//! but in the service's status.

mod cron;
mod depend;
mod drain;
mod global;
mod job;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use model::instance::{Health, Instance, Phase as State, Reason};
use model::node::Node;
use model::service::schedule::Times;
use model::service::{
    OnFailure, REVISION, Revision, SLOT, Service, ServiceMode, ServicePhase, ServiceStatus,
    UpdateOrder,
};
use model::{Time, Uid};

/// How soon after its start an instance that fails has failed, unless the policy says otherwise.
const MONITOR: Duration = Duration::from_secs(5);

/// What a service's next step depends on besides itself and its instances.
#[derive(Debug, Clone, Default)]
pub struct Around<'a> {
    /// The services that it depends on, by name; those that are not there are missing.
    pub services: BTreeMap<&'a str, &'a Service>,
    /// All nodes.
    pub nodes: Vec<&'a Node>,
    /// The times of a service that runs at set times; none where they cannot be read.
    pub times: Option<&'a Times>,
}

/// What a service needs next.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Slots for which an instance of the present revision is made.
    pub create: Vec<Slot>,
    /// Instances that are removed.
    pub remove: Vec<Uid>,
    /// How far the service is.
    pub status: ServiceStatus,
    /// The revision whose template is to be in force again.
    pub roll_back: Option<u64>,
    /// All instances are to be made anew, as a service has changed that it is made anew with.
    pub renew: bool,
    /// When to look again though nothing changed.
    pub again: Option<Duration>,
}

/// An instance to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Which one it is.
    pub key: Key,
    /// The instance's name.
    pub name: String,
    /// The set time that it is for.
    pub due: Option<Time>,
}

/// Which one of a service's instances something is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// One of those that are counted.
    Number(u32),
    /// The one on the node of this name.
    Node(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Number(number) => number.fmt(f),
            Key::Node(name) => name.fmt(f),
        }
    }
}

/// An instance of the service as it matters here.
struct Member<'a> {
    instance: &'a Instance,
    key: Key,
    revision: u64,
}

impl<'a> Member<'a> {
    fn of(service: &Service, instance: &'a Instance) -> Option<Self> {
        let slot = instance.meta.labels.get(SLOT)?;
        let key = match service.spec.mode {
            ServiceMode::Global {} => Key::Node(slot.clone()),
            ServiceMode::Replicated { .. } | ServiceMode::Job { .. } | ServiceMode::Cron(_) => {
                Key::Number(slot.parse().ok()?)
            }
        };
        let revision = instance.meta.labels.get(REVISION)?.parse().ok()?;
        Some(Self { instance, key, revision })
    }

    /// The number of its slot; 0 where slots have none.
    fn number(&self) -> u32 {
        match self.key {
            Key::Number(number) => number,
            Key::Node(_) => 0,
        }
    }

    fn leaves(&self) -> bool {
        self.instance.meta.deleted.is_some()
    }

    fn is_ready(&self) -> bool {
        is_ready(self.instance)
    }

    fn runs(&self) -> bool {
        !self.leaves() && self.instance.status.phase == State::Running
    }

    /// Whether it ended, was started again within `monitor`, or is unhealthy.
    fn fails(&self, monitor: Duration, now: Time) -> bool {
        let status = &self.instance.status;
        match status.phase {
            State::Failed | State::Exited | State::Restarting => true,
            State::Running | State::Paused => {
                status.health == Health::Unhealthy || self.recovers(monitor, now).is_some()
            }
            State::Pending | State::Creating | State::Removing => false,
        }
    }

    /// Time until one that was started again has run for long enough not to count as failed.
    fn recovers(&self, monitor: Duration, now: Time) -> Option<Duration> {
        let again = self.instance.status.restarts > 0;
        let left = monitor.checked_sub(now.since(self.started().filter(|_| again)?));
        left.filter(|left| !left.is_zero())
    }

    /// Whether its run is over, and how it ended.
    fn ended(&self) -> Option<bool> {
        match self.instance.status.phase {
            State::Exited => {
                let main = self.instance.spec.main().map(|main| main.name.as_str());
                let of_main = self
                    .instance
                    .status
                    .containers
                    .iter()
                    .find(|container| Some(container.name.as_str()) == main);
                Some(of_main.and_then(|container| container.exit_code) == Some(0))
            }
            State::Failed => Some(false),
            State::Pending
            | State::Creating
            | State::Running
            | State::Paused
            | State::Restarting
            | State::Removing => None,
        }
    }

    fn started(&self) -> Option<Time> {
        self.instance.status.containers.iter().filter_map(|it| it.started).max()
    }

    fn finished(&self) -> Option<Time> {
        self.instance.status.containers.iter().filter_map(|it| it.finished).max()
    }
}

/// Whether an instance runs, is healthy where that is checked, and is not to go.
#[must_use]
pub fn is_ready(instance: &Instance) -> bool {
    let status = &instance.status;
    let healthy = matches!(status.health, Health::Unchecked | Health::Healthy);
    instance.meta.deleted.is_none() && status.phase == State::Running && healthy
}

/// What a service needs next. `instances` are all that it owns.
#[must_use]
pub fn step(service: &Service, instances: &[&Instance], around: &Around<'_>, now: Time) -> Step {
    let mut status = service.status.clone();
    let changed = take_template(service, &mut status, now);
    let asked_anew = status.observed_generation != service.meta.generation;
    status.observed_generation = service.meta.generation;
    let members = instances.iter().filter_map(|instance| Member::of(service, instance)).collect();
    let alike = status.revisions.iter().filter(|it| it.template == service.spec.template);
    let alike = alike.map(|revision| revision.number).collect();
    let work = Work { service, members, around, now, status, alike, changed, asked_anew };
    let mut step = match &service.spec.mode {
        _ if service.meta.deleted.is_some() => work.take_down(instances),
        ServiceMode::Replicated { replicas } => {
            let keys = (1..=*replicas).map(Key::Number).collect();
            work.keep(keys)
        }
        ServiceMode::Global {} => {
            let keys = work.nodes();
            work.keep(keys)
        }
        ServiceMode::Job { completions, parallelism, retries, deadline } => {
            work.run_job(*completions, *parallelism, *retries, *deadline)
        }
        ServiceMode::Cron(schedule) => work.run_at_times(schedule),
    };
    drain::drain(service, instances, now, &mut step);
    forget(service, instances, &mut step.status);
    step
}

/// Gives a template that is another one than the last a number; whether it was.
fn take_template(service: &Service, status: &mut ServiceStatus, now: Time) -> bool {
    let template = &service.spec.template;
    let present = status.revision(status.revision);
    if present.is_some_and(|present| present.template == *template) {
        return false;
    }
    status.revision = status.revisions.iter().map(|it| it.number).max().unwrap_or(0) + 1;
    let template = template.clone();
    status.revisions.push(Revision { number: status.revision, made: now, template });
    true
}

/// Forgets the oldest revisions, but none that an instance is of.
fn forget(service: &Service, instances: &[&Instance], status: &mut ServiceStatus) {
    let held: BTreeSet<u64> = instances
        .iter()
        .filter_map(|instance| Member::of(service, instance))
        .map(|member| member.revision)
        .chain([status.revision])
        // What a rollout that fails is taken back to.
        .chain(status.before())
        .collect();
    let mut spare = status.revisions.len().saturating_sub(service.spec.kept() + 1);
    status.revisions.retain(|revision| {
        let goes = spare > 0 && !held.contains(&revision.number);
        spare -= usize::from(goes);
        !goes
    });
    let known: BTreeSet<u64> = status.revisions.iter().map(|it| it.number).collect();
    status.failed_revisions.retain(|number| known.contains(number));
}

/// How the slots of a service that lasts are.
#[derive(Default)]
struct Slots {
    /// Those that nobody has.
    missing: Vec<Key>,
    /// How many have an instance of the present revision, or are about to, which is not ready.
    busy: u32,
    /// Those that only instances of older revisions have.
    outdated: Vec<(Key, Vec<Uid>)>,
    /// Instances that nobody wants any more.
    surplus: Vec<Uid>,
}

impl Slots {
    /// How many are being changed.
    fn under_way(&self) -> u32 {
        u32::try_from(self.missing.len()).unwrap_or(u32::MAX).saturating_add(self.busy)
    }

    fn are_settled(&self) -> bool {
        self.under_way() == 0 && self.outdated.is_empty()
    }
}

struct Work<'a> {
    service: &'a Service,
    members: Vec<Member<'a>>,
    around: &'a Around<'a>,
    now: Time,
    status: ServiceStatus,
    /// The revisions that have the present template.
    alike: BTreeSet<u64>,
    /// The template is another one than at the last look.
    changed: bool,
    /// Something is asked that was not at the last look.
    asked_anew: bool,
}

impl Work<'_> {
    fn done(self) -> Step {
        Step {
            create: Vec::new(),
            remove: Vec::new(),
            status: self.status,
            roll_back: None,
            renew: false,
            again: None,
        }
    }

    /// Those that are made as the present template says.
    fn current(&self) -> impl Iterator<Item = &Member<'_>> {
        self.members.iter().filter(|it| self.alike.contains(&it.revision) && !it.leaves())
    }

    fn monitor(&self) -> Duration {
        self.service.spec.update.monitor.map_or(MONITOR, |monitor| monitor.0)
    }

    fn fails(&self, member: &Member<'_>) -> bool {
        member.fails(self.monitor(), self.now)
    }

    fn name(&self, key: &Key) -> String {
        let plain = match key {
            Key::Number(number) => format!("{}-{number}", self.service.meta.name),
            Key::Node(node) => self.name_on(node),
        };
        match self.members.iter().any(|member| member.instance.meta.name == plain) {
            true => format!("{plain}-r{}", self.status.revision),
            false => plain,
        }
    }

    fn slot(&self, key: Key) -> Slot {
        Slot { name: self.name(&key), key, due: None }
    }

    fn count(&mut self) {
        let live = || self.members.iter().filter(|member| !member.leaves());
        let (existing, updated) = (live().count(), self.current().count());
        let ready = live().filter(|member| member.is_ready()).count();
        let running = live().filter(|member| member.runs()).count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        self.status.existing = number(existing);
        self.status.updated = number(updated);
        self.status.ready = number(ready);
        self.status.running = number(running);
    }

    /// What the first instance that waits waits for.
    fn waits_for(&self) -> Option<Reason> {
        let waiting = self.members.iter().filter(|member| !member.is_ready() && !member.leaves());
        waiting.filter_map(|it| Some((it, it.instance.status.reason.as_ref()?))).next().map(
            |(member, reason)| Reason {
                message: format!("{}: {}", member.instance.meta.name, reason.message),
                ..reason.clone()
            },
        )
    }

    /// Removes all instances, also those that lost the labels by which they are told apart.
    fn take_down(mut self, instances: &[&Instance]) -> Step {
        self.count();
        self.status.phase = ServicePhase::Removing;
        self.status.reason = None;
        let remove = instances.iter().filter(|instance| instance.meta.deleted.is_none());
        let remove = remove.map(|instance| instance.meta.id.clone()).collect();
        Step { remove, ..self.done() }
    }

    /// Keeps an instance in each of these slots.
    fn keep(mut self, keys: Vec<Key>) -> Step {
        let replicas = u32::try_from(keys.len()).unwrap_or(u32::MAX);
        self.status.wanted = replicas;
        self.count();
        self.begin();
        let slots = self.slots(&keys);
        let rolling =
            matches!(self.status.phase, ServicePhase::Updating | ServicePhase::RollingBack);
        // Before more slots are changed.
        let roll_back = self.fail(replicas, rolling);
        let mut again = self.judge(replicas, slots.are_settled());
        let (shut, renew) = self.depend();
        let halted = self.service.spec.paused
            || self.status.phase == ServicePhase::Paused
            || roll_back.is_some();
        let mut create = Vec::new();
        let mut remove = slots.surplus.clone();
        if shut.is_none() {
            create.extend(slots.missing.iter().map(|key| self.slot(key.clone())));
        }
        if !halted && shut.is_none() && !slots.outdated.is_empty() {
            let wait = self.delay_left();
            let order = self.service.spec.update.order;
            for (key, old) in self.open(&slots, wait) {
                match order {
                    UpdateOrder::StopFirst => remove.extend_from_slice(old),
                    UpdateOrder::StartFirst => create.push(self.slot(key.clone())),
                }
            }
            again = [again, wait].into_iter().flatten().min();
        }
        if rolling {
            let (monitor, now) = (self.monitor(), self.now);
            let recovery = self.current().filter_map(|it| it.recovers(monitor, now)).min();
            again = [again, recovery].into_iter().flatten().min();
        }
        self.status.reason = self.why(shut, halted && !slots.outdated.is_empty());
        Step { create, remove, roll_back, renew, again, ..self.done() }
    }

    /// The slots that are changed now: those that were begun, and as many more as the policy lets.
    fn open<'b>(&self, slots: &'b Slots, wait: Option<Duration>) -> Vec<&'b (Key, Vec<Uid>)> {
        let policy = &self.service.spec.update;
        let most = if policy.parallelism == 0 { u32::MAX } else { policy.parallelism };
        let most = most.saturating_sub(slots.under_way());
        let leaves = |(_, old): &&(Key, Vec<Uid>)| {
            let mut leaving = self.service.status.leaving.iter();
            leaving.any(|it| old.contains(&it.instance))
        };
        let (begun, waiting): (Vec<_>, Vec<_>) = slots.outdated.iter().partition(leaves);
        let more = if wait.is_some() { 0 } else { (most as usize).saturating_sub(begun.len()) };
        begun.into_iter().chain(waiting.into_iter().take(more)).collect()
    }

    /// Begins a rollout where the template has changed.
    fn begin(&mut self) {
        let resumed = self.status.resumed != self.service.spec.resumed;
        self.status.resumed = self.service.spec.resumed;
        let goes_on = resumed && self.status.phase == ServicePhase::Paused;
        if !self.changed && !goes_on {
            return;
        }
        let status = &mut self.status;
        status.failed = 0;
        if goes_on {
            let revision = status.revision;
            status.failed_revisions.retain(|failed| *failed != revision);
        }
        status.phase = match status.phase {
            _ if status.revisions.len() == 1 => ServicePhase::Steady,
            ServicePhase::RollingBack => ServicePhase::RollingBack,
            ServicePhase::Pending
            | ServicePhase::Steady
            | ServicePhase::Updating
            | ServicePhase::Paused
            | ServicePhase::RolledBack
            | ServicePhase::Scheduled
            | ServicePhase::Complete
            | ServicePhase::Failed
            | ServicePhase::Removing => ServicePhase::Updating,
        };
    }

    fn slots(&self, keys: &[Key]) -> Slots {
        let mut slots = Slots::default();
        let mut by_key: BTreeMap<&Key, Vec<&Member<'_>>> = BTreeMap::new();
        for member in &self.members {
            by_key.entry(&member.key).or_default().push(member);
        }
        let id = |member: &&&Member<'_>| member.instance.meta.id.clone();
        // Those beyond what is wanted go: the highest numbers, nodes that are gone.
        let wanted: BTreeSet<&Key> = keys.iter().collect();
        let beyond = by_key.iter().filter(|(key, _)| !wanted.contains(**key));
        let beyond = beyond.flat_map(|(_, members)| members);
        slots.surplus.extend(beyond.filter(|member| !member.leaves()).map(|it| id(&it)));
        for key in keys {
            let all = by_key.get(key).map(Vec::as_slice).unwrap_or_default();
            let live: Vec<_> = all.iter().filter(|member| !member.leaves()).collect();
            let (new, old): (Vec<_>, Vec<_>) =
                live.into_iter().partition(|member| self.alike.contains(&member.revision));
            match (new.first(), old.is_empty()) {
                (None, true) if all.is_empty() => slots.missing.push(key.clone()),
                // The name is its predecessor's: it is made when that is gone.
                (None, true) => slots.busy += 1,
                (None, false) => slots.outdated.push((key.clone(), old.iter().map(id).collect())),
                (Some(new), _) => {
                    let fails = self.fails(new);
                    slots.busy += u32::from(!new.is_ready() && !fails);
                    if new.is_ready() && !fails {
                        slots.surplus.extend(old.iter().map(id));
                    }
                }
            }
        }
        slots
    }

    /// Time until the next slot may be changed.
    fn delay_left(&self) -> Option<Duration> {
        let delay = self.service.spec.update.delay?.0;
        let last = self.current().filter_map(Member::started).max()?;
        delay.checked_sub(self.now.since(last)).filter(|left| !left.is_zero())
    }

    /// Says that a rollout is over when nothing is left to change and all that was changed has run for long
    /// enough. Returns when to look again.
    fn judge(&mut self, replicas: u32, settled: bool) -> Option<Duration> {
        let over = match self.status.phase {
            ServicePhase::Updating => ServicePhase::Steady,
            ServicePhase::RollingBack => ServicePhase::RolledBack,
            ServicePhase::Pending
            | ServicePhase::Complete
            | ServicePhase::Failed
            | ServicePhase::Scheduled => {
                self.status.phase = ServicePhase::Steady;
                return None;
            }
            // What failed at first runs after all.
            ServicePhase::Paused if self.status.updated == replicas && settled => {
                ServicePhase::Steady
            }
            ServicePhase::Paused
            | ServicePhase::Steady
            | ServicePhase::RolledBack
            | ServicePhase::Removing => return None,
        };
        if !settled {
            return None;
        }
        let monitor = self.monitor();
        let left = self
            .current()
            .filter_map(Member::started)
            .max()
            .and_then(|last| monitor.checked_sub(self.now.since(last)))
            .filter(|left| !left.is_zero());
        if left.is_none() {
            self.status.phase = over;
        }
        left
    }

    /// Counts slots that failed, and does what is to be done when they are too many.
    fn fail(&mut self, replicas: u32, rolling: bool) -> Option<u64> {
        if !rolling {
            return None;
        }
        let failed = u32::try_from(self.current().filter(|it| self.fails(it)).count()).unwrap_or(0);
        self.status.failed = self.status.failed.max(failed);
        let most = u64::from(replicas) * u64::from(self.service.spec.update.max_failure_percent);
        if u64::from(self.status.failed) * 100 <= most {
            return None;
        }
        let revision = self.status.revision;
        if !self.status.failed_revisions.contains(&revision) {
            self.status.failed_revisions.push(revision);
        }
        match (self.service.spec.update.on_failure, self.status.phase, self.status.before()) {
            (OnFailure::Continue, ..) => None,
            (OnFailure::RollBack, ServicePhase::Updating, Some(before)) => {
                self.status.phase = ServicePhase::RollingBack;
                Some(before)
            }
            (OnFailure::Pause | OnFailure::RollBack, ..) => {
                self.status.phase = ServicePhase::Paused;
                None
            }
        }
    }

    fn why(&self, shut: Option<Reason>, halted: bool) -> Option<Reason> {
        let name = &self.service.meta.name;
        let revision = self.status.revision;
        if self.status.phase == ServicePhase::Paused {
            let failing = self.current().find(|member| self.fails(member));
            let which = failing.map_or(String::new(), |it| format!(" ({})", it.instance.meta.name));
            let cause = failing.and_then(|it| it.instance.status.reason.as_ref());
            let cause = cause.map_or(String::new(), |cause| format!(": {}", cause.message));
            return Some(Reason {
                code: "UpdateFailed".into(),
                message: format!(
                    "{} of {} instances of revision {revision} failed{which}{cause}",
                    self.status.failed, self.status.wanted
                ),
                next: Some(format!(
                    "`hull service rollback {name}`, or `hull service resume {name}`"
                )),
            });
        }
        let taken_back =
            matches!(self.status.phase, ServicePhase::RollingBack | ServicePhase::RolledBack);
        if let Some(failed) = self.status.failed_revisions.last().filter(|_| taken_back) {
            return Some(Reason {
                code: "UpdateFailed".into(),
                message: format!("revision {failed} failed and was taken back"),
                next: Some(format!("`hull service history {name}` shows what it was")),
            });
        }
        if shut.is_some() {
            return shut;
        }
        if halted {
            return Some(Reason {
                code: "Paused".into(),
                message: format!("revision {revision} waits, as somebody paused the service"),
                next: Some(format!("hull service resume {name}")),
            });
        }
        self.waits_for()
    }
}

#[cfg(test)]
mod tests;
