//! Volumes: as other nouns, and pruned, and given up.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use client::wire::{PlanQuery, PruneVolumesRequest, PrunedVolumes};
use control::Pruned;
use http::{Method, StatusCode};
use model::volume::VolumeNoun;

use super::objects::{Collection, Place, collection_path, describe, json_value, mode, object_path};
use super::{Pace, Routes};
use crate::Api;
use crate::admit::By;
use crate::body::{Json, Params};
use crate::document::Named;
use crate::refusal::Reply;

pub(super) fn routes(routes: Routes) -> Routes {
    let summary = "Removes volumes that no instance uses: anonymous ones, or all.";
    let description = describe::<VolumeNoun>("prune", true, summary.into())
        .query::<PlanQuery>()
        .body::<PruneVolumesRequest>()
        .answers(200, "What is gone, or on its way out.", Named::of::<PrunedVolumes>());
    let path = format!("{}/prune", collection_path::<VolumeNoun>());
    let routes = routes.add(Pace::Prompt, Method::POST, &path, prune, description);
    let summary = "Removes a volume whose plugin will not, or is gone; what it holds stays there.";
    let description = describe::<VolumeNoun>("forget", false, summary.into())
        .answers_nothing(204, "It is forgotten.");
    let path = format!("{}/forget", object_path::<VolumeNoun>());
    routes.add(Pace::Prompt, Method::POST, &path, forget, description)
}

async fn forget(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
) -> Reply<Response> {
    api.control.volumes().forget(&caller, &project, &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn prune(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Collection { project }): Path<Collection>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(PruneVolumesRequest { all }): Json<PruneVolumesRequest>,
) -> Reply<Response> {
    let volumes = api.control.volumes();
    let Pruned { names, size } = volumes.prune(&caller, &project, all, mode(plan)).await?;
    json_value(&PrunedVolumes { names, size })
}
