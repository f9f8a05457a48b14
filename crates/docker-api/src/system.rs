//! The engine itself: whether it answers, what it is, what it uses.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::failure::Reply;
use crate::version::{ENGINE, NEWEST, OLDEST};
use crate::{Engine, Shared};

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/_ping", get(ping).head(ping))
        .route("/version", get(version))
        .route("/info", get(info))
}

async fn ping() -> Response {
    let mut response = "OK".into_response();
    let headers = response.headers_mut();
    let fixed = [
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

async fn version(State(engine): Shared, Extension(caller): crate::By) -> Reply {
    let node = engine.control.nodes().get(&caller, "", &engine.node).ok();
    let status = node.as_ref().map(|node| &node.status);
    let kernel = status.map(|it| it.kernel.clone()).unwrap_or_default();
    let architecture = status.map(|it| it.architecture.clone()).unwrap_or_default();
    let runtime = status.map(|it| it.engine.clone()).unwrap_or_default();
    let details = json!({
        "ApiVersion": NEWEST.to_string(),
        "Arch": architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": kernel,
        "MinAPIVersion": OLDEST.to_string(),
        "Os": "linux",
    });
    let mut answer = json!({
        "Platform": { "Name": format!("Monohull {}", engine.version) },
        "Components": [
            { "Name": "Engine", "Version": ENGINE, "Details": details },
            { "Name": "hull", "Version": engine.version, "Details": {} },
            { "Name": "containerd", "Version": runtime, "Details": {} },
        ],
        "Version": ENGINE,
    });
    crate::shape::fill(
        &mut answer,
        json!({
            "ApiVersion": NEWEST.to_string(), "MinAPIVersion": OLDEST.to_string(), "GitCommit": "",
            "GoVersion": "", "Os": "linux", "Arch": architecture, "KernelVersion": kernel,
            "BuildTime": "",
        }),
    );
    Ok(axum::Json(answer).into_response())
}

async fn info(State(engine): Shared, Extension(caller): crate::By) -> Reply {
    let node = engine.control.nodes().get(&caller, "", &engine.node).ok();
    let status = node.as_ref().map(|node| node.status.clone()).unwrap_or_default();
    let answer = json!({
        "ID": node.map(|node| node.meta.id.to_string()).unwrap_or_default(),
        "Name": engine.node,
        "NCPU": status.cpus.milli() / 1000,
        "MemTotal": status.memory.0,
        "KernelVersion": status.kernel,
        "OperatingSystem": status.os,
        "OSType": "linux",
        "Architecture": status.architecture,
        "DockerRootDir": engine.root,
        "ServerVersion": ENGINE,
        "Warnings": Value::Null,
        "started": engine.started.to_string(),
    });
    Ok(axum::Json(answer).into_response())
}
