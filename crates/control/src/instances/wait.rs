//! Waiting for what becomes of an instance. Nothing is polled: every version of the instance is
//! seen as it is recorded.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use model::error::Code;
use model::instance::{Health, Instance, InstanceNoun, Phase, Reason, RunState};
use model::{Error, ErrorKind, Kind, Result, Uid};

use super::{Instances, has_ended, is_active, is_over};
use crate::caller::{Caller, Verb, authorise};
use crate::service::watch::Follow;
use crate::service::{find, not_found};

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Condition {
    /// It does not run and is not about to; met at once by one that was never started.
    #[default]
    NotRunning,
    /// Its main container ends once more.
    NextExit,
    /// It is gone.
    Removed,
    /// It runs.
    Running,
    /// It runs and its health checks succeed.
    Healthy,
}

/// What came of waiting.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exit {
    /// Exit code of the main container's last run; 0 when it never ran.
    pub code: i32,
    /// Why it could not be started, if so.
    pub error: Option<String>,
    /// What exactly kept it from starting.
    pub fault: Option<Code>,
}

/// What a verb was to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The last run that was asked for has begun.
    Started,
    /// It runs and its health checks succeed; as `Started` for one that has none.
    Healthy,
    /// Its processes are frozen.
    Paused,
    /// It has ended.
    Stopped,
    /// It is gone.
    Removed,
    /// What was asked last is known to its node, and in force as far as it can be.
    InForce,
}

impl Instances {
    /// Waits for an instance to become so, however long that takes. What is waited for is fixed
    /// when this returns; the future may be awaited later.
    ///
    /// # Errors
    /// `NotFound`; the future fails when the instance goes before the condition is met.
    pub fn wait(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        condition: Condition,
    ) -> Result<BoxFuture<'static, Result<Exit>>> {
        authorise(caller, Verb::Watch, Kind::Instance, project)?;
        let instance =
            self.core.read(|state| find::<InstanceNoun>(state, project, name).cloned())?;
        let before = last_exit(&instance);
        let mut versions = Versions::new(self, &instance.meta.id)?;
        Ok(Box::pin(async move {
            loop {
                let (instance, gone) = versions.next().await?;
                if gone || condition_met(condition, &instance, &before) {
                    return conclude(condition, &instance, gone);
                }
            }
        }))
    }

    /// Waits until an instance is on a node, or it is known why it will be on none.
    pub(super) async fn placed(&self, caller: &Caller, project: &str, name: &str) -> Result<()> {
        let id = self.get(caller, project, name)?.meta.id.clone();
        let mut versions = Versions::new(self, &id)?;
        loop {
            let (instance, gone) = versions.next().await?;
            if gone || instance.spec.placement.is_some() || instance.status.reason.is_some() {
                return Ok(());
            }
        }
    }

    /// Waits until a verb has had its effect, at most for `deadline`.
    ///
    /// # Errors
    /// The reason why it cannot be reached, as soon as that is known; `Unavailable` at the deadline,
    /// saying what is waited for.
    pub async fn settle(
        &self,
        caller: &Caller,
        id: &Uid,
        goal: Goal,
        deadline: Duration,
    ) -> Result<Arc<Instance>> {
        self.may_watch(caller, id)?;
        let mut versions = match Versions::new(self, id) {
            Err(error) if goal == Goal::Removed && error.kind() == ErrorKind::NotFound => {
                return Err(error);
            }
            versions => versions?,
        };
        let mut last = None;
        let settled = tokio::time::timeout(deadline, async {
            loop {
                let (instance, gone) = versions.next().await?;
                if let Some(outcome) = settled(goal, &instance, gone) {
                    return outcome.map(|()| instance);
                }
                last = Some(instance);
            }
        });
        settled.await.unwrap_or_else(|_| Err(late(goal, last.as_deref(), deadline)))
    }
}

impl Instances {
    /// Refuses who may not see the instance that is there.
    fn may_watch(&self, caller: &Caller, id: &Uid) -> Result<()> {
        let project = self
            .core
            .read(|state| state.instances.by_id(id).map(|instance| instance.meta.project.clone()));
        project.map_or(Ok(()), |project| authorise(caller, Verb::Watch, Kind::Instance, &project))
    }
}

/// The versions of one instance: the present one, then each that follows.
struct Versions {
    id: Uid,
    log: Follow<InstanceNoun>,
    seen: std::collections::VecDeque<(Arc<Instance>, bool)>,
}

impl Versions {
    fn new(instances: &Instances, id: &Uid) -> Result<Self> {
        let core = &instances.core;
        let (now, revision) = core.read(|state| {
            let now = state.instances.by_id(id).cloned();
            now.map(|now| (now, state.revision))
                .ok_or_else(|| not_found(Kind::Instance, id.short()))
        })?;
        let log = Follow::new(core.clone(), Some(revision))?;
        Ok(Self { id: id.clone(), log, seen: [(now, false)].into() })
    }

