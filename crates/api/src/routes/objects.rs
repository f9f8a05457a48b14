//! What can be done with the objects of any noun: list, watch, get, create, patch, delete.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use client::wire::{
    self, DeleteQuery, Draft, ListQuery, MERGE_PATCH, PlanQuery, RenameRequest, collection,
};
use control::service::Rules;
use control::{Control, Mode, New, Service};
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use model::{Error, ErrorKind, Noun, Object, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Pace, Routes, lists};
use crate::admit::By;
use crate::body::{Json, MergePatch, Params, read};
use crate::document::{Description, Named, change, draft, list, title};
use crate::refusal::{Refusal, Reply};
use crate::{Api, patch};

/// A noun whose objects the API serves.
pub(crate) trait Served: Rules {
    /// Its verbs.
    fn service(control: &Control) -> Service<Self>;
    /// What callers may do with its objects beyond reading them.
    const WRITES: &'static [Write] = &[Write::Create, Write::Patch, Write::Rename, Write::Delete];
}

/// A way to change objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    Create,
    Patch,
    Rename,
    Delete,
}

/// Which collection is meant; the project is empty for nouns of the cluster.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Collection {
    #[serde(default)]
    pub(crate) project: String,
}

/// Which object is meant.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Place {
    #[serde(default)]
    pub(crate) project: String,
    pub(crate) name: String,
}

/// The path of a noun's collection.
pub(crate) fn collection_path<N: Noun>() -> String {
    let word = collection(N::KIND);
    if N::IN_PROJECT { format!("/v1/projects/{{project}}/{word}") } else { format!("/v1/{word}") }
}

/// The path of one of a noun's objects.
pub(crate) fn object_path<N: Noun>() -> String {
    format!("{}/{{name}}", collection_path::<N>())
}

/// All routes of a noun that has nothing of its own.
pub(super) fn routes<N: Served>(routes: Routes) -> Routes {
    let routes = reads::<N>(routes);
    N::WRITES.iter().fold(routes, |routes, write| match write {
        Write::Create => create_route::<N>(routes),
        Write::Patch => patch_route::<N>(routes),
        Write::Rename => rename_route::<N>(routes),
        Write::Delete => delete_route::<N>(routes),
    })
}

/// A description of what `verb` does with a noun; `lists` says that it is about many.
pub(crate) fn describe<N: Noun>(verb: &str, lists: bool, summary: String) -> Description {
    let plural = if lists { "s" } else { "" };
    let id = format!("{verb}{}{plural}", title::<N>());
    Description::new(collection(N::KIND), id, summary)
}

fn reads<N: Served>(routes: Routes) -> Routes {
    let kind = N::KIND;
    let summary = format!("Lists {kind}s, or with `watch=true` tells how they change.");
    let listing = describe::<N>("list", true, summary)
        .query::<ListQuery>()
        .answers(200, "A page.", list::<N>())
        .answers_lines("Changes, with `watch=true`.", change::<N>());
    let getting = describe::<N>("get", false, format!("Shows one {kind}."))
        .header("If-None-Match", "Answer with 304 if it is still at this ETag.")
        .answers(200, "The object.", Named::object::<N>())
        .answers_nothing(304, "It has not changed.");
    routes
        .add(
            Pace::Lasting,
            Method::GET,
            &collection_path::<N>(),
            lists::list_or_watch::<N>,
            listing,
        )
        .add(Pace::Prompt, Method::GET, &object_path::<N>(), get::<N>, getting)
}

fn create_route<N: Served>(routes: Routes) -> Routes {
    let description = describe::<N>("create", false, format!("Creates one {}.", N::KIND))
        .query::<PlanQuery>()
        .body_as::<Draft<N::Spec>>("application/json", draft::<N>())
        .answers(200, "With `plan=true`: as it would be.", Named::object::<N>())
        .answers(201, "As it was created.", Named::object::<N>());
    routes.add(Pace::Prompt, Method::POST, &collection_path::<N>(), create::<N>, description)
}

fn patch_route<N: Served>(routes: Routes) -> Routes {
    let summary = format!("Changes labels, annotations and spec of one {}.", N::KIND);
    let description = describe::<N>("patch", false, summary)
        .query::<PlanQuery>()
        .header("If-Match", "Only if it is still at this ETag; else 412.")
        .body_as::<Draft<N::Spec>>(MERGE_PATCH, draft::<N>())
        .answers(200, "As it is now, or with `plan=true` would be.", Named::object::<N>());
    routes.add(Pace::Prompt, Method::PATCH, &object_path::<N>(), patch::<N>, description)
}

fn rename_route<N: Served>(routes: Routes) -> Routes {
    let description =
        describe::<N>("rename", false, format!("Gives one {} another name.", N::KIND))
            .query::<PlanQuery>()
            .body::<RenameRequest>()
            .answers(200, "As it is now, or with `plan=true` would be.", Named::object::<N>());
    let path = format!("{}/rename", object_path::<N>());
    routes.add(Pace::Prompt, Method::POST, &path, rename::<N>, description)
}

fn delete_route<N: Served>(routes: Routes) -> Routes {
    let description = delete_description::<N>();
    routes.add(Pace::Prompt, Method::DELETE, &object_path::<N>(), delete::<N>, description)
}

