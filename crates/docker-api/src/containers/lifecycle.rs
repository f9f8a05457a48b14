//! The verbs that start, stop, freeze and signal.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use control::{Caller, Goal, Mode, RemoveOptions, StopOptions};
use http::StatusCode;
use model::instance::{Instance, Phase, RunState};
use model::{ErrorKind, Span};

use super::create::nothing;
use super::{find, id_of};
use crate::failure::{Failure, Reply};
use crate::query::Query;
use crate::{Engine, Shared, body, words};

/// How long the effect of a verb is waited for: an engine waits without end, and clients have bounds
/// of their own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn start(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    body: Body,
) -> Reply {
    refuse_settings(body).await?;
    let instance = find(&engine, &caller, &name)?;
    let (id, instances) = (id_of(&instance), engine.control.instances());
    let begun = instances.start(&caller, &engine.project, id, Mode::Apply).await;
    let begun = match begun {
        Ok(begun) => begun,
        Err(error) => {
            remove_unstarted(&engine, &caller, &instance).await;
            return Err(refusal(&instance, error));
        }
    };
    let settled = instances.settle(&caller, &instance.meta.id, Goal::Started, PATIENCE).await;
    if let Err(error) = settled {
        let failure = start_failure(&engine, &caller, &instance, error).await;
        // One that has a place goes as its end is told.
        let now = instances.get_by_id(&caller, &instance.meta.id);
        if now.is_ok_and(|now| now.spec.placement.is_none()) {
            remove_unstarted(&engine, &caller, &instance).await;
        }
        return Err(failure);
    }
    Ok(if begun.changed { nothing() } else { StatusCode::NOT_MODIFIED.into_response() })
}

/// Why a start was refused before it began.
fn refusal(instance: &Instance, error: model::Error) -> Failure {
    if let Some(failure) = words::of_claim(Some(&instance.meta.name), &error) {
        return failure;
    }
    Failure::reword(error, ErrorKind::Conflict, |error| match &instance.spec.run {
        RunState::Paused => "cannot start a paused container, try unpause instead".to_owned(),
        RunState::Running | RunState::Stopped => error.chain(),
    })
}

/// A container that goes when it ends goes when it cannot begin, too: who ran it waits for that.
async fn remove_unstarted(engine: &Engine, caller: &Caller, instance: &Arc<Instance>) {
    if !instance.spec.auto_remove || instance.spec.run != RunState::Stopped {
        return;
    }
    let (id, instances) = (id_of(instance), engine.control.instances());
    let options = RemoveOptions { force: true, volumes: true };
    let removed = instances.remove(caller, &engine.project, id, options, Mode::Apply).await;
    if let Err(error) = removed {
        let cause = error.chain();
        tracing::debug!(id, cause, "a container that could not be started stays");
    }
}

/// Before 1.24 a start could bring settings; clients write `{}` and `null` to this day.
async fn refuse_settings(body: Body) -> Reply<()> {
    if body::whole(body).await?.len() <= 7 {
        return Ok(());
    }
    Err(Failure::bad(
        "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24",
    ))
}

/// Why a start failed, with the status by which clients tell a wrong request from a broken engine. Who
/// asked is told, so it is not tried again by its policy.
async fn start_failure(
    engine: &Engine,
    caller: &Caller,
    instance: &Arc<Instance>,
    error: model::Error,
) -> Failure {
    let (id, instances) = (id_of(instance), engine.control.instances());
    let now = instances.get_by_id(caller, &instance.meta.id);
    let why = now.map(|now| super::show::state::failure(&now)).unwrap_or_default();
    let stop = StopOptions::default();
    if let Err(error) = instances.stop(caller, &engine.project, id, &stop, Mode::Apply).await {
        let cause = error.chain();
        tracing::debug!(id, cause, "a container that could not be started may be tried again");
    }
    let mut failure = Failure::from(error);
    failure.message = match why.is_empty() {
        true => words::of_start(failure.code, &failure.message),
        false => why,
    };
    if words::is_of_the_request(failure.code) {
        failure.status = StatusCode::BAD_REQUEST;
    } else if failure.status == StatusCode::CONFLICT {
        // A port that is taken is a fault of the host to Engine, not of the request.
        failure.status = StatusCode::INTERNAL_SERVER_ERROR;
    }
    failure
}

/// `t` and `signal`.
fn stop_options(query: &Query) -> Reply<StopOptions> {
    let timeout = query.number::<i64>("t")?.map(|seconds| match u64::try_from(seconds) {
        Ok(seconds) => Span::seconds(seconds),
        Err(_) => Span::seconds(u64::from(u32::MAX)),
    });
    Ok(StopOptions { timeout, signal: query.text("signal").to_owned(), save: false })
}

fn check_signal(name: &str, signal: &str) -> Reply<()> {
    match is_signal(signal) {
        true => Ok(()),
        false => {
            Err(Failure::bad(format!("cannot kill container: {name}: invalid signal: {signal}")))
        }
    }
}

/// Whether there is something to stop.
fn is_active(instance: &Instance) -> bool {
    instance.status.phase.is_live()
        || matches!(instance.status.phase, Phase::Restarting | Phase::Creating)
        || (instance.spec.run != RunState::Stopped && instance.status.phase != Phase::Exited)
}

