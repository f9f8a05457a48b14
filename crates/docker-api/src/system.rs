//! The engine itself: whether it answers, what it is, what it uses.

mod df;
mod info;

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, header};

use crate::Engine;

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/_ping", get(ping).head(ping))
        .route("/version", get(info::version))
        .route("/info", get(info::info))
        .route("/system/df", get(df::df))
}

/// `builder-version` says which builder clients use by themselves: 1 is the classic one.
async fn ping() -> Response {
    let mut response = "OK".into_response();
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE.as_str(), "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL.as_str(), "no-cache, no-store, must-revalidate"),
        ("pragma", "no-cache"),
        ("builder-version", "1"),
        ("swarm", "inactive"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
