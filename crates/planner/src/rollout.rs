//! What a service needs next: which instances to make and to remove, and how far it is.
//!
//! One pure function of the service and its instances. It is asked again whenever one of them changes,
//! and after [`Step::again`]; what it answered before is not remembered but in the service's status.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::instance::{Health, Instance, Phase as State, Reason};
use model::quantity::Span;
use model::service::{
    OnFailure, REVISION, Revision, SLOT, Service, ServiceMode, ServicePhase, ServiceStatus,
    SlotSet, UpdateOrder,
};
use model::{Time, Uid};

/// How soon after its start an instance that fails has failed, unless the policy says otherwise.
const MONITOR: Duration = Duration::from_secs(5);
/// Waits between runs of a job that fail double from the first to the last.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(360);

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
    /// When to look again though nothing changed.
    pub again: Option<Duration>,
}

/// An instance to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The slot's number.
    pub number: u32,
    /// The instance's name.
    pub name: String,
}

/// An instance of the service as it matters here.
struct Member<'a> {
    instance: &'a Instance,
    slot: u32,
    revision: u64,
}

impl<'a> Member<'a> {
    fn of(instance: &'a Instance) -> Option<Self> {
        let number = |key| instance.meta.labels.get(key)?.parse::<u64>().ok();
        let slot = u32::try_from(number(SLOT)?).ok()?;
        Some(Self { instance, slot, revision: number(REVISION)? })
    }

    fn leaves(&self) -> bool {
        self.instance.meta.deleted.is_some()
    }

