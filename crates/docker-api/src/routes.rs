//! The endpoints, and what every request passes before its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use control::Caller;
use http::StatusCode;
use listen::Peer;
use tower::ServiceExt;

use crate::failure::Failure;
use crate::{
    Engine, builds, containers, events, exec, images, networks, swarm, system, version, volumes,
};

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
        .merge(images::routes())
        .merge(builds::routes())
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
        Some(Peer::Network { client: Some(client), .. }) => Caller::socket(&client.to_string()),
        Some(Peer::Local { user, trusted: false }) => {
            let reason = format!("user {user} is neither root nor in group hull");
            let status = StatusCode::FORBIDDEN;
            audited(&engine, &request, &user, from).refuse(status.as_u16(), &reason);
            return Failure::new(status, reason).into_response();
        }
        Some(Peer::Network { client: None, .. }) | None => {
            return Failure::new(StatusCode::UNAUTHORIZED, "nobody asks").into_response();
        }
    };
    let mut audit = write_of(&engine, &request, &caller, from);
    request.extensions_mut().insert(caller);
    let response = tokio::select! {
        response = next.run(request) => response,
        () = engine.stop.cancelled() => {
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, "the engine is stopping").into_response()
        }
    };
    if let Some(audit) = &mut audit {
        audit.entry.status = response.status().as_u16();
    }
    response
}

/// A request as the audit log has it. Queries and bodies are left out: they may hold secrets.
fn audited(engine: &Engine, request: &Request, by: &str, from: String) -> audit::Request {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let mut audit = audit::Request::new(&engine.audit, "docker", from, method, path);
    by.clone_into(&mut audit.entry.by);
    audit
}

/// What is written of one whose caller is known, if anything is.
fn write_of(
    engine: &Engine,
    request: &Request,
    caller: &Caller,
    from: String,
) -> Option<audit::Request> {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    // Names of images have slashes: what is done to one is no part of the route. Nothing but this is looked for in
    // the path, lest a name be taken for it.
    let saved = route.contains("{*") && request.uri().path().ends_with("/get");
    let route = if saved { "/images/{name}/get" } else { route };
    let written = audit::is_written(request.method().as_str(), route);
    written.then(|| audited(engine, request, &caller.name, from))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use axum::body::Body;
    use control::Control;
    use http_body_util::BodyExt;
    use serde_json::Value;
    use store::sqlite::SqliteStore;

    use super::*;

    async fn engine(dir: &std::path::Path) -> Arc<Engine> {
        let file = store::sqlite::Config::new(dir.join("state.db"));
        let store = Arc::new(SqliteStore::open(file).await.unwrap());
        let control = Control::open(control::Config::new(store, "n1")).await.unwrap();
        let audit = Arc::new(audit::Log::open(&dir.join("audit")).unwrap());
        Arc::new(Engine {
            audit,
            control,
            project: "default".into(),
            node: "n1".into(),
            version: "0".into(),
            execs: exec::Execs::default(),
            stop: tokio_util::sync::CancellationToken::new(),
            root: dir.to_owned(),
        })
    }

    async fn ask(router: &Router, method: &str, path: &str) -> (u16, String) {
        let peer = Peer::Local { user: "root".into(), trusted: true };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .extension(peer)
            .header("content-type", "application/json")
            .body(Body::from("{}"))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        // A stream says nothing of its own accord.
        let body = tokio::time::timeout(Duration::from_secs(5), response.into_body().collect());
        let bytes = body.await.map(|body| body.unwrap().to_bytes()).unwrap_or_default();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Endpoints that the review says are not served, and the status of each answer.
    fn reviewed() -> BTreeMap<String, u16> {
        let text = include_str!("../../../docs/docker-api.md");
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
        let cells = rows.filter_map(|row| row.split_once("` | "));
        let status = |cell: &str| cell.trim_end_matches(" |").parse::<u16>().ok();
        cells.filter_map(|(endpoint, cell)| Some((endpoint.to_owned(), status(cell)?))).collect()
    }

    #[tokio::test]
    async fn every_endpoint_of_the_specification_is_served_or_reviewed() {
        let dir = tempfile::tempdir().unwrap();
        let router = router(&engine(dir.path()).await);
        let facts: Value = serde_json::from_str(include_str!("../specification.json")).unwrap();
        let mut reviewed = reviewed();
        for endpoint in facts["endpoints"].as_array().unwrap() {
            let endpoint = endpoint.as_str().unwrap();
            let (method, path) = endpoint.split_once(' ').unwrap();
            let query = if path == "/events" { "?until=1" } else { "" };
            let path = path.replace("{id}", "nope").replace("{name}", "nope");
            let path = format!("/v1.50{path}{query}");
            // There is no node: none of them may wait for it.
            let (status, body) =
                tokio::time::timeout(Duration::from_secs(20), ask(&router, method, &path))
                    .await
                    .unwrap_or_else(|_| panic!("{endpoint} waits"));
            match reviewed.remove(endpoint) {
                Some(expected) => assert_eq!(status, expected, "{endpoint}: {body}"),
                None => assert!(!body.contains("page not found"), "{endpoint} is not served"),
            }
        }
        assert!(reviewed.is_empty(), "no such endpoints: {reviewed:?}");
    }

    #[tokio::test]
    async fn what_is_done_to_images_of_any_name_is_in_the_audit_log() {
        let dir = tempfile::tempdir().unwrap();
        let engine = engine(dir.path()).await;
        let router = router(&engine);
        for (method, path, written) in [
            ("DELETE", "/images/team/wait", true),
            ("DELETE", "/images/team/settle", true),
            ("POST", "/images/team/wait/tag", true),
            ("POST", "/images/team/wait", true),
            ("GET", "/images/team/wait/get", true),
            ("GET", "/images/team/wait/json", false),
            ("GET", "/images/team/exec", false),
        ] {
            ask(&router, method, &format!("/v1.50{path}?tag=x&repo=y")).await;
            let filter = audit::Filter { limit: 100, ..audit::Filter::default() };
            let entries = engine.audit.read(&filter).unwrap();
            let found = entries.iter().any(|it| it.method == method && it.path == path);
            assert_eq!(found, written, "{method} {path}: {entries:?}");
        }
    }

    #[tokio::test]
    async fn versions_that_are_not_spoken() {
        let dir = tempfile::tempdir().unwrap();
        let router = router(&engine(dir.path()).await);
        for (path, words) in [
            (
                "/v1.99/version",
                "client version 1.99 is too new. Maximum supported API version is 1.55",
            ),
            (
                "/v1.10/version",
                "client version 1.10 is too old. Minimum supported API version is 1.24",
            ),
        ] {
            let (status, body) = ask(&router, "GET", path).await;
            assert_eq!(status, 400, "{path}");
            assert!(body.contains(words), "{body}");
        }
        assert_eq!(ask(&router, "GET", "/nope").await.0, 404);
        assert_eq!(ask(&router, "GET", "/v1.24/_ping").await, (200, "OK".into()));
    }
}
