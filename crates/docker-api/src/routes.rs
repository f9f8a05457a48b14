//! The endpoints, and what every request passes before its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use control::Caller;
use http::{Method, StatusCode};
use listen::Peer;
use tower::ServiceExt;

use crate::failure::Failure;
use crate::{Engine, containers, events, exec, networks, swarm, system, version, volumes};

/// All of them.
pub(crate) fn router(engine: &Arc<Engine>) -> Router {
    let routes = Router::new()
        .merge(system::routes())
        .merge(containers::routes())
        .merge(exec::routes())
        .merge(networks::routes())
        .merge(volumes::routes())
        .merge(events::routes())
        .merge(swarm::routes())
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(middleware::from_fn_with_state(engine.clone(), admit))
        .with_state(engine.clone());
    // The version is taken off the path before a route is chosen by it.
    let versioned = tower::service_fn(move |request: Request| {
        let routes = routes.clone();
        async move { routes.oneshot(request).await }
    });
    Router::new().fallback_service(versioned).layer(middleware::from_fn(version::negotiate))
}

async fn not_found() -> Failure {
    Failure::not_found("page not found")
}

/// Lets in those who may use the socket, and those whom TLS has proved; records what they write.
async fn admit(State(engine): State<Arc<Engine>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let from = peer.as_ref().map(ToString::to_string).unwrap_or_default();
    let caller = match peer {
        Some(Peer::Local { user, trusted: true }) => Caller::socket(&user),
        // The listener takes no connection without a certificate of a client's.
        Some(Peer::Network(_)) => Caller::socket("docker"),
        Some(Peer::Local { user, trusted: false }) => {
            tracing::info!(target: "audit", from, "refused");
            return Failure::new(
                StatusCode::FORBIDDEN,
                format!("user {user} is neither root nor in group hull"),
            )
            .into_response();
        }
        None => return Failure::new(StatusCode::UNAUTHORIZED, "nobody asks").into_response(),
    };
    let reads = request.method() == Method::GET || request.method() == Method::HEAD;
    let written = (!reads).then(|| (request.method().clone(), request.uri().path().to_owned()));
    let name = caller.name.clone();
    request.extensions_mut().insert(caller);
    let response = tokio::select! {
        response = next.run(request) => response,
        () = engine.stop.cancelled() => {
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping").into_response()
        }
    };
    if let Some((method, path)) = written {
        let status = response.status().as_u16();
        tracing::info!(target: "audit", caller = name, from, %method, path, status, "write");
    }
    response
}
