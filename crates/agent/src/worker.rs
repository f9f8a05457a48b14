//! One task for each instance: observe, decide, do one thing, again.
//!
//! The task owns everything that is known of the instance, so there is nothing to lock and no order
//! to reason about. Others speak to it through its [`Handle`]: what is wanted goes in by a watch,
//! what is known comes out by another, and a poke says that the engine saw something.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use containers::{ContainerId, Observed};
use faults::may_die;
use link::Report;
use model::event::Event;
use model::instance::{
    ContainerSpec, ContainerState, ContainerStatus, Health, Instance, Phase, Reason, RunState,
};
use model::{Error, ErrorKind, Kind, Result, Time, Uid};
use tokio::sync::{Notify, RwLock, mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::context::Context;
use crate::decide::{Action, decide, phase};
use crate::ends::Ends;
use crate::health::Checker;
use crate::local::Local;
use crate::observe::{Ended, engine_id, merge, overall};
use crate::steps;

/// How often an instance is looked at when nothing says that it changed: events can be lost.
const SLOW: Duration = Duration::from_secs(60);
/// Wait before another try when the engine did not answer.
const ENGINE_AWAY: Duration = Duration::from_secs(1);

/// Wait before another try to take in a change that could not be.
const AGAIN: Duration = Duration::from_secs(30);

/// How long a first run waits for somebody who is to take part in it.
const ATTENTION: Duration = Duration::from_secs(5);

/// The reason of an instance that could not take in all of a change.
const PARTLY: &str = "PartlyApplied";

/// What others hold of an instance's task.
pub struct Handle {
    /// What is wanted of it.
    pub wanted: watch::Sender<Arc<Instance>>,
    /// What is known of it.
    pub known: watch::Receiver<Arc<Local>>,
    /// Wakes the task.
    pub poke: Arc<Notify>,
    /// Held for reading by whoever reads its logs; removal waits for them.
    pub logs: Arc<RwLock<()>>,
    /// Somebody takes part in it.
    pub attention: watch::Sender<bool>,
    /// Asks for its containers to be made although nothing is to run.
    prepare: mpsc::Sender<oneshot::Sender<Result<()>>>,
    /// The task.
    pub task: JoinHandle<()>,
}

impl Handle {
    /// Makes the instance's containers, if they are not there: their files can be reached then.
    ///
    /// # Errors
    /// Why they cannot be made; `Conflict` when the instance is being removed.
    pub async fn prepare(&self) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        let gone = || Error::conflict("the instance is being removed");
        self.prepare.send(done).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

/// The task's own side.
pub struct Worker {
    pub(crate) context: Arc<Context>,
    pub(crate) uid: Uid,
    pub(crate) dir: PathBuf,
    pub(crate) local: Local,
    wanted: watch::Receiver<Arc<Instance>>,
    known: watch::Sender<Arc<Local>>,
    poke: Arc<Notify>,
    logs: Arc<RwLock<()>>,
    attention: watch::Receiver<bool>,
    orders: mpsc::Receiver<oneshot::Sender<Result<()>>>,
    ends: Ends,
    checkers: HashMap<String, Checker>,
    /// What is assigned outside the containers (network, volumes) may be held.
    holding: bool,
    /// Control was told what is known: what an earlier daemon remembered may never have reached it.
    told: bool,
    /// Which change could not be taken in, by its generation, and when that was tried last.
    pub(crate) tried: Option<(u64, Instant)>,
    /// Devices that a machine's guest had given up when it was last looked at.
    pub(crate) gone: u32,
    /// How often volumes had grown when the disks in them were last looked at.
    pub(crate) grown: u64,
}

impl Worker {
    /// Starts the task of an instance, with what the node remembers of it.
    pub fn start(context: Arc<Context>, instance: Arc<Instance>) -> Handle {
        let uid = instance.meta.id.clone();
        let dir = context.places.instance(&uid);
        let remembered = Local::load(&dir);
        let told = remembered.is_none();
        // Control's copy of the status serves a node that lost its own.
        let local = remembered
            .unwrap_or_else(|| Local { status: instance.status.clone(), ..Default::default() });
        let (wanted, wanted_rx) = watch::channel(instance);
        let (known_tx, known) = watch::channel(Arc::new(local.clone()));
        let poke = Arc::new(Notify::new());
        let logs = Arc::new(RwLock::new(()));
        let (attention, attention_rx) = watch::channel(false);
        let (prepare, orders) = mpsc::channel(1);
        let worker = Worker {
            context,
            uid,
            dir,
            ends: Ends::known(&local, Time::now()),
            local,
            wanted: wanted_rx,
            known: known_tx,
            poke: poke.clone(),
            logs: logs.clone(),
            attention: attention_rx,
            orders,
            checkers: HashMap::new(),
            holding: true,
            told,
            tried: None,
            gone: 0,
            grown: 0,
        };
        let task = tokio::spawn(worker.run());
        Handle { wanted, known, poke, logs, attention, prepare, task }
    }

    async fn run(mut self) {
        let wanted = self.wanted.borrow().clone();
        steps::machine::adopt(&self, &wanted);
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            if let Err(error) = self.observe(&wanted).await {
                tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot observe");
                self.rest(Some(ENGINE_AWAY)).await;
                continue;
            }
            let deleted = wanted.meta.deleted.is_some();
            let ago = self.ends.ago(&self.local);
            let action = decide(&wanted.spec, deleted, &self.local, &ago);
            tracing::debug!(instance = %wanted.meta.name, ?action, "decided");
            match action {
                Action::Rest => self.at_rest(&wanted, None).await,
                Action::Wait(time) => self.at_rest(&wanted, Some(time)).await,
                Action::Begin { run } => self.begin(&wanted, run).await,
                Action::Again { container } => self.again(&wanted, container).await,
                Action::Stop => self.stop(&wanted).await,
                Action::Freeze => self.freeze(&wanted, true).await,
                Action::Thaw => self.freeze(&wanted, false).await,
                Action::Remove => match self.remove(&wanted).await {
                    Ok(()) => return,
                    Err(error) => self.cannot_remove(&wanted, &error).await,
                },
            }
        }
    }

    /// Looks at the engine, takes over what it shows, and tells who wants to know.
    async fn observe(&mut self, wanted: &Instance) -> Result<()> {
        let mut seen: Vec<(String, Option<Observed>)> = Vec::new();
        for container in wanted.spec.all_containers() {
            let id = engine_id(&self.uid, &wanted.spec, &container.name);
            let Some(id) = id else { continue };
            let state = self.local.status.container(&container.name).map(|seen| seen.state);
            // Nothing of ours is in the engine before the first start.
            if state.is_some() {
                seen.push((container.name.clone(), self.context.engine.observe(&id).await?));
            }
        }
        let before = self.local.clone();
        let ended = merge(&wanted.spec, &mut self.local, &seen, Time::now());
        let news = steps::machine::observe(self, !ended.is_empty());
        self.explain_boot(&ended);
        self.follow_health(wanted);
        if self.local != before {
            // What runs has a change to take in yet, which is told when it has.
            if !self.is_live() {
                self.local.status.observed_generation = wanted.meta.generation;
            }
            self.publish(wanted)?;
        } else if !self.told {
            self.tell(wanted);
        }
        for action in news {
            self.event(wanted, action, |event| event);
        }
        for end in &ended {
            self.tell_end(wanted, end);
        }
        Ok(())
    }

    /// Says of what ended with the machine why nobody knows how.
    fn explain_boot(&mut self, ended: &[Ended]) {
        let status = &mut self.local.status;
        if !ended.is_empty() && !status.boot_id.is_empty() && status.boot_id != self.context.boot_id
        {
            let message = "the machine was started anew while it ran; its exit code is not known";
            status.reason = Some(Reason::new("MachineRestarted", message));
            status.boot_id.clone_from(&self.context.boot_id);
        }
    }

    /// Waits, after giving back what an ended instance does not need.
    async fn at_rest(&mut self, wanted: &Instance, wait: Option<Duration>) {
        let status = &self.local.status;
        let ended = matches!(status.phase, Phase::Exited | Phase::Failed);
        if ended && wait.is_none() && self.holding {
            match steps::release(self, wanted).await {
                Ok(()) => self.holding = false,
                Err(error) => {
                    tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot release");
                    return self.rest(Some(ENGINE_AWAY)).await;
                }
            }
        }
        let generation = wanted.meta.generation;
        if self.local.status.observed_generation != generation || self.is_behind(generation) {
            self.take_in_changes(wanted).await;
        }
        self.rest(wait).await;
    }

    fn is_live(&self) -> bool {
        let mut containers = self.local.status.containers.iter();
        containers
            .any(|seen| matches!(seen.state, ContainerState::Running | ContainerState::Paused))
    }

    /// Whether what runs has a change to take in that it could not take in a while ago, or at all.
    fn is_behind(&self, generation: u64) -> bool {
        // Another change is tried at once.
        let ripe =
            self.tried.is_none_or(|(tried, at)| tried != generation || at.elapsed() >= AGAIN);
        self.local.taken_in != generation && self.local.status.phase == Phase::Running && ripe
    }

    /// Waits for a change of what is wanted, a poke, or the time.
    async fn rest(&mut self, limit: Option<Duration>) {
        tokio::select! {
            // A closed watch: the agent forgets the instance; nothing more to do but what it said.
            changed = self.wanted.changed() => if changed.is_err() { std::future::pending().await },
            () = self.poke.notified() => {}
            Some(done) = self.orders.recv() => {
                let wanted = self.wanted.borrow().clone();
                let outcome = steps::prepare(self, &wanted).await;
                // Who asked may have gone.
                let _ = done.send(outcome);
            }
            () = tokio::time::sleep(limit.unwrap_or(SLOW).min(SLOW)) => {}
        }
    }

    /// Goes through the steps of starting a run.
    async fn begin(&mut self, wanted: &Arc<Instance>, run: u64) {
        if self.local.status.runs != run || self.local.status.phase == Phase::Pending {
            self.prepare_run(wanted, run);
        }
        self.local.status.phase = Phase::Creating;
        if let Err(error) = self.publish(wanted) {
            return self.start_failed(wanted, &error).await;
        }
        self.holding = true;
        let obsolete = obsolete(self.wanted.clone(), wanted.clone());
        let outcome = tokio::select! {
            outcome = steps::start(self, wanted) => Some(outcome),
            () = obsolete => None,
        };
        match outcome {
            Some(Ok(())) => self.started(wanted),
            Some(Err(error)) => self.start_failed(wanted, &error).await,
            None => {
                tracing::debug!(instance = %wanted.meta.name, "start called off");
                self.local.status.phase = phase(&wanted.spec, &self.local.status);
                self.publish_or_log(wanted);
            }
        }
    }

    fn prepare_run(&mut self, wanted: &Instance, run: u64) {
        let status = &mut self.local.status;
        let fresh = |name: &str, old: Option<&ContainerStatus>| ContainerStatus {
            name: name.to_owned(),
            image_digest: old.map(|old| old.image_digest.clone()).unwrap_or_default(),
            volumes: old.map(|old| old.volumes.clone()).unwrap_or_default(),
            ..Default::default()
        };
        let containers = wanted.spec.all_containers();
        status.containers = containers.map(|c| fresh(&c.name, status.container(&c.name))).collect();
        status.runs = run;
        status.restarts = 0;
        status.reason = None;
        status.warnings.clear();
        status.boot_id.clone_from(&self.context.boot_id);
        self.local.begun = Some(Time::now());
        self.local.failed_starts = 0;
        self.local.short_runs.clear();
        self.checkers.clear();
    }

    /// Tells the user of something that is not as asked, once.
    pub(crate) fn warn(&mut self, warning: String) {
        let warnings = &mut self.local.status.warnings;
        if !warnings.contains(&warning) {
            tracing::warn!(instance = %self.wanted.borrow().meta.name, warning, "not all as asked");
            warnings.push(warning);
        }
    }

    /// Says what a start waits for, until it has started or failed.
    pub(crate) fn waits(&mut self, wanted: &Instance, reason: Reason) {
        self.local.status.reason = Some(reason);
        self.publish_or_log(wanted);
    }

    fn started(&mut self, wanted: &Instance) {
        self.local.failed_starts = 0;
        self.local.failed_at = None;
        self.local.status.reason = None;
        self.local.status.phase = phase(&wanted.spec, &self.local.status);
        self.local.status.observed_generation = wanted.meta.generation;
        self.local.taken_in = wanted.meta.generation;
        self.follow_health(wanted);
        self.publish_or_log(wanted);
        self.event(wanted, "start", |event| event);
    }

    async fn start_failed(&mut self, wanted: &Instance, error: &Error) {
        tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot start");
        if containers::containerd::is_away(error)
            || (error.kind() == ErrorKind::Unavailable && self.context.engine_away().await)
        {
            // Not the instance's fault: the same start again when the engine is back.
            self.local.status.reason = Some(Reason::from_error("EngineAway", error));
            self.publish_or_log(wanted);
            return self.rest(Some(ENGINE_AWAY)).await;
        }
        if let Err(error) = steps::end_all(self, wanted).await {
            tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot end");
        }
        let status = &mut self.local.status;
        status.phase = Phase::Failed;
        status.reason = Some(Reason::from_error(code_of(error.kind()), error));
        status.observed_generation = wanted.meta.generation;
        self.local.failed_starts = self.local.failed_starts.saturating_add(1);
        self.local.failed_at = Some(Time::now());
        self.publish_or_log(wanted);
    }

    /// Starts one container again because the policy says so.
    async fn again(&mut self, wanted: &Arc<Instance>, index: usize) {
        let name = &wanted.spec.containers[index].name;
        let obsolete = obsolete(self.wanted.clone(), wanted.clone());
        let outcome = tokio::select! {
            outcome = steps::start_again(self, wanted, name) => outcome,
            () = obsolete => return,
        };
        match outcome {
            Ok(()) => self.started(wanted),
            Err(error) => self.start_failed(wanted, &error).await,
        }
    }

    /// Takes down that a container begins again; until it has, it waits for its start.
    pub(crate) fn count_restart(&mut self, wanted: &Instance, name: &str) -> Result<()> {
        let status = &mut self.local.status;
        status.boot_id.clone_from(&self.context.boot_id);
        status.restarts = status.restarts.saturating_add(1);
        if let Some(seen) = status.containers.iter_mut().find(|seen| seen.name == name) {
            seen.restarts = seen.restarts.saturating_add(1);
            seen.state = ContainerState::Waiting;
        }
        self.publish(wanted)
    }

    /// Ends all containers, gently within the time given and then by force.
    async fn stop(&mut self, wanted: &Arc<Instance>) {
        self.checkers.clear();
        let mut news = self.wanted.clone();
        let changed = async move {
            if news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let outcome = tokio::select! {
            outcome = steps::stop(self, wanted) => outcome,
            // A kill while a gentle stop waits: look again at what is wanted.
            () = changed => return,
        };
        if let Err(error) = outcome {
            tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot stop");
            self.rest(Some(ENGINE_AWAY)).await;
        }
    }

    /// Waits until something else is wanted, as the same again would fail the same way, or until it ends by
    /// itself.
    pub(crate) async fn unheeded(&mut self, wanted: &Instance) {
        let mut news = self.wanted.clone();
        loop {
            tokio::select! {
                changed = news.changed() => match changed {
                    Ok(()) => return,
                    Err(_) => std::future::pending().await,
                },
                () = self.poke.notified() => {}
                () = tokio::time::sleep(SLOW) => {}
            }
            if let Err(error) = self.observe(wanted).await {
                tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot observe");
            }
            if !self.local.status.phase.is_live() {
                return;
            }
        }
    }

    async fn freeze(&mut self, wanted: &Instance, freeze: bool) {
        // A check that meets the freeze says nothing of the container's health.
        if freeze {
            self.checkers.clear();
        }
        if let Err(error) = steps::freeze(self, wanted, freeze).await {
            tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot freeze or thaw");
            self.rest(Some(ENGINE_AWAY)).await;
        } else {
            self.event(wanted, if freeze { "pause" } else { "unpause" }, |event| event);
        }
    }

    /// Takes everything down; the worker ends after it.
    async fn remove(&mut self, wanted: &Instance) -> Result<()> {
        self.checkers.clear();
        if self.local.status.phase != Phase::Removing {
            self.local.status.phase = Phase::Removing;
            self.known.send_replace(Arc::new(self.local.clone()));
        }
        steps::remove(self, wanted).await?;
        // Who still reads the log may finish; who does not read must not hold up the removal.
        let _ = tokio::time::timeout(Duration::from_secs(10), self.logs.write()).await;
        steps::forget(self)?;
        may_die("remove.forgotten");
        self.context.outbox.put(Report::Removed(Kind::Instance, self.uid.clone()));
        Ok(())
    }

    async fn cannot_remove(&mut self, wanted: &Instance, error: &Error) {
        tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot remove");
        self.local.status.reason = Some(Reason::from_error("RemovalFailed", error));
        self.publish_or_log(wanted);
        self.rest(Some(ENGINE_AWAY)).await;
    }

    /// Waits for who is to take part in the first run, a while.
    pub(crate) async fn attended(&self) {
        let mut attention = self.attention.clone();
        // Late or gone: the run is not held up for ever.
        let _ = tokio::time::timeout(ATTENTION, attention.wait_for(|there| *there)).await;
    }

    /// Takes over changes that need no new run: limits, networks. What fails is said and tried again.
    async fn take_in_changes(&mut self, wanted: &Instance) {
        // QEMU answers nobody while its processes are frozen.
        let frozen =
            self.local.status.machine.is_some() && self.local.status.phase == Phase::Paused;
        let (mut warnings, mut failed) = (Vec::new(), false);
        let mut refused = |error: Error| {
            tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot change");
            failed = true;
            error.chain()
        };
        if self.is_live() {
            let networks = steps::rejoin(self, wanted).await;
            warnings.extend(networks.err().map(&mut refused));
        }
        for container in &wanted.spec.containers {
            let live = self.local.status.container(&container.name).is_some_and(|seen| {
                matches!(seen.state, ContainerState::Running | ContainerState::Paused)
            });
            let id = engine_id(&self.uid, &wanted.spec, &container.name);
            let (true, false, Some(id)) = (live, frozen, id) else { continue };
            match self.take_in_limits(wanted, container, &id).await {
                Ok(more) => warnings.extend(more),
                Err(error) => warnings.push(refused(error)),
            }
        }
        self.tried = failed.then(|| (wanted.meta.generation, Instant::now()));
        if !failed && !frozen {
            self.local.taken_in = wanted.meta.generation;
        }
        let status = &mut self.local.status;
        status.observed_generation = wanted.meta.generation;
        if !warnings.is_empty() {
            status.reason = Some(Reason::new(PARTLY, warnings.join("; ")));
        } else if status.reason.as_ref().is_some_and(|reason| reason.code == PARTLY) {
            status.reason = None;
        }
        if status.runs == 0 && wanted.spec.run == RunState::Stopped {
            status.phase = Phase::Pending;
        }
        self.publish_or_log(wanted);
    }

    async fn take_in_limits(
        &mut self,
        wanted: &Instance,
        container: &ContainerSpec,
        id: &ContainerId,
    ) -> Result<Vec<String>> {
        let engine = self.context.engine.clone();
        if self.local.status.machine.is_none() {
            return engine.update(id, &container.resources).await;
        }
        let given = steps::machine::given(self, wanted, container).await?;
        let limits = steps::machine::limits(self, &container.resources, &given)?;
        let warnings = engine.update(id, &limits).await?;
        let resized = crate::guests::resize(&self.context, wanted, container).await?;
        let seen = self.local.status.machine.get_or_insert_default();
        (seen.cpus, seen.memory) = (resized.cpus, resized.memory);
        seen.pending = resized.pending;
        steps::machine::refit(self, wanted, given).await?;
        Ok(warnings)
    }

    /// Starts and stops health checkers as containers start and stop, and takes in what they found.
    fn follow_health(&mut self, wanted: &Instance) {
        for container in wanted.spec.containers.clone() {
            let check = self.local.resolved.get(&container.name).and_then(|r| r.health.clone());
            let Some(check) = check else { continue };
            let status = self.local.status.containers.iter_mut().find(|c| c.name == container.name);
            let Some(status) = status else { continue };
            if status.state != ContainerState::Running {
                self.checkers.remove(&container.name);
                continue;
            }
            let id = engine_id(&self.uid, &wanted.spec, &container.name);
            let (Some(id), Some(started)) = (id, status.started) else { continue };
            let checker = match self.checkers.get_mut(&container.name) {
                Some(checker) if checker.started == started => checker,
                _ => {
                    if status.health == Health::Unchecked || status.failing > 0 {
                        status.health = Health::Starting;
                        status.failing = 0;
                        status.health_log.clear();
                    }
                    let new = Checker::start(
                        self.context.clone(),
                        wanted,
                        id,
                        check,
                        started,
                        status,
                        self.poke.clone(),
                    );
                    self.checkers.entry(container.name.clone()).insert_entry(new).into_mut()
                }
            };
            let before = status.health;
            checker.take_over(status);
            if status.health != before {
                let health = format!("{:?}", status.health).to_lowercase();
                let event = Event::new(Time::now(), Kind::Instance, "health_status", &wanted.meta)
                    .with("health", health);
                self.context.outbox.put(Report::Event(Box::new(event)));
            }
        }
        self.local.status.health = overall(&self.local.status.containers);
    }

    fn tell_end(&mut self, wanted: &Instance, end: &Ended) {
        if end.oom_killed {
            self.event(wanted, "oom", |event| event.with("container", &end.container));
        }
        self.event(wanted, "die", |event| {
            event.with("exitCode", end.exit_code).with("container", &end.container)
        });
    }

    pub(crate) fn event(&self, wanted: &Instance, action: &str, more: impl FnOnce(Event) -> Event) {
        let mut event = Event::new(Time::now(), Kind::Instance, action, &wanted.meta);
        if let Some(main) = wanted.spec.main() {
            event = event.with("image", &main.image);
        }
        self.context.outbox.put(Report::Event(Box::new(more(event))));
    }

    /// Writes what is known to disk, then tells it.
    pub(crate) fn publish(&mut self, wanted: &Instance) -> Result<()> {
        let saved = steps::save(self);
        if self.local.status.phase == Phase::Running {
            may_die("saved.running");
        }
        self.known.send_replace(Arc::new(self.local.clone()));
        self.tell(wanted);
        saved
    }

    fn tell(&mut self, wanted: &Instance) {
        self.told = true;
        // An instance that is not in the store any more has nobody to be told.
        if wanted.meta.revision > 0 {
            let status = Box::new(self.local.status.clone());
            self.context.outbox.put(Report::Instance(self.uid.clone(), status));
        }
    }

    fn publish_or_log(&mut self, wanted: &Instance) {
        if let Err(error) = self.publish(wanted) {
            tracing::warn!(instance = %wanted.meta.name, error = error.chain(), "cannot save state");
        }
    }
}

/// Ends when a start is not wanted any more: removed, stopped, or another run asked for.
async fn obsolete(mut wanted: watch::Receiver<Arc<Instance>>, started: Arc<Instance>) {
    loop {
        {
            let now = wanted.borrow_and_update();
            let same = now.meta.deleted.is_none()
                && now.spec.run != RunState::Stopped
                && now.spec.runs == started.spec.runs;
            if !same {
                return;
            }
        }
        if wanted.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One word for why a start failed.
pub(crate) fn code_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Invalid => "Invalid",
        ErrorKind::NotFound => "NotFound",
        ErrorKind::Exists => "Exists",
        ErrorKind::Conflict => "Conflict",
        ErrorKind::Forbidden => "Forbidden",
        ErrorKind::Unauthenticated => "Unauthenticated",
        ErrorKind::Exhausted => "Exhausted",
        ErrorKind::Unavailable => "Unavailable",
        ErrorKind::Unsupported => "Unsupported",
        ErrorKind::Internal => "Internal",
    }
}
