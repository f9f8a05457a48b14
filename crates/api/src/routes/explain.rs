//! What something waits for.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use client::wire::ExplainQuery;
use http::Method;
use model::explain::Explanations;

use super::objects::{Place, json_value};
use super::{Pace, Routes};
use crate::Api;
use crate::admit::By;
use crate::body::Params;
use crate::document::{Description, Named};
use crate::refusal::Reply;

pub(super) fn routes(routes: Routes) -> Routes {
    let summary = "Explains what objects of a name wait for, and what would help.";
    let explain = Description::new("explain", "explain", summary).query::<ExplainQuery>().answers(
        200,
        "An explanation of each.",
        Named::of::<Explanations>(),
    );
    let path = "/v1/projects/{project}/explain/{name}";
    routes.add(Pace::Prompt, Method::GET, path, self::explain, explain)
}

async fn explain(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(ExplainQuery { kind }): Params<ExplainQuery>,
) -> Reply<Response> {
    let items = api.control.explain(&caller, &project, kind, &name)?;
    json_value(&Explanations { items })
}
