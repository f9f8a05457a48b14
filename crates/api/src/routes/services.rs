//! Services: as other nouns, and taken back to an earlier template.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use client::wire::{PlanQuery, RollBackRequest};
use http::{Method, StatusCode};
use model::service::ServiceNoun;

use super::objects::{Place, describe, mode, object_path, object_response};
use super::{Pace, Routes};
use crate::Api;
use crate::admit::By;
use crate::body::{Json, Params};
use crate::document::Named;
use crate::refusal::Reply;

pub(super) fn routes(routes: Routes) -> Routes {
    let summary = "Takes an earlier template of one service again, as a new revision.";
    let description = describe::<ServiceNoun>("rollback", false, summary.into())
        .query::<PlanQuery>()
        .body::<RollBackRequest>()
        .answers(
            200,
            "As it is now, or with `plan=true` would be.",
            Named::object::<ServiceNoun>(),
        );
    let path = format!("{}/rollback", object_path::<ServiceNoun>());
    routes.add(Pace::Prompt, Method::POST, &path, roll_back, description)
}

async fn roll_back(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(RollBackRequest { revision }): Json<RollBackRequest>,
) -> Reply<Response> {
    let services = api.control.services();
    let service = services.roll_back(&caller, &project, &name, revision, mode(plan)).await?;
    object_response(StatusCode::OK, &service)
}
