//! `POST /images/create`: pulls an image, or makes one of a root file system.

mod import;
mod pull;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use http::HeaderMap;

use crate::Shared;
use crate::failure::Reply;
use crate::query::Query;
use crate::version::ApiVersion;

pub(super) use pull::refusal;

pub(super) async fn create(
    State(engine): Shared,
    Extension(caller): crate::By,
    Extension(version): Extension<ApiVersion>,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    // Before 1.32 there was no such field.
    let platform = match version >= ApiVersion::minor(32) {
        true => query.text("platform").to_owned(),
        false => String::new(),
    };
    match query.text("fromImage") {
        "" => import::import(engine, caller, &query, platform, body).await,
        image => pull::pull(engine, caller, image, query.text("tag"), platform, &headers).await,
    }
}
