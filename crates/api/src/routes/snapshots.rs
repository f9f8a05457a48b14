//! Snapshots of machines.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::wire::{CloneRequest, PlanQuery, SnapshotQuery};
use control::CloneOptions;
use http::{Method, StatusCode};
use link::snapshot::{MachineSnapshot, SnapshotRequest};
use model::instance::InstanceNoun;

use super::instances::path;
use super::objects::{Place, describe, json_value, mode, object_response};
use super::{Pace, Routes};
use crate::admit::By;
use crate::body::{Json, Params};
use crate::document::{Description, Named};
use crate::refusal::Reply;
use crate::{Api, operation};

pub(super) fn routes(routes: Routes) -> Routes {
    let listing = about("snapshotsOf", "Lists the snapshots of a machine, oldest first.").answers(
        200,
        "The snapshots.",
        Named::of::<MachineSnapshot>().array(),
    );
    let taking = about("takeSnapshot", "Takes a snapshot of a machine.")
        .body::<SnapshotRequest>()
        .answers(200, "The snapshot.", Named::of::<MachineSnapshot>());
    let removing = about("removeSnapshot", "Removes a snapshot of a machine.")
        .query::<SnapshotQuery>()
        .answers_nothing(204, "It is gone.");
    let restoring = about("restoreSnapshot", "Takes a machine back to a snapshot.")
        .query::<SnapshotQuery>()
        .answers_nothing(204, "Done.");
    let cloning = about("cloneSnapshot", "Makes a machine of a snapshot of another.")
        .query::<PlanQuery>()
        .body::<CloneRequest>()
        .answers(
            200,
            "The machine as it is now, or with `plan=true` would be.",
            Named::object::<InstanceNoun>(),
        );
    routes
        .add(Pace::Prompt, Method::POST, &path("clone"), clone, cloning)
        .add(Pace::Prompt, Method::GET, &path("snapshots"), list, listing)
        .add(Pace::Lasting, Method::POST, &path("snapshots"), take, taking)
        .add(Pace::Lasting, Method::DELETE, &path("snapshots"), remove, removing)
        .add(Pace::Lasting, Method::POST, &path("restore"), restore, restoring)
}

fn about(verb: &str, summary: &str) -> Description {
    describe::<InstanceNoun>(verb, false, summary.into())
}

async fn list(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
) -> Reply<Response> {
    let snapshots = api.control.instances().snapshots(&caller, &project, &name).await?;
    json_value(&snapshots)
}

async fn take(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Json(request): Json<SnapshotRequest>,
) -> Reply<Response> {
    control::authorise(&caller, control::Verb::Operate, model::Kind::Instance, &project)?;
    let ongoing = api.control.operations().begin(&caller, &format!("snapshot {name}")).await?;
    let operation_name = ongoing.operation().meta.name.clone();
    let instances = api.control.instances();
    let taken = instances.take_snapshot(&caller, &project, &name, request).await;
    operation::finish(ongoing, taken.as_ref().map(drop)).await;
    Ok(operation::name_in(json_value(&taken?)?, &operation_name))
}

async fn remove(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(SnapshotQuery { snapshot }): Params<SnapshotQuery>,
) -> Reply<Response> {
    api.control.instances().remove_snapshot(&caller, &project, &name, &snapshot).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn restore(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(SnapshotQuery { snapshot }): Params<SnapshotQuery>,
) -> Reply<Response> {
    control::authorise(&caller, control::Verb::Operate, model::Kind::Instance, &project)?;
    let ongoing = api.control.operations().begin(&caller, &format!("restore {name}")).await?;
    let instances = api.control.instances();
    let restored = instances.restore_snapshot(&caller, &project, &name, &snapshot).await;
    operation::finish(ongoing, restored.as_ref().map(drop)).await;
    restored?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn clone(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(request): Json<CloneRequest>,
) -> Reply<Response> {
    let CloneRequest { snapshot, name: own, labels, ports, run } = request;
    let options = CloneOptions { name: own, labels, ports, run };
    let instances = api.control.instances();
    let made =
        instances.clone_snapshot(&caller, &project, &name, &snapshot, options, mode(plan)).await?;
    object_response(StatusCode::OK, &made)
}
