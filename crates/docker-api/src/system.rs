//! The engine itself: whether it answers, what it is, what it uses.

mod df;
mod info;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderValue, header};

use crate::{Engine, Shared};

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/_ping", get(ping).head(ping))
        .route("/version", get(info::version))
        .route("/info", get(info::info))
        .route("/system/df", get(df::df))
}

/// Who asks whether the engine is there does not wait for its node.
const PATIENCE: Duration = Duration::from_secs(2);

/// `builder-version` says which builder clients use by themselves: 1 is the classic one, 2 BuildKit.
async fn ping(State(engine): Shared, Extension(caller): crate::By) -> Response {
    let images = engine.control.images();
    let kit = tokio::time::timeout(PATIENCE, images.build_kit(&caller, "")).await;
    let kit = matches!(kit, Ok(Ok(true)));
    let mut response = "OK".into_response();
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE.as_str(), "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL.as_str(), "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
        ("builder-version", if kit { "2" } else { "1" }),
        ("swarm", "inactive"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
