//! The verbs that start and stop. Each can be repeated: when its goal is what is wanted already,
//! nothing changes.

use std::time::Duration;

use model::instance::{Instance, InstanceNoun, Phase, RestartPolicy, RunState, StopRequest};
use model::{Error, Kind, Result};

use super::wait::not_saved;
use super::{Goal, Instances, StopOptions, Verbed, create, has_ended, is_active, is_over};
use crate::batch::Batch;
use crate::caller::{Caller, Verb, authorise};
use crate::core::Mode;
use crate::mirror::State;
use crate::service::{Context, find, not_deleted};

/// How long a node may take to know what was asked.
const NODE_PATIENCE: Duration = Duration::from_secs(10);

/// SIGKILL's number (signal(7)).
const SIGKILL: &str = "9";

impl Instances {
    /// Runs an instance; of one that runs already it changes nothing.
    ///
    /// # Errors
    /// `Conflict` for a paused one, and when something it needs is taken: a port, memory.
    pub async fn start(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        mode: Mode,
    ) -> Result<Verbed> {
        self.operate(caller, project, name, mode, start).await
    }

    /// Ends an instance's processes, and has its policy not start them again.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stop(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        options: &StopOptions,
        mode: Mode,
    ) -> Result<Verbed> {
        self.operate(caller, project, name, mode, |_, _, new, _| {
            can_save(new, options)?;
            if options.save && not_saved(new) {
                // The same wish once more is a new one.
                new.meta.generation += 1;
            }
            stop(new, options);
            Ok(())
        })
        .await
    }

    /// Ends an instance's processes if there are any, and runs it again.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        options: &StopOptions,
        mode: Mode,
    ) -> Result<Verbed> {
        self.operate(caller, project, name, mode, |context, old, new, batch| {
            can_save(old, options)?;
            new.spec.run = RunState::Running;
            new.spec.runs += 1;
            new.spec.stop = request(old, options);
            create::join(context, new, batch)?;
            create::claim(context, old, new, batch)
        })
        .await
    }

    /// Freezes a running instance's processes.
    ///
    /// # Errors
    /// `Conflict` for one that does not run.
    pub async fn pause(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        mode: Mode,
    ) -> Result<Verbed> {
        self.operate(caller, project, name, mode, |_, old, new, _| {
            let paused = old.spec.run == RunState::Paused;
            let runs = matches!(old.status.phase, Phase::Running | Phase::Paused);
            if !paused && (old.spec.run == RunState::Stopped || !runs) {
                return Err(not_running(old, "paused"));
            }
            new.spec.run = RunState::Paused;
            Ok(())
        })
        .await
    }

    /// Lets a frozen instance go on.
    ///
    /// # Errors
    /// `Conflict` for one that is not paused.
    pub async fn unpause(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        mode: Mode,
    ) -> Result<Verbed> {
        self.operate(caller, project, name, mode, |_, old, new, _| {
            if old.spec.run != RunState::Paused {
                return Err(Error::conflict(format!("{} is not paused", old.title()))
                    .next("`hull ps` shows how it is"));
            }
            new.spec.run = RunState::Running;
            Ok(())
        })
        .await
    }

    /// Has the policy not start an instance again when its present run ends, which is to be asked of it
    /// by a signal. Its node knows when this returns.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when the node does not take it in.
    pub async fn make_last(&self, caller: &Caller, project: &str, name: &str) -> Result<()> {
        let made = self.operate(caller, project, name, Mode::Apply, |_, old, new, _| {
            if old.spec.policy() != RestartPolicy::No {
                new.spec.final_run = new.spec.runs;
            }
            Ok(())
        });
        let made = made.await?;
        if made.changed {
            let id = &made.instance.meta.id;
            self.settle(caller, id, Goal::InForce, NODE_PATIENCE).await?;
        }
        Ok(())
    }

    /// Sends a signal, by name or number, to the main process of a container (the main one when
    /// `container` is empty). SIGKILL to the main container is a stop without waiting: the
    /// instance is not started again by its policy.
    ///
    /// # Errors
    /// `Conflict` for one that does not run; `Unavailable` when its node is not connected.
    pub async fn kill(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        container: &str,
        signal: &str,
    ) -> Result<Verbed> {
        authorise(caller, Verb::Operate, Kind::Instance, project)?;
        let instance =
            self.core.read(|state| find::<InstanceNoun>(state, project, name).cloned())?;
        let main = instance.spec.container(container)?.name
            == instance.spec.main().map_or("", |main| main.name.as_str());
        if !instance.status.phase.is_live() && !is_active(&instance) {
            return Err(not_running(&instance, "signalled"));
        }
        if main && is_sigkill(signal) {
            let options = StopOptions { timeout: Some(Default::default()), ..Default::default() };
            return self.stop(caller, project, name, &options, Mode::Apply).await;
        }
        let (node, target) = self.on_node(caller, Verb::Operate, project, name, container).await?;
        node.kill(target, signal.to_owned()).await?;
        Ok(Verbed { instance, changed: true })
    }

    /// Changes an instance by a verb, if that changes anything.
    async fn operate(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        mode: Mode,
        verb: impl Fn(&Context<'_>, &Instance, &mut Instance, &mut Batch) -> Result<()>,
    ) -> Result<Verbed> {
        authorise(caller, Verb::Operate, Kind::Instance, project)?;
        let now = self.core.now();
        let plan = |state: &State, batch: &mut Batch| {
            let old = find::<InstanceNoun>(state, project, name)?;
            not_deleted(old)?;
            let mut new = Instance::clone(old);
            let context = Context { state, caller, core: &self.core, now };
            verb(&context, old, &mut new, batch)?;
            if new == **old {
                *batch = Batch::default();
                return Ok((new, false));
            }
            new.meta.generation += 1;
            batch.replace(old, &new);
            Ok((new, true))
        };
        let (revision, (instance, changed)) = self.core.transact(mode, plan).await?;
        Ok(Verbed { instance: self.changed(mode, (revision, instance))?, changed })
    }
}