fn is_signal(signal: &str) -> bool {
    signal.is_empty() || model::signal::Signal::or_term(signal).is_ok()
}

pub(super) async fn stop(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let options = stop_options(&query)?;
    let instance = find(&engine, &caller, &name)?;
    let (id, instances) = (id_of(&instance), engine.control.instances());
    if !is_active(&instance) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    check_signal(&name, &options.signal)?;
    let stopped = instances.stop(&caller, &engine.project, id, &options, Mode::Apply).await?;
    if instance.status.phase.is_live() {
        engine.tell(&caller, &instance, "kill", &[("signal", &number(&options.signal, &instance))]);
    }
    instances.settle(&caller, &instance.meta.id, Goal::Stopped, PATIENCE).await?;
    if stopped.changed {
        engine.tell(&caller, &instance, "stop", &[]);
    }
    Ok(if stopped.changed { nothing() } else { StatusCode::NOT_MODIFIED.into_response() })
}

pub(super) async fn restart(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let options = stop_options(&query)?;
    let instance = find(&engine, &caller, &name)?;
    check_signal(&name, &options.signal)?;
    let (id, instances) = (id_of(&instance), engine.control.instances());
    instances.restart(&caller, &engine.project, id, &options, Mode::Apply).await?;
    let settled = instances.settle(&caller, &instance.meta.id, Goal::Started, PATIENCE).await;
    if let Err(error) = settled {
        return Err(start_failure(&engine, &caller, &instance, error).await);
    }
    engine.tell(&caller, &instance, "restart", &[]);
    Ok(nothing())
}

/// A signal's number: the container's own when none is named.
fn number(signal: &str, instance: &Instance) -> String {
    let own = instance.spec.main().map_or("", |main| main.stop_signal.as_str());
    let signal = if signal.is_empty() { own } else { signal };
    model::signal::Signal::or_term(signal).map_or(15, model::signal::Signal::number).to_string()
}

/// Whether a signal, by name or number, is the one that nothing outlives. It is what `kill` sends unasked.
fn is_kill(signal: &str) -> bool {
    signal.is_empty() || signal.parse().ok() == Some(model::signal::Signal::KILL)
}

/// Whether a container that gets this signal is asked to end by it, so that its policy does not start it
/// again: the one it is stopped by, and each to one that has none of its own.
fn ends(signal: &str, instance: &Instance) -> bool {
    let own = instance.spec.main().map_or("", |main| main.stop_signal.as_str());
    own.is_empty() || number(signal, instance) == number(own, instance)
}

pub(super) async fn kill(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    let signal = query.text("signal");
    let instance = find(&engine, &caller, &name).map_err(|mut failure| {
        failure.message = format!("cannot kill container: {name}: {}", failure.message);
        failure
    })?;
    check_signal(&name, signal)?;
    let (id, instances) = (id_of(&instance), engine.control.instances());
    let not_running = || format!("cannot kill container: {name}: container {id} is not running");
    if !instance.status.phase.is_live() {
        return Err(Failure::conflict(not_running()));
    }
    let name_of = if signal.is_empty() { "KILL" } else { signal };
    let told = number(name_of, &instance);
    let tell = || engine.tell(&caller, &instance, "kill", &[("signal", &told)]);
    if is_kill(signal) {
        // It is not to start again, whatever its restart policy says.
        let options = StopOptions { timeout: None, signal: "KILL".into(), save: false };
        let stopped = instances.stop(&caller, &engine.project, id, &options, Mode::Apply).await;
        stopped.map_err(|error| Failure::reword(error, ErrorKind::Conflict, |_| not_running()))?;
        tell();
        instances.settle(&caller, &instance.meta.id, Goal::Stopped, PATIENCE).await?;
        return Ok(nothing());
    }
    if ends(signal, &instance) {
        instances.make_last(&caller, &engine.project, id).await?;
    }
    let killed = instances.kill(&caller, &engine.project, id, "", signal).await;
    killed.map_err(|error| Failure::reword(error, ErrorKind::Conflict, |_| not_running()))?;
    tell();
    Ok(nothing())
}

pub(super) async fn pause(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
) -> Reply {
    let instance = find(&engine, &caller, &name)?;
    let (id, instances) = (id_of(&instance), engine.control.instances());
    super::check_running(&instance)?;
    if super::show::state::word(&instance) == "paused" {
        return Err(Failure::conflict(format!("Container {id} is already paused")));
    }
    instances.pause(&caller, &engine.project, id, Mode::Apply).await?;
    instances.settle(&caller, &instance.meta.id, Goal::Paused, PATIENCE).await?;
    Ok(nothing())
}

pub(super) async fn unpause(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
) -> Reply {
    let instance = find(&engine, &caller, &name)?;
    let (id, instances) = (id_of(&instance), engine.control.instances());
    let thawed = instances.unpause(&caller, &engine.project, id, Mode::Apply).await;
    thawed.map_err(|error| {
        Failure::reword(error, ErrorKind::Conflict, |_| format!("Container {id} is not paused"))
    })?;
    instances.settle(&caller, &instance.meta.id, Goal::Started, PATIENCE).await?;
    Ok(nothing())
}