    /// The next version, and whether it is the last one because the instance is gone.
    async fn next(&mut self) -> Result<(Arc<Instance>, bool)> {
        loop {
            if let Some(version) = self.seen.pop_front() {
                return Ok(version);
            }
            let changes = self.log.next().await?;
            if changes.is_empty() {
                return Err(
                    Error::unavailable("control is shutting down").next("try again when hull runs")
                );
            }
            for change in changes {
                let version = match (change.new, change.old) {
                    (Some(new), _) => (new.object.clone(), false),
                    (None, Some(old)) => (old.object.clone(), true),
                    (None, None) => continue,
                };
                if version.0.meta.id == self.id {
                    self.seen.push_back(version);
                }
            }
        }
    }
}

/// What tells one exit of the main container from another.
fn last_exit(instance: &Instance) -> Option<(model::Time, u64)> {
    let main = instance.spec.main().and_then(|main| instance.status.container(&main.name))?;
    Some((main.finished?, instance.status.runs))
}

fn condition_met(
    condition: Condition,
    instance: &Instance,
    before: &Option<(model::Time, u64)>,
) -> bool {
    let runs = instance.status.phase == Phase::Running;
    match condition {
        Condition::NotRunning => !is_active(instance) && !instance.status.phase.is_live(),
        Condition::NextExit => {
            let exit = last_exit(instance);
            exit.is_some() && exit != *before || (could_not_start(instance) && before.is_none())
        }
        Condition::Removed => false,
        Condition::Running => runs,
        Condition::Healthy => runs && instance.status.health == Health::Healthy,
    }
}

fn could_not_start(instance: &Instance) -> bool {
    instance.status.phase == Phase::Failed && is_over(instance)
}

fn conclude(condition: Condition, instance: &Instance, gone: bool) -> Result<Exit> {
    match condition {
        Condition::Running | Condition::Healthy if gone => {
            Err(Error::not_found(format!("{} was removed", instance.title())))
        }
        Condition::NotRunning
        | Condition::NextExit
        | Condition::Removed
        | Condition::Running
        | Condition::Healthy => Ok(exit_of(instance)),
    }
}

fn exit_of(instance: &Instance) -> Exit {
    let main = instance.spec.main().and_then(|main| instance.status.container(&main.name));
    let failed = instance.status.phase == Phase::Failed;
    let reason = instance.status.reason.as_ref().filter(|_| failed);
    Exit {
        code: main.and_then(|main| main.exit_code).unwrap_or_default(),
        error: reason.map(|reason| reason.message.clone()),
        fault: reason.and_then(|reason| Code::named(&reason.code)),
    }
}

/// Whether the goal is reached, or cannot be.
fn settled(goal: Goal, instance: &Instance, gone: bool) -> Option<Result<()>> {
    let status = &instance.status;
    if gone {
        let begun = status.runs >= instance.spec.runs;
        return Some(match goal {
            Goal::Removed | Goal::Stopped => Ok(()),
            Goal::Started if begun => Ok(()),
            Goal::Started | Goal::Healthy | Goal::Paused | Goal::InForce => {
                Err(Error::not_found(format!("{} was removed", instance.title())))
            }
        });
    }
    match goal {
        Goal::Started => started(instance),
        Goal::Healthy => healthy(instance),
        Goal::Paused => match status.phase {
            Phase::Paused => Some(Ok(())),
            _ if instance.spec.run != RunState::Paused || has_ended(instance) => Some(Err(
                Error::conflict(format!("{} is {}", instance.title(), status.phase.as_str())),
            )),
            _ => None,
        },
        Goal::Stopped if not_saved(instance) => Some(Err(why_not_saved(instance))),
        Goal::Stopped => {
            let stopped = !status.phase.is_live() && !is_active(instance);
            (stopped && !is_leaving(instance)).then_some(Ok(()))
        }
        Goal::Removed => None,
        Goal::InForce => {
            let known = status.observed_generation >= instance.meta.generation;
            // One that no node can take is not waited for.
            let waits = instance.spec.placement.is_none() && status.reason.is_some();
            (known || waits).then_some(Ok(()))
        }
    }
}

/// Whether an instance that goes at its end is about to be gone: who stopped it may want its name and its ports
/// for the next one. One that its node cannot clean up is not waited for.
fn is_leaving(instance: &Instance) -> bool {
    let marked = instance.spec.auto_remove && instance.meta.deleted.is_some();
    marked && instance.status.reason.is_none()
}