fn start(
    context: &Context<'_>,
    old: &Instance,
    new: &mut Instance,
    batch: &mut Batch,
) -> Result<()> {
    match old.spec.run {
        RunState::Paused => {
            return Err(Error::conflict(format!("{} is paused", old.title()))
                .next(format!("`hull unpause {}`", old.meta.name)));
        }
        RunState::Running if !is_over(old) => return Ok(()),
        RunState::Running | RunState::Stopped => {}
    }
    new.spec.run = RunState::Running;
    new.spec.runs += 1;
    new.spec.stop = None;
    if new.spec.placement.is_none() {
        // What kept it from its place may be gone: that is found out anew.
        new.status.reason = None;
    }
    create::join(context, new, batch)?;
    create::claim(context, old, new, batch)
}

/// Refuses to keep the memory of what has none of its own.
fn can_save(instance: &Instance, options: &StopOptions) -> Result<()> {
    if !options.save || instance.status.machine.is_some() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "{} is no machine: only a machine's memory can be saved",
        instance.title()
    ))
    .at("save")
    .next("stop it without --save, or freeze it with hull pause"))
}

/// Asks for an instance to end. One that ended for good is left as it is.
pub(super) fn stop(instance: &mut Instance, options: &StopOptions) {
    let again = match instance.spec.policy() {
        RestartPolicy::No => false,
        // What could not be started may be tried again.
        RestartPolicy::OnFailure { .. } => instance.status.phase == Phase::Failed,
        RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
    };
    if instance.spec.run != RunState::Stopped && has_ended(instance) && !again {
        return;
    }
    let ended = instance.spec.run == RunState::Stopped && !instance.status.phase.is_live();
    if ended {
        return;
    }
    instance.spec.stop = request(instance, options);
    instance.spec.run = RunState::Stopped;
}

/// How a stop is to be done: [`StopRequest`] knows only its own time to SIGKILL, so the instance's
/// is written into it when only a signal was asked for.
fn request(instance: &Instance, options: &StopOptions) -> Option<StopRequest> {
    let timeout = match options.timeout {
        Some(timeout) => Some(timeout).filter(|timeout| !timeout.0.is_zero()),
        None if options.signal.is_empty() && !options.save => return None,
        None => Some(instance.spec.stop_timeout.unwrap_or(DEFAULT_TIMEOUT)),
    };
    Some(StopRequest { timeout, signal: options.signal.clone(), save: options.save })
}

/// How long a container may take to end when its spec says nothing (`InstanceSpec::stop_timeout`).
const DEFAULT_TIMEOUT: model::Span = model::Span(std::time::Duration::from_secs(10));

fn not_running(instance: &Instance, what: &str) -> Error {
    let state = instance.status.phase.as_str();
    Error::conflict(format!("{} cannot be {what}: it is {state}", instance.title()))
        .next(format!("`hull start {}`", instance.meta.name))
}

/// Whether a signal's name or number is SIGKILL's; nothing named means SIGKILL.
fn is_sigkill(signal: &str) -> bool {
    let name = signal.trim().to_ascii_uppercase();
    name.is_empty() || name == SIGKILL || name.trim_start_matches("SIG") == "KILL"
}
