//! What an engine answers that is in no swarm, and has installed no plugins.

use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get, post};
use http::{Method, StatusCode};
use serde_json::json;

use crate::Engine;
use crate::failure::Failure;

pub(crate) fn routes() -> Router<Arc<Engine>> {
    let mut routes = Router::new()
        .route("/swarm/leave", post(leave))
        .route("/swarm/init", post(unserved))
        .route("/swarm/join", post(unserved))
        .route("/plugins", get(async || axum::Json(json!([]))))
        .route("/plugins/privileges", get(no_plugins))
        .route("/plugins/{*rest}", any(no_plugin));
    for path in [
        "/swarm",
        "/swarm/{*rest}",
        "/nodes",
        "/nodes/{*rest}",
        "/services",
        "/services/{*rest}",
        "/tasks",
        "/tasks/{*rest}",
        "/secrets",
        "/secrets/{*rest}",
        "/configs",
        "/configs/{*rest}",
    ] {
        routes = routes.route(path, any(no_swarm));
    }
    routes
}

/// What an engine says that manages no swarm.
pub(crate) const NO_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker \
                                     swarm join\" to connect this node to swarm and try again.";

async fn no_swarm() -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, NO_MANAGER)
}

async fn leave() -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, "This node is not part of a swarm")
}

async fn unserved() -> Failure {
    Failure::unserved(
        "swarms are not served by this engine yet: machines are joined with `hull join`",
    )
}

async fn no_plugins() -> Failure {
    Failure::unserved("plugins are not installed through this engine")
}

async fn no_plugin(
    axum::extract::Path(rest): axum::extract::Path<String>,
    method: Method,
) -> Failure {
    let name = rest.split('/').next().unwrap_or_default().to_owned();
    match method {
        Method::POST if rest == "pull" || rest == "create" => no_plugins().await,
        _ => Failure::not_found(format!("plugin \"{name}\" not found")),
    }
}