fn started(instance: &Instance) -> Option<Result<()>> {
    let status = &instance.status;
    let begun = status.runs >= instance.spec.runs;
    match status.phase {
        Phase::Failed if is_over(instance) => Some(Err(failure(instance))),
        Phase::Pending if status.reason.is_some() => Some(Err(failure(instance))),
        Phase::Running | Phase::Restarting | Phase::Exited if begun => Some(Ok(())),
        // One that is to run again is not there until it is thawed.
        Phase::Paused if begun && instance.spec.run == RunState::Paused => Some(Ok(())),
        _ if instance.spec.run == RunState::Stopped => {
            Some(Err(Error::conflict(format!("{} was stopped before it ran", instance.title()))))
        }
        Phase::Pending
        | Phase::Creating
        | Phase::Running
        | Phase::Paused
        | Phase::Restarting
        | Phase::Exited
        | Phase::Failed
        | Phase::Removing => None,
    }
}

fn healthy(instance: &Instance) -> Option<Result<()>> {
    let ended = has_ended(instance) || instance.status.phase == Phase::Failed;
    match instance.status.health {
        Health::Healthy if instance.status.phase == Phase::Running => Some(Ok(())),
        Health::Unchecked if instance.status.phase == Phase::Running => started(instance),
        Health::Unhealthy => {
            Some(Err(Error::conflict(format!("{} is unhealthy", instance.title()))
                .next(format!("`hull inspect {}` shows its last checks", instance.meta.name))))
        }
        _ if ended => started(instance).filter(Result::is_err).or_else(|| {
            Some(Err(Error::conflict(format!("{} ended", instance.title()))
                .next(format!("`hull logs {}` shows why", instance.meta.name))))
        }),
        Health::Healthy | Health::Unchecked | Health::Starting => {
            started(instance).filter(Result::is_err)
        }
    }
}

/// The error for an instance that cannot start, from the reason in its status.
fn failure(instance: &Instance) -> Error {
    let title = instance.title();
    let Some(reason) = &instance.status.reason else {
        return Error::internal(format!("{title} could not be started"));
    };
    let error =
        Error::new(kind_of(reason), format!("{title} could not be started: {}", reason.message));
    let error = Code::named(&reason.code).into_iter().fold(error, Error::coded);
    match &reason.next {
        Some(next) => error.next(next),
        None => error,
    }
}

/// What sort of failure a reason's code stands for: the name of an error kind, or one of the words
/// used in statuses.
fn kind_of(reason: &Reason) -> ErrorKind {
    let named = |kind: &ErrorKind| kind.as_str().eq_ignore_ascii_case(&reason.code);
    if let Some(kind) = ErrorKind::ALL.into_iter().find(named) {
        return kind;
    }
    if let Some(code) = Code::named(&reason.code) {
        return code.kind();
    }
    match reason.code.as_str() {
        "ImageNotFound" | "VolumeNotFound" | "NetworkNotFound" => ErrorKind::NotFound,
        "NameTaken" => ErrorKind::Conflict,
        "NoMemory" | "NoSpace" | "NoAddress" | "QuotaExceeded" => ErrorKind::Exhausted,
        "LimitMissing" => ErrorKind::Invalid,
        "NoNode" | "Unreachable" | "PullFailed" => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    }
}

fn late(goal: Goal, instance: Option<&Instance>, deadline: Duration) -> Error {
    let title = instance.map_or_else(|| "the instance".to_owned(), Instance::title);
    let goal = match goal {
        Goal::Started => "running",
        Goal::Healthy => "healthy",
        Goal::Paused => "paused",
        Goal::Stopped => "stopped",
        Goal::Removed => "gone",
        Goal::InForce => "as was asked",
    };
    let phase = instance.map_or("unknown", |it| it.status.phase.as_str());
    let reason = instance.and_then(|it| it.status.reason.as_ref());
    let why = reason.map_or_else(String::new, |reason| format!(": {}", reason.message));
    let span = model::Span(deadline);
    Error::unavailable(format!("{title} is not {goal} after {span}; it is {phase}{why}"))
        .next("it goes on in the background: `hull inspect` shows how far it is")
}

/// A stop that was to save a machine's memory could not: it runs on. An earlier one that could not is no
/// word on this one.
pub(super) fn not_saved(instance: &Instance) -> bool {
    if instance.status.observed_generation != instance.meta.generation {
        return false;
    }
    let asked = instance.spec.stop.as_ref().is_some_and(|stop| stop.save);
    let reason = instance.status.reason.as_ref().filter(|_| asked);
    reason.is_some_and(|reason| reason.code == "SaveFailed") && instance.status.phase.is_live()
}

fn why_not_saved(instance: &Instance) -> Error {
    let why = instance.status.reason.as_ref().map(|reason| reason.message.as_str());
    let why = why.unwrap_or_default();
    Error::conflict(format!("{} runs on: its memory cannot be saved: {why}", instance.title()))
        .next(format!("stop it without --save: hull stop {}", instance.meta.name))
}
