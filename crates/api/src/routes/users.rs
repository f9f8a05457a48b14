//! Users' passwords, and the log of what everybody did.

use std::sync::Arc;

use audit::{Entry, Filter};
use axum::extract::{Path, State};
use axum::response::Response;
use client::wire::{AuditQuery, PasswordRequest};
use futures::stream;
use http::{Method, StatusCode};
use link::ResultStream;
use model::error::Context;
use model::user::UserNoun;
use model::{ErrorKind, Kind};

use super::objects::{self, Place, describe, object_path, object_response};
use super::{Pace, Routes};
use crate::admit::By;
use crate::body::{Json, Params};
use crate::document::{Description, Named};
use crate::refusal::Reply;
use crate::{Api, download};

pub(super) fn routes(routes: Routes) -> Routes {
    let routes = objects::routes::<UserNoun>(routes);
    let summary =
        "Sets the password of one user; whoever signed in with the one before is signed out.";
    let setting = describe::<UserNoun>("setPasswordOf", false, summary.into())
        .body::<PasswordRequest>()
        .answers(200, "The user.", Named::object::<UserNoun>());
    let path = format!("{}/password", object_path::<UserNoun>());
    let summary = "Tells who asked the node that answers for what, the newest first: what changes something, enters \
                   an instance or carries out what is in one, sign-ins, and what was refused. For admins.";
    let auditing = Description::new("audit", "readAudit", summary)
        .query::<AuditQuery>()
        .answers_lines("One entry a line.", Named::of::<Entry>());
    routes.add(Pace::Prompt, Method::PUT, &path, set_password, setting).add(
        Pace::Lasting,
        Method::GET,
        "/v1/audit",
        read_audit,
        auditing,
    )
}

async fn set_password(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { name, .. }): Path<Place>,
    Json(PasswordRequest { password, present }): Json<PasswordRequest>,
) -> Reply<Response> {
    let users = api.control.users();
    let user = users.set_password(&caller, &name, present.as_deref(), &password).await?;
    object_response(StatusCode::OK, &user)
}

async fn read_audit(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Params(query): Params<AuditQuery>,
) -> Reply<Response> {
    // What everybody did is as good as a list of everybody.
    control::authorise(&caller, control::Verb::List, Kind::User, "")?;
    let AuditQuery { since, before, by, path, failed, limit } = query;
    let filter = Filter { since, before, by, path, failed, limit: audit::page(limit)? };
    let log = api.audit.clone();
    let read = tokio::task::spawn_blocking(move || log.read(&filter)).await;
    let entries = read.context(ErrorKind::Unavailable, || "the platform is stopping".into())??;
    let lines: ResultStream<Entry> = Box::pin(stream::iter(entries.into_iter().map(Ok)));
    Ok(download::lines(&api, lines))
}
