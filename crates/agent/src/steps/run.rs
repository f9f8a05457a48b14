//! Step: processes begin and end.

use std::time::Duration;

use containers::{ContainerId, Engine, Signal};
use faults::may_die;
use model::instance::{ContainerSpec, ContainerState, ContainerStatus, Instance, StopRequest};
use model::{Error, Result};

use crate::local::Local;
use crate::observe::{engine_id, forget_end};
use crate::steps::absent_is_fine;
use crate::worker::Worker;

/// How long a container may take to end when nobody said.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// Clears what is left in the engine of earlier runs of containers that this run has not begun.
pub async fn clear_ended(worker: &Worker, wanted: &Instance) -> Result<()> {
    for seen in &worker.local.status.containers {
        let id = engine_id(&worker.uid, &wanted.spec, &seen.name);
        if let (ContainerState::Waiting, Some(id)) = (seen.state, id) {
            // One that runs was begun by a start that was cut short; it is taken over.
            let observed = worker.context.engine.observe(&id).await?;
            if observed.is_some_and(|observed| !observed.state.is_live()) {
                absent_is_fine(worker.context.engine.delete_task(&id).await)?;
            }
        }
    }
    Ok(())
}

/// Begins a container's run, unless it has begun.
pub async fn begin(
    worker: &mut Worker,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<()> {
    let seen = status(worker, container)?;
    match seen.state {
        ContainerState::Running | ContainerState::Paused => return Ok(()),
        // In this run.
        ContainerState::Exited if container.once => return Ok(()),
        ContainerState::Waiting | ContainerState::Exited => {}
    }
    let id = id(worker, wanted, container)?;
    let started = worker.context.engine.start(&id).await?;
    let seen = status(worker, container)?;
    seen.state = ContainerState::Running;
    seen.pid = Some(started.pid).filter(|pid| *pid != 0);
    seen.started = Some(started.at);
    forget_end(seen);
    Ok(())
}

/// Runs an initial container to its end; passes over one that has ended well in this run.
pub async fn to_the_end(
    worker: &mut Worker,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<()> {
    let seen = status(worker, container)?;
    if seen.state == ContainerState::Exited && seen.exit_code == Some(0) {
        return Ok(());
    }
    begin(worker, wanted, container).await?;
    let id = id(worker, wanted, container)?;
    let exit = worker.context.engine.wait(&id).await?;
    let seen = status(worker, container)?;
    seen.state = ContainerState::Exited;
    seen.pid = None;
    seen.exit_code = Some(exit.code);
    seen.finished = Some(exit.at);
    if exit.code == 0 {
        return Ok(());
    }
    Err(Error::conflict(format!(
        "initial container {:?} ended with code {}",
        container.name, exit.code
    ))
    .next(format!("hull logs {} --container {}", wanted.meta.name, container.name)))
}

/// Ends a container: its stop signal, the time given, then SIGKILL.
pub async fn end(worker: &mut Worker, wanted: &Instance, container: &ContainerSpec) -> Result<()> {
    let id = id(worker, wanted, container)?;
    let engine = worker.context.engine.clone();
    end_as_wished(engine.as_ref(), &id, &worker.local, wanted, container).await
}

/// The same for whoever has no worker at hand.
pub async fn end_as_wished(
    engine: &dyn Engine,
    id: &ContainerId,
    local: &Local,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<()> {
    let Some(seen) = local.status.container(&container.name) else { return Ok(()) };
    let frozen = match seen.state {
        ContainerState::Running => false,
        ContainerState::Paused => true,
        ContainerState::Waiting | ContainerState::Exited => return Ok(()),
    };
    let (signal, patience) = manner(local, wanted, container)?;
    if frozen {
        // Frozen processes take no signal.
        engine.resume(id).await?;
    }
    engine.kill(id, signal).await?;
    may_die("stop.signalled");
    if signal == Signal::KILL || tokio::time::timeout(patience, engine.wait(id)).await.is_err() {
        engine.kill(id, Signal::KILL).await?;
        engine.wait(id).await?;
    }
    Ok(())
}

/// Which signal ends a container, and how long it may take.
fn manner(
    local: &Local,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<(Signal, Duration)> {
    let resolved = local.resolved.get(&container.name);
    let own = resolved.map_or(container.stop_signal.as_str(), |r| r.stop_signal.as_str());
    match &wanted.spec.stop {
        Some(StopRequest { timeout: None, .. }) => Ok((Signal::KILL, Duration::ZERO)),
        Some(StopRequest { timeout: Some(timeout), signal, save: _ }) => {
            let signal = if signal.is_empty() { own } else { signal };
            Ok((Signal::or_term(signal)?, timeout.0))
        }
        None => {
            let timeout = wanted.spec.stop_timeout.map_or(STOP_TIMEOUT, |timeout| timeout.0);
            Ok((Signal::or_term(own)?, timeout))
        }
    }
}

fn id(worker: &Worker, wanted: &Instance, container: &ContainerSpec) -> Result<ContainerId> {
    engine_id(&worker.uid, &wanted.spec, &container.name)
        .ok_or_else(|| Error::internal("a container that is not in its own instance"))
}

fn status<'a>(
    worker: &'a mut Worker,
    container: &ContainerSpec,
) -> Result<&'a mut ContainerStatus> {
    worker
        .local
        .status
        .containers
        .iter_mut()
        .find(|seen| seen.name == container.name)
        .ok_or_else(|| Error::internal(format!("container {:?} has no status", container.name)))
}
