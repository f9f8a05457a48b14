//! Verbs that change instances, and waiting for what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Response;
use client::wire::{
    self, DeleteQuery, KillRequest, PlanQuery, SettleQuery, StopRequest, WaitFor, WaitQuery, Waited,
};
use control::{Condition, Control, Exit, Goal, RemoveOptions, Service, StopOptions};
use http::{HeaderMap, Method, StatusCode};
use model::instance::{Instance, InstanceNoun};
use model::{Error, Result, Uid};

use super::objects::{
    self, Place, Served, Write, delete_description, describe, json_value, mode, object_path,
    object_response,
};
use super::{Pace, Routes};
use crate::admit::By;
use crate::body::{Json, Params};
use crate::document::{Description, Named};
use crate::download::stopping;
use crate::refusal::Reply;
use crate::{Api, lease};

/// How long the effect of a verb is waited for when nothing is said.
const SETTLE: Duration = Duration::from_secs(60);

impl Served for InstanceNoun {
    fn service(control: &Control) -> Service<Self> {
        control.instances()
    }

    const WRITES: &'static [Write] = &[Write::Create, Write::Patch, Write::Rename];
}

/// The path of a verb.
pub(super) fn path(verb: &str) -> String {
    format!("{}/{verb}", object_path::<InstanceNoun>())
}

pub(super) fn routes(routes: Routes) -> Routes {
    waits(verbs(objects::routes::<InstanceNoun>(routes)))
}

fn describe_verb(verb: &str, summary: &str) -> Description {
    describe::<InstanceNoun>(verb, false, summary.into()).query::<PlanQuery>().answers(
        200,
        "As it is now, or with `plan=true` would be.",
        Named::object::<InstanceNoun>(),
    )
}

fn verbs(routes: Routes) -> Routes {
    let starting = describe_verb("start", "Runs one instance.");
    let stopping = describe_verb("stop", "Ends one instance's processes.").body::<StopRequest>();
    let restarting = describe_verb("restart", "Ends one instance's processes and runs it again.")
        .body::<StopRequest>();
    let pausing = describe_verb("pause", "Freezes one instance's processes.");
    let unpausing = describe_verb("unpause", "Lets one frozen instance go on.");
    let killing = describe::<InstanceNoun>("kill", false, "Sends a container a signal.".into())
        .body::<KillRequest>()
        .answers(200, "The instance.", Named::object::<InstanceNoun>());
    routes
        .add(Pace::Prompt, Method::POST, &path("start"), start, starting)
        .add(Pace::Prompt, Method::POST, &path("stop"), stop, stopping)
        .add(Pace::Prompt, Method::POST, &path("restart"), restart, restarting)
        .add(Pace::Prompt, Method::POST, &path("pause"), pause, pausing)
        .add(Pace::Prompt, Method::POST, &path("unpause"), unpause, unpausing)
        .add(Pace::Prompt, Method::POST, &path("kill"), kill, killing)
        .add(
            Pace::Prompt,
            Method::DELETE,
            &object_path::<InstanceNoun>(),
            remove,
            delete_description::<InstanceNoun>(),
        )
}

fn waits(routes: Routes) -> Routes {
    let waiting = describe::<InstanceNoun>("wait", false, "Waits until it is so.".into())
        .query::<WaitQuery>()
        .answers(200, "It is so.", Named::of::<Waited>());
    let summary = "Waits until a verb has had its effect, or it is known that it cannot.";
    let settling = describe::<InstanceNoun>("settle", false, summary.into())
        .query::<SettleQuery>()
        .answers(200, "The instance then.", Named::object::<InstanceNoun>());
    routes.add(Pace::Lasting, Method::POST, &path("wait"), wait, waiting).add(
        Pace::Lasting,
        Method::POST,
        &path("settle"),
        settle,
        settling,
    )
}

fn answer(instance: &Instance) -> Reply<Response> {
    object_response(StatusCode::OK, instance)
}

async fn start(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
) -> Reply<Response> {
    let done = api.control.instances().start(&caller, &project, &name, mode(plan)).await?;
    answer(&done.instance)
}

