//! Images of this node.
//!
//! An image's id is the digest of its configuration, as of an engine with graph drivers: what names point
//! at is told apart from it. Names are in their familiar form (`busybox:1`, not `docker.io/library/…`).
//! Sizes are those of the files in the layers, not of what was pulled.

pub(crate) mod auth;
pub(crate) mod config;
mod create;
mod distribution;
mod inspect;
mod list;
mod load;
pub(crate) mod names;
pub(crate) mod progress;
mod push;
mod remove;
mod save;
mod search;
mod tag;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request};
use axum::handler::Handler;
use axum::routing::{get, post};
use control::Caller;
use http::Method;
use link::image::ImageDetail;
use model::event::Event;
use model::image::Reference;

use crate::Engine;
use crate::failure::{Failure, Reply};

pub(crate) use names::missing;

pub(crate) fn routes() -> Router<Arc<Engine>> {
    Router::new()
        .route("/images/json", get(list::list))
        .route("/images/create", post(create::create))
        .route("/images/load", post(load::load))
        .route("/images/get", get(save::several))
        .route("/images/prune", post(remove::prune))
        .route("/images/search", get(search::search))
        .route("/images/{*name}", get(of_name).post(of_name).delete(of_name))
        .route("/distribution/{*name}", get(distribution::inspect))
        .route("/auth", post(auth::check))
}

/// The name of an image may have slashes in it, which routes cannot tell from their own: what is
/// asked of it is the last part of the path.
async fn of_name(
    axum::extract::State(engine): crate::Shared,
    Path(path): Path<String>,
    mut request: Request,
) -> axum::response::Response {
    let (name, verb) = match request.method() {
        &Method::DELETE => (path.as_str(), "delete"),
        _ => path.rsplit_once('/').unwrap_or((path.as_str(), "")),
    };
    request.extensions_mut().insert(Name(name.to_owned()));
    let get = request.method() == Method::GET;
    match verb {
        "delete" => remove::remove.call(request, engine).await,
        "json" if get => inspect::inspect.call(request, engine).await,
        "history" if get => inspect::history.call(request, engine).await,
        "get" if get => save::one.call(request, engine).await,
        "attestations" if get => axum::response::IntoResponse::into_response(Failure::unserved(
            "the image store does not keep attestations",
        )),
        "tag" if !get => tag::tag.call(request, engine).await,
        "push" if !get => push::push.call(request, engine).await,
        _ => axum::response::IntoResponse::into_response(Failure::not_found("page not found")),
    }
}

pub(crate) use list::usage;

/// Whom Engine says that something happened to, and by which name: it speaks of ids, but of names
/// where registries are concerned.
pub(crate) fn actor(event: &Event) -> (String, String) {
    let id = event.details.get("image").cloned().unwrap_or_default();
    match (event.action.as_str(), Reference::parse(&event.name)) {
        ("pull" | "push", Ok(reference)) => {
            (reference.familiar(), names::familiar_name(&reference))
        }
        ("tag", Ok(reference)) => (id, reference.familiar()),
        _ => (id.clone(), id),
    }
}

/// The image's name, as it stands in the path.
#[derive(Clone)]
struct Name(String);

type Named = axum::Extension<Name>;

/// The image of that name or id with its documents, if it is for the platform asked for.
async fn detail(engine: &Engine, caller: &Caller, name: &str) -> Reply<ImageDetail> {
    names::parse_any(name)?;
    let found = engine.control.images().detail(caller, "", name).await;
    found.map_err(|error| missing(name, error))
}