    fn is_ready(&self) -> bool {
        let status = &self.instance.status;
        let healthy = matches!(status.health, Health::Unchecked | Health::Healthy);
        !self.leaves() && status.phase == State::Running && healthy
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

/// What a service needs next. `instances` are all that it owns.
#[must_use]
pub fn step(service: &Service, instances: &[&Instance], now: Time) -> Step {
    let mut status = service.status.clone();
    let changed = take_template(service, &mut status, now);
    let asked_anew = status.observed_generation != service.meta.generation;
    status.observed_generation = service.meta.generation;
    status.wanted = service.spec.wanted();
    let members: Vec<Member<'_>> =
        instances.iter().filter_map(|instance| Member::of(instance)).collect();
    let alike = status.revisions.iter().filter(|it| it.template == service.spec.template);
    let alike = alike.map(|revision| revision.number).collect();
    let work = Work { service, members, now, status, alike, changed, asked_anew };
    let mut step = match &service.spec.mode {
        _ if service.meta.deleted.is_some() => work.take_down(instances),
        ServiceMode::Replicated { replicas } => work.replicate(*replicas),
        ServiceMode::Job { completions, parallelism, retries, deadline } => {
            work.run_job(*completions, *parallelism, *retries, *deadline)
        }
    };
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
        .filter_map(|instance| Member::of(instance))
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

/// How the slots of a service that is counted are.
#[derive(Default)]
struct Slots {
    /// Those that nobody has.
    missing: Vec<u32>,
    /// How many have an instance of the present revision, or are about to, which is not ready.
    busy: u32,
    /// Those that only instances of older revisions have.
    outdated: Vec<(u32, Vec<Uid>)>,
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

    fn name(&self, number: u32) -> String {
        let plain = format!("{}-{number}", self.service.meta.name);
        match self.members.iter().any(|member| member.instance.meta.name == plain) {
            true => format!("{plain}-r{}", self.status.revision),
            false => plain,
        }
    }

    fn slot(&self, number: u32) -> Slot {
        Slot { number, name: self.name(number) }
    }

    fn count(&mut self) {
        let live = || self.members.iter().filter(|member| !member.leaves());
        let (existing, updated) = (live().count(), self.current().count());
        let ready = live().filter(|member| member.is_ready()).count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        self.status.existing = number(existing);
        self.status.updated = number(updated);
        self.status.ready = number(ready);
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

    fn replicate(mut self, replicas: u32) -> Step {
        self.count();
        self.begin();
        let slots = self.slots(replicas);
        let rolling =
            matches!(self.status.phase, ServicePhase::Updating | ServicePhase::RollingBack);
        // Before more slots are changed.
        let roll_back = self.fail(replicas, rolling);
        let mut again = self.judge(replicas, slots.are_settled());
        let halted = self.service.spec.paused
            || self.status.phase == ServicePhase::Paused
            || roll_back.is_some();
        let mut create: Vec<Slot> = slots.missing.iter().map(|number| self.slot(*number)).collect();
        let mut remove = slots.surplus.clone();
        if !halted && !slots.outdated.is_empty() {
            let wait = self.delay_left();
            let policy = &self.service.spec.update;
            let most = if policy.parallelism == 0 { u32::MAX } else { policy.parallelism };
            let open = if wait.is_some() { 0 } else { most.saturating_sub(slots.under_way()) };
            for (number, old) in slots.outdated.iter().take(open as usize) {
                match policy.order {
                    UpdateOrder::StopFirst => remove.extend_from_slice(old),
                    UpdateOrder::StartFirst => create.push(self.slot(*number)),
                }
            }
            again = [again, wait].into_iter().flatten().min();
        }
        if rolling {
            let (monitor, now) = (self.monitor(), self.now);
            let recovery = self.current().filter_map(|it| it.recovers(monitor, now)).min();
            again = [again, recovery].into_iter().flatten().min();
        }
        self.status.reason = self.why(halted && !slots.outdated.is_empty());
        Step { create, remove, roll_back, again, ..self.done() }
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
            | ServicePhase::Complete
            | ServicePhase::Failed
            | ServicePhase::Removing => ServicePhase::Updating,
        };
    }

    fn slots(&self, replicas: u32) -> Slots {
        let mut slots = Slots::default();
        let mut by_number: BTreeMap<u32, Vec<&Member<'_>>> = BTreeMap::new();
        for member in &self.members {
            by_number.entry(member.slot).or_default().push(member);
        }
        let id = |member: &&&Member<'_>| member.instance.meta.id.clone();
        // Those beyond what is wanted go: the highest numbers.
        let beyond = by_number.range(replicas.saturating_add(1)..).flat_map(|(_, members)| members);
        slots.surplus.extend(beyond.filter(|member| !member.leaves()).map(|it| id(&it)));
        for number in 1..=replicas {
            let all = by_number.get(&number).map(Vec::as_slice).unwrap_or_default();
            let live: Vec<_> = all.iter().filter(|member| !member.leaves()).collect();
            let (new, old): (Vec<_>, Vec<_>) =
                live.into_iter().partition(|member| self.alike.contains(&member.revision));
            match (new.first(), old.is_empty()) {
                (None, true) if all.is_empty() => slots.missing.push(number),
                // The name is its predecessor's: it is made when that is gone.
                (None, true) => slots.busy += 1,
                (None, false) => slots.outdated.push((number, old.iter().map(id).collect())),
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
            ServicePhase::Pending | ServicePhase::Complete | ServicePhase::Failed => {
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

    fn why(&self, halted: bool) -> Option<Reason> {
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
        if halted {
            return Some(Reason {
                code: "Paused".into(),
                message: format!("revision {revision} waits, as somebody paused the service"),
                next: Some(format!("hull service resume {name}")),
            });
        }
        self.waits_for()
    }

    fn run_job(
        mut self,
        completions: u32,
        parallelism: u32,
        retries: u32,
        deadline: Option<Span>,
    ) -> Step {
        self.count();
        let revision = self.status.revision;
        let old = self.members.iter().filter(|it| it.revision != revision && !it.leaves());
        let mut remove: Vec<Uid> = old.map(|it| it.instance.meta.id.clone()).collect();
        let active = self.tally();
        let (succeeded, failed) = (self.status.succeeded, self.status.failed);
        if succeeded >= completions {
            self.status.phase = ServicePhase::Complete;
            self.status.reason = None;
            return Step { remove, ..self.done() };
        }
        if self.status.phase == ServicePhase::Failed && !self.changed && !self.asked_anew {
            return Step { remove, ..self.done() };
        }
        self.status.reason = self.waits_for();
        let made = self.status.revision(revision).map_or(self.now, |it| it.made);
        let left = deadline.map(|deadline| deadline.0.saturating_sub(self.now.since(made)));
        let late = left.is_some_and(|left| left.is_zero());
        if failed > retries || late {
            self.status.phase = ServicePhase::Failed;
            let (code, message) = if late {
                ("DeadlineExceeded", format!("not done after {}", Span(self.now.since(made))))
            } else {
                ("RunsFailed", format!("{failed} runs failed, {retries} may"))
            };
            self.status.reason = Some(Reason::new(code, message));
            let runs = self.members.iter().filter(|it| !it.leaves() && it.ended().is_none());
            remove.extend(runs.map(|it| it.instance.meta.id.clone()));
            remove.sort_unstable();
            remove.dedup();
            return Step { remove, ..self.done() };
        }
        self.status.phase = ServicePhase::Updating;
        let mut again = left;
        let mut create = Vec::new();
        if !self.service.spec.paused {
            let wait = self.retry_in(failed);
            let most = parallelism.min(completions - succeeded);
            let more = if wait.is_some() { 0 } else { most.saturating_sub(active) };
            let ended = [self.status.succeeded_slots.last(), self.status.failed_slots.last()];
            let there = self.members.iter().map(|member| Some(member.slot));
            let last = there.chain(ended).flatten().max().unwrap_or(0);
            create.extend((1..=more).map(|number| self.slot(last.saturating_add(number))));
            again = [again, wait].into_iter().flatten().min();
        }
        Step { create, remove, again, ..self.done() }
    }

    /// Notes the runs of the present revision that have ended: they count also when somebody takes their
    /// instances away. Returns how many go on.
    fn tally(&mut self) -> u32 {
        let status = &mut self.status;
        if self.changed {
            status.succeeded_slots = SlotSet::default();
            status.failed_slots = SlotSet::default();
        }
        let mut active = 0;
        for member in self.members.iter().filter(|it| it.revision == status.revision) {
            match member.ended() {
                Some(true) => status.succeeded_slots.insert(member.slot),
                Some(false) => status.failed_slots.insert(member.slot),
                None => active += u32::from(!member.leaves()),
            }
        }
        status.succeeded = status.succeeded_slots.len();
        status.failed = status.failed_slots.len();
        active
    }

    /// Time until a run that failed is followed by another.
    fn retry_in(&self, failed: u32) -> Option<Duration> {
        let doublings = failed.checked_sub(1)?.min(16);
        let wait = FIRST_RETRY.saturating_mul(1 << doublings).min(LAST_RETRY);
        let failed = self.current().filter(|it| it.ended() == Some(false));
        // One that could not even be started has no end.
        let ended = |it: &Member<'_>| it.finished().unwrap_or(it.instance.meta.created);
        let last = failed.map(ended).max()?;
        wait.checked_sub(self.now.since(last)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::instance::{ContainerSpec, ContainerStatus, InstanceSpec};
    use model::service::{ServiceSpec, Template, UpdatePolicy};
    use model::{Meta, Object};

    const SECOND: i64 = 1;

    fn time(seconds: i64) -> Time {
        Time::from_unix(1_800_000_000 + seconds, 0)
    }

    fn id(number: usize) -> Uid {
        Uid::from_bytes([u8::try_from(number).unwrap(); 32])
    }

    fn template(image: &str) -> Template {
        let container = ContainerSpec { image: image.into(), ..ContainerSpec::default() };
        let spec = InstanceSpec { containers: vec![container], ..InstanceSpec::default() };
        Template { spec, ..Template::default() }
    }

    /// A service, its instances, and a world that does what is asked: what is removed goes, what is made
    /// starts when [`World::start`] says so.
    struct World {
        service: Service,
        instances: Vec<Instance>,
        made: usize,
        now: i64,
    }

    impl World {
        fn new(mode: ServiceMode, update: UpdatePolicy) -> Self {
            let spec =
                ServiceSpec { template: template("one"), mode, update, ..ServiceSpec::default() };
            let service = Object::new(Meta::new("default", "web", id(0), time(0)), spec);
            Self { service, instances: Vec::new(), made: 0, now: 0 }
        }

        fn replicas(count: u32, update: UpdatePolicy) -> Self {
            let mut world = Self::new(ServiceMode::Replicated { replicas: count }, update);
            world.go();
            world.start();
            world.go();
            world
        }

        /// Does one step; how many were made and removed by it.
        fn go(&mut self) -> (usize, usize) {
            self.now += SECOND;
            let all: Vec<&Instance> = self.instances.iter().collect();
            let step = step(&self.service, &all, time(self.now));
            let counts = (step.create.len(), step.remove.len());
            self.instances.retain(|instance| !step.remove.contains(&instance.meta.id));
            for slot in step.create {
                self.made += 1;
                let name = slot.name;
                assert!(self.instances.iter().all(|it| it.meta.name != name), "{name} twice");
                let meta = Meta::new("default", &name, id(self.made), time(self.now));
                let mut instance = Instance::new(meta, self.service.spec.template.spec.clone());
                instance.meta.labels.insert(SLOT.into(), slot.number.to_string());
                instance.meta.labels.insert(REVISION.into(), step.status.revision.to_string());
                self.instances.push(instance);
            }
            self.service.status = step.status;
            if let Some(number) = step.roll_back {
                let revision = self.service.status.revision(number).unwrap();
                self.service.spec.template = revision.template.clone();
            }
            counts
        }

        fn start(&mut self) {
            let waiting = self.instances.iter_mut().filter(|it| it.status.phase == State::Pending);
            for instance in waiting {
                instance.status.phase = State::Running;
                let started = Some(time(self.now));
                instance.status.containers =
                    vec![ContainerStatus { started, ..ContainerStatus::default() }];
            }
        }

        fn end(&mut self, code: i32) {
            for instance in self.instances.iter_mut().filter(|it| it.status.phase == State::Pending)
            {
                instance.status.phase = State::Exited;
                instance.status.containers = vec![ContainerStatus {
                    exit_code: Some(code),
                    finished: Some(time(self.now)),
                    ..ContainerStatus::default()
                }];
            }
        }

        fn phase(&self) -> ServicePhase {
            self.service.status.phase
        }

        fn images(&self) -> String {
            let mut all: Vec<_> = self.instances.iter().collect();
            all.sort_by_key(|it| &it.meta.name);
            let words =
                all.iter().map(|it| format!("{}={}", it.meta.name, it.spec.main().unwrap().image));
            words.collect::<Vec<_>>().join(" ")
        }
    }

    #[test]
    fn instances_are_kept_and_counted() {
        let mut world = World::replicas(3, UpdatePolicy::default());
        assert_eq!(world.images(), "web-1=one web-2=one web-3=one");
        assert_eq!((world.phase(), world.service.status.ready), (ServicePhase::Steady, 3));
        world.instances.remove(1);
        assert_eq!(world.go(), (1, 0));
        assert_eq!(world.images(), "web-1=one web-2=one web-3=one");
        world.service.spec.mode = ServiceMode::Replicated { replicas: 1 };
        assert_eq!(world.go(), (0, 2));
        assert_eq!(world.images(), "web-1=one");
        world.service.meta.deleted = Some(time(0));
        assert_eq!(world.go(), (0, 1));
        assert_eq!(world.phase(), ServicePhase::Removing);
    }

    #[test]
    fn slots_are_changed_some_at_a_time() {
        for (order, parallelism, steps) in [
            (
                UpdateOrder::StopFirst,
                1,
                vec!["web-2=one web-3=one", "web-1=two web-2=one web-3=one"],
            ),
            (UpdateOrder::StopFirst, 2, vec!["web-3=one", "web-1=two web-2=two web-3=one"]),
            (UpdateOrder::StopFirst, 0, vec!["", "web-1=two web-2=two web-3=two"]),
            (UpdateOrder::StartFirst, 1, vec!["web-1-r2=two web-1=one web-2=one web-3=one"]),
        ] {
            let policy = UpdatePolicy { order, parallelism, ..UpdatePolicy::default() };
            let mut world = World::replicas(3, policy);
            world.service.spec.template = template("two");
            for expected in steps {
                world.go();
                assert_eq!(world.images().split(' ').count(), expected.split(' ').count());
                for word in expected.split(' ') {
                    assert!(world.images().contains(word), "{} has not {word}", world.images());
                }
                assert_eq!(world.phase(), ServicePhase::Updating);
            }
            for _ in 0..20 {
                // Nobody goes on while what was made does not run.
                let before = world.images();
                let waiting = world.instances.iter().any(|it| it.status.phase == State::Pending);
                world.go();
                assert!(!waiting || world.images() == before || parallelism == 0);
                world.start();
            }
            assert_eq!(world.phase(), ServicePhase::Steady, "{order:?} {parallelism}");
            assert!(!world.images().contains("one") && world.instances.len() == 3);
            assert_eq!(world.service.status.updated, 3);
        }
    }

    #[test]
    fn a_pause_and_a_delay_hold_it_back() {
        let delay = Some(Span::seconds(60));
        let mut world = World::replicas(2, UpdatePolicy { delay, ..UpdatePolicy::default() });
        world.service.spec.template = template("two");
        world.service.spec.paused = true;
        assert_eq!(world.go(), (0, 0));
        assert_eq!(world.service.status.reason.as_ref().unwrap().code, "Paused");
        world.service.spec.paused = false;
        world.go();
        world.go();
        world.start();
        assert_eq!(world.images(), "web-1=two web-2=one");
        assert_eq!(world.go(), (0, 0), "the next one waits");
        world.now += 60;
        assert_eq!(world.go(), (0, 1));
    }

    #[test]
    fn what_fails_is_stopped_or_taken_back() {
        for (on_failure, phase, images) in [
            (OnFailure::Pause, ServicePhase::Paused, "web-1=two web-2=one web-3=one"),
            (OnFailure::RollBack, ServicePhase::RolledBack, "web-1=one web-2=one web-3=one"),
        ] {
            let mut world =
                World::replicas(3, UpdatePolicy { on_failure, ..UpdatePolicy::default() });
            world.service.spec.template = template("two");
            for _ in 0..20 {
                world.go();
                for it in &mut world.instances {
                    if it.spec.main().unwrap().image == "two" {
                        it.status.phase = State::Restarting;
                    }
                }
                world.start();
            }
            assert_eq!((world.phase(), world.images().as_str()), (phase, images));
            assert_eq!(world.service.status.failed_revisions, [2]);
        }
        let mut world = World::replicas(
            2,
            UpdatePolicy { on_failure: OnFailure::Continue, ..UpdatePolicy::default() },
        );
        world.service.spec.template = template("two");
        for _ in 0..20 {
            world.go();
            for it in &mut world.instances {
                if it.spec.main().unwrap().image == "two" {
                    it.status.phase = State::Restarting;
                }
            }
        }
        assert_eq!(world.images(), "web-1=two web-2=two");
        assert_eq!((world.phase(), world.service.status.failed), (ServicePhase::Steady, 2));
    }

    #[test]
    fn a_rollout_that_was_held_goes_on_when_it_is_resumed() {
        let mut world = World::replicas(2, UpdatePolicy::default());
        world.service.spec.template = template("two");
        world.go();
        world.go();
        let at = world.instances.iter().position(|it| it.status.phase == State::Pending).unwrap();
        world.instances[at].status.phase = State::Failed;
        world.go();
        assert_eq!(world.phase(), ServicePhase::Paused);
        world.instances[at].status.phase = State::Pending;
        world.start();
        world.service.spec.resumed += 1;
        for _ in 0..12 {
            world.go();
            world.start();
        }
        assert_eq!(world.images(), "web-1=two web-2=two");
        assert_eq!(world.phase(), ServicePhase::Steady);
        assert!(world.service.status.failed_revisions.is_empty());
    }

    #[test]
    fn going_back_leaves_alone_what_was_never_changed() {
        let on_failure = OnFailure::RollBack;
        let mut world = World::replicas(3, UpdatePolicy { on_failure, ..UpdatePolicy::default() });
        let kept: Vec<Uid> = world.instances[1..].iter().map(|it| it.meta.id.clone()).collect();
        world.service.spec.template = template("two");
        world.go();
        world.go();
        let at = world.instances.iter().position(|it| it.status.phase == State::Pending).unwrap();
        world.instances[at].status.phase = State::Failed;
        for _ in 0..10 {
            world.go();
            world.start();
        }
        assert_eq!(world.phase(), ServicePhase::RolledBack);
        assert!(kept.iter().all(|id| world.instances.iter().any(|it| it.meta.id == *id)));
    }

    #[test]
    fn earlier_templates_are_kept_and_the_oldest_forgotten() {
        let mut world = World::replicas(1, UpdatePolicy::default());
        world.service.spec.keep = Some(2);
        for number in 2..8 {
            world.service.spec.template = template(&format!("image-{number}"));
            for _ in 0..12 {
                world.go();
                world.start();
            }
        }
        let numbers: Vec<_> = world.service.status.revisions.iter().map(|it| it.number).collect();
        assert_eq!(numbers, [5, 6, 7]);
        // The same template again is a new revision.
        world.service.spec.template = template("image-6");
        world.go();
        assert_eq!(world.service.status.revision, 8);
    }

    #[test]
    fn a_job_runs_until_so_many_ended_well() {
        let mode = ServiceMode::Job { completions: 5, parallelism: 2, retries: 1, deadline: None };
        let mut world = World::new(mode, UpdatePolicy::default());
        let mut made = Vec::new();
        for _ in 0..5 {
            made.push(world.go().0);
            world.end(0);
        }
        assert_eq!((made, world.phase()), (vec![2, 2, 1, 0, 0], ServicePhase::Complete));
        assert_eq!(world.service.status.succeeded, 5);
    }

    #[test]
    fn a_job_that_is_done_is_not_run_again() {
        let mode = ServiceMode::Job { completions: 2, parallelism: 1, retries: 0, deadline: None };
        let mut world = World::new(mode, UpdatePolicy::default());
        world.go();
        world.end(0);
        world.go();
        // Somebody takes the first away while the second runs, and the second later.
        world.instances.remove(0);
        world.end(0);
        world.go();
        assert_eq!((world.phase(), world.service.status.succeeded), (ServicePhase::Complete, 2));
        world.instances.clear();
        assert_eq!((world.go(), world.phase()), ((0, 0), ServicePhase::Complete));
    }

    #[test]
    fn a_job_is_tried_again_and_given_up() {
        let deadline = Some(Span::seconds(600));
        let mode = ServiceMode::Job { completions: 1, parallelism: 1, retries: 1, deadline };
        let mut world = World::new(mode.clone(), UpdatePolicy::default());
        assert_eq!(world.go(), (1, 0));
        world.end(3);
        assert_eq!(world.go(), (0, 0), "it waits a little");
        world.now += 10;
        assert_eq!(world.go(), (1, 0));
        world.end(3);
        world.go();
        assert_eq!((world.phase(), world.service.status.failed), (ServicePhase::Failed, 2));
        let mut world = World::new(mode, UpdatePolicy::default());
        world.go();
        world.start();
        world.now += 600;
        assert_eq!(world.go(), (0, 1));
        assert_eq!(world.service.status.reason.as_ref().unwrap().code, "DeadlineExceeded");
    }
}
