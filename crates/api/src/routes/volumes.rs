//! Volumes: as other nouns, and pruned.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use client::wire::{PlanQuery, PruneVolumesRequest, PrunedVolumes};
use control::Pruned;
use http::Method;
use model::volume::VolumeNoun;

use super::objects::{Collection, collection_path, describe, json_value, mode};
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
    routes.add(Pace::Prompt, Method::POST, &path, prune, description)
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