pub(super) fn delete_description<N: Noun>() -> Description {
    let summary = format!("Asks for the removal of one {}.", N::KIND);
    describe::<N>("delete", false, summary)
        .query::<DeleteQuery>()
        .header("If-Match", "Only if it is still at this ETag; else 412.")
        .answers(200, "As it was when its removal was asked for.", Named::object::<N>())
}

/// Whether a write is made or only shown.
pub(crate) fn mode(plan: bool) -> Mode {
    if plan { Mode::Plan } else { Mode::Apply }
}

/// An answer that is JSON already.
pub(crate) fn json_bytes(body: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}

/// An answer with this value as JSON.
pub(crate) fn json_value(value: &impl Serialize) -> Reply<Response> {
    let body = serde_json::to_vec(value)
        .map_err(|error| Error::internal("an answer cannot be written").caused_by(error))?;
    Ok(json_bytes(body.into()))
}

async fn get<N: Served>(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(place): Path<Place>,
    headers: HeaderMap,
) -> Reply<Response> {
    let object = N::service(&api.control).get(&caller, &place.project, &place.name)?;
    let tag = tag(&object);
    if headers.get(IF_NONE_MATCH).is_some_and(|known| *known == tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    object_response(StatusCode::OK, &object)
}

/// An answer with an object: its revision is its entity tag (RFC 9110, section 8.8.3).
pub(crate) fn object_response<N: Noun>(status: StatusCode, object: &Object<N>) -> Reply<Response> {
    let body = Bytes::from(object.encode());
    Ok((status, [(ETAG, tag(object))], json_bytes(body)).into_response())
}

fn tag<N: Noun>(object: &Object<N>) -> HeaderValue {
    let text = format!("\"{}\"", object.meta.revision);
    HeaderValue::try_from(text).expect("digits and quotes are allowed in headers")
}

/// The revision that `If-Match` names (RFC 9110, section 13.1.1); `*` is any.
pub(crate) fn expected(headers: &HeaderMap) -> Result<Option<u64>> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let digits = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    digits.parse().map(Some).map_err(|_| {
        Error::invalid(format!("{text:?} is not the ETag of an object"))
            .at("If-Match")
            .next("give the ETag of an answer, such as \"42\"")
    })
}

/// Where the object has moved on from the revision that the caller expected, that is a
/// precondition that failed.
pub(crate) fn precondition(expected: Option<u64>, error: Error) -> Refusal {
    let moved = error.kind() == ErrorKind::Conflict && error.field() == Some("meta.revision");
    if expected.is_some() && moved { Refusal::precondition(error) } else { error.into() }
}

/// What control makes of a draft.
pub(crate) fn new_object<N: Noun>(draft: Draft<N::Spec>) -> New<N> {
    let Draft { meta: wire::DraftMeta { name, labels, annotations }, spec } = draft;
    let name = Some(name).filter(|name| !name.is_empty());
    New { name, labels, annotations, spec, owner: None }
}

async fn create<N: Served>(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Collection { project }): Path<Collection>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(draft): Json<Draft<N::Spec>>,
) -> Reply<Response> {
    let service = N::service(&api.control);
    let object = service.create(&caller, &project, new_object(draft), mode(plan)).await?;
    object_response(created(plan), &object)
}

/// The status of a creation.
pub(crate) fn created(plan: bool) -> StatusCode {
    if plan { StatusCode::OK } else { StatusCode::CREATED }
}

async fn patch<N: Served>(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    headers: HeaderMap,
    MergePatch(change): MergePatch,
) -> Reply<Response> {
    let service = N::service(&api.control);
    let expected = expected(&headers)?;
    let old_name = service.get(&caller, &project, &name)?.meta.name.clone();
    let edit = |(labels, annotations, spec): control::Editable<'_, N>| {
        let mut document = json!({
            "meta": { "name": old_name, "labels": &*labels, "annotations": &*annotations },
            "spec": &*spec,
        });
        patch::merge(&mut document, &change);
        let draft: Draft<N::Spec> = read(document, &api)?;
        if draft.meta.name != old_name {
            return Err(Error::invalid("a patch does not change a name")
                .at("meta.name")
                .next("renaming is a verb of its own"));
        }
        *labels = draft.meta.labels;
        *annotations = draft.meta.annotations;
        *spec = draft.spec;
        Ok(())
    };
    let object = service
        .update(&caller, &project, &name, expected, edit, mode(plan))
        .await
        .map_err(|error| precondition(expected, error))?;
    object_response(StatusCode::OK, &object)
}

async fn rename<N: Served>(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(PlanQuery { plan }): Params<PlanQuery>,
    Json(RenameRequest { name: new }): Json<RenameRequest>,
) -> Reply<Response> {
    let service = N::service(&api.control);
    let object = service.rename(&caller, &project, &name, &new, mode(plan)).await?;
    object_response(StatusCode::OK, &object)
}

async fn delete<N: Served>(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Place { project, name }): Path<Place>,
    Params(query): Params<DeleteQuery>,
    headers: HeaderMap,
) -> Reply<Response> {
    let DeleteQuery { plan, force, volumes } = query;
    for (field, given) in [("force", force), ("volumes", volumes)] {
        if given {
            return Err(Error::invalid(format!("{} has no such choice", N::KIND)).at(field).into());
        }
    }
    let expected = expected(&headers)?;
    let object = N::service(&api.control)
        .delete(&caller, &project, &name, expected, mode(plan))
        .await
        .map_err(|error| precondition(expected, error))?;
    object_response(StatusCode::OK, &object)
}