fn stop_options(StopRequest { timeout, signal, save }: StopRequest) -> StopOptions {
    StopOptions { timeout, signal, save }
}

async fn stop(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(request): Json<StopRequest>,
) -> Reply<Response> {
    let (options, mode) = (stop_options(request), mode(plan));
    let done = api.control.instances().stop(&caller, &project, &name, &options, mode).await?;
    answer(&done.instance)
}

async fn restart(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(request): Json<StopRequest>,
) -> Reply<Response> {
    let (options, mode) = (stop_options(request), mode(plan));
    let done = api.control.instances().restart(&caller, &project, &name, &options, mode).await?;
    answer(&done.instance)
}

async fn pause(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
) -> Reply<Response> {
    let done = api.control.instances().pause(&caller, &project, &name, mode(plan)).await?;
    answer(&done.instance)
}

async fn unpause(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
) -> Reply<Response> {
    let done = api.control.instances().unpause(&caller, &project, &name, mode(plan)).await?;
    answer(&done.instance)
}

async fn kill(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Json(KillRequest { signal, container }): Json<KillRequest>,
) -> Reply<Response> {
    let instances = api.control.instances();
    let done = instances.kill(&caller, &project, &name, &container, &signal).await?;
    answer(&done.instance)
}

async fn remove(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(DeleteQuery { plan, force, volumes }): Params<DeleteQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    if objects::expected(&headers)?.is_some() {
        return Err(Error::unsupported("the removal of an instance takes no revision")
            .at("If-Match")
            .into());
    }
    let (options, mode) = (RemoveOptions { force, volumes }, mode(plan));
    let instance = api.control.instances().remove(&caller, &project, &name, options, mode).await?;
    answer(&instance)
}

async fn wait(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(WaitQuery { until, timeout }): Params<WaitQuery>,
) -> Reply<Response> {
    let condition = match until {
        WaitFor::NotRunning => Condition::NotRunning,
        WaitFor::NextExit => Condition::NextExit,
        WaitFor::Running => Condition::Running,
        WaitFor::Healthy => Condition::Healthy,
        WaitFor::Removed => Condition::Removed,
    };
    let waiting = api.control.instances().wait(&caller, &project, &name, condition)?;
    let (stop, lease) = (api.stop.clone(), lease::current());
    let Exit { code, error, fault: _ } = tokio::select! {
        exit = lease.during(waiting) => exit?,
        () = time(timeout) => return Err(late(&name, timeout).into()),
        () = stop.cancelled() => return Err(stopping().into()),
    };
    json_value(&Waited { exit_code: code, error })
}

async fn time(timeout: Option<model::Span>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout.0).await,
        None => std::future::pending().await,
    }
}

fn late(name: &str, timeout: Option<model::Span>) -> Error {
    let span = timeout.unwrap_or_default();
    Error::unavailable(format!("instance {name:?} was not so within {span}"))
        .next("wait again, or inspect it")
}

async fn settle(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(place): Path<Place>,
    Params(SettleQuery { goal, timeout }): Params<SettleQuery>,
) -> Reply<Response> {
    let goal = match goal {
        wire::Goal::Started => Goal::Started,
        wire::Goal::Healthy => Goal::Healthy,
        wire::Goal::Paused => Goal::Paused,
        wire::Goal::Stopped => Goal::Stopped,
        wire::Goal::Removed => Goal::Removed,
    };
    let instances = api.control.instances();
    let id = identity(&api, &caller, &place)?;
    let deadline = timeout.map_or(SETTLE, |timeout| timeout.0);
    let (stop, lease) = (api.stop.clone(), lease::current());
    tokio::select! {
        settled = lease.during(instances.settle(&caller, &id, goal, deadline)) => answer(&*settled?),
        () = stop.cancelled() => Err(stopping().into()),
    }
}

/// A whole id means the same instance under whatever name, also when it is gone.
fn identity(api: &Api, caller: &control::Caller, place: &Place) -> Result<Uid> {
    if let Ok(id) = place.name.parse::<Uid>() {
        return Ok(id);
    }
    let instance = api.control.instances().get(caller, &place.project, &place.name)?;
    Ok(instance.meta.id.clone())
}
