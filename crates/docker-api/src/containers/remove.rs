//! Removing containers.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use control::{Caller, Goal, Mode, RemoveOptions, StopOptions};
use model::instance::Instance;
use model::{ErrorKind, Time};
use serde_json::json;

use super::create::nothing;
use super::lifecycle::PATIENCE;
use super::show::state;
use super::{find, id_of};
use crate::failure::{Failure, Reply};
use crate::filters::Filters;
use crate::query::Query;
use crate::{Engine, Shared};

/// How long a container has to be dead before it is removed all the same.
const DEAD_WITHIN: Duration = Duration::from_secs(10);

pub(super) async fn remove(
    State(engine): Shared,
    Extension(caller): crate::By,
    Path(name): Path<String>,
    query: Query,
) -> Reply {
    if query.flag("link") {
        return Err(Failure::conflict(
            "Conflict, cannot remove the default link name of the container",
        ));
    }
    let instance = find(&engine, &caller, &name)?;
    let options = RemoveOptions { force: query.flag("force"), volumes: query.flag("v") };
    let word = state::word(&instance);
    let live = instance.status.phase.is_live() || word == "restarting";
    if live && !options.force {
        let next = if word == "paused" { "unpause and then " } else { "" };
        return Err(Failure::conflict(format!(
            "cannot remove container \"{name}\": container is {word}: {next}stop the container before \
             removing or force remove"
        )));
    }
    if live {
        end(&engine, &caller, &instance).await;
    }
    let (id, instances) = (id_of(&instance), engine.control.instances());
    match instances.remove(&caller, &engine.project, id, options, Mode::Apply).await {
        // Killed, one that goes at its end went by itself.
        Err(error) if live && error.kind() == ErrorKind::NotFound => return Ok(nothing()),
        removed => removed?,
    };
    match instances.settle(&caller, &instance.meta.id, Goal::Removed, PATIENCE).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        Ok(_) | Err(_) => Ok(nothing()),
    }
}

/// Kills a container that is to be removed, so that how it ended is recorded before it is gone: whoever waits for
/// it gets its exit code, and its end is among the events.
async fn end(engine: &Engine, caller: &Caller, instance: &Instance) {
    let (id, instances) = (id_of(instance), engine.control.instances());
    let options = StopOptions { timeout: None, signal: "KILL".into(), save: false };
    let stopped = instances.stop(caller, &engine.project, id, &options, Mode::Apply).await;
    let ended = match stopped {
        Ok(_) => {
            engine.tell(caller, instance, "kill", &[("signal", "9")]);
            instances.settle(caller, &instance.meta.id, Goal::Stopped, DEAD_WITHIN).await.err()
        }
        Err(error) => Some(error),
    };
    if let Some(error) = ended {
        let cause = error.chain();
        tracing::debug!(id, cause, "a container is removed without being seen to end");
    }
}

pub(super) async fn prune(
    State(engine): Shared,
    Extension(caller): crate::By,
    query: Query,
) -> Reply {
    let filters = Filters::read(&query, &["until", "label", "label!"])?;
    let until = crate::times::until(&filters)?;
    let instances = engine.control.instances();
    let (mut deleted, mut freed) = (Vec::new(), 0);
    for instance in super::list::all(&engine, &caller)? {
        let over = matches!(state::word(&instance), "created" | "exited");
        let old = until.is_none_or(|until: Time| instance.meta.created < until);
        let labels = filters.labels(|key| instance.meta.labels.get(key).map(String::as_str));
        if !over || !old || !labels {
            continue;
        }
        let (changed, _) = engine.sizes(&caller, &instance).await;
        let id = id_of(&instance);
        let options = RemoveOptions::default();
        // One that was started or removed meanwhile is none to prune.
        if instances.remove(&caller, &engine.project, id, options, Mode::Apply).await.is_ok() {
            let gone = instances.settle(&caller, &instance.meta.id, Goal::Removed, PATIENCE).await;
            if gone.is_ok() {
                deleted.push(id.to_owned());
                freed += changed;
            }
        }
    }
    let deleted = if deleted.is_empty() { serde_json::Value::Null } else { json!(deleted) };
    let answer = json!({ "ContainersDeleted": deleted, "SpaceReclaimed": freed });
    Ok(axum::Json(answer).into_response())
}
