//! What can be done with the objects of any noun: list, watch, get, create, patch, delete.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use client::wire::{
    self, Change, ChangeKind, DeleteQuery, Draft, ListQuery, MERGE_PATCH, PlanQuery, RenameRequest,
    collection,
};
use control::service::Rules;
use control::{Caller, Control, ListOptions, Mode, New, Service};
use futures::StreamExt;
use futures::stream;
use http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use link::ResultStream;
use model::selector::Selector;
use model::{Error, ErrorKind, Noun, Object, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Pace, Routes};
use crate::admit::By;
use crate::body::{Json, MergePatch, Params, read};
use crate::document::{Description, Named, change, draft, list, title};
use crate::refusal::{Refusal, Reply};
use crate::{Api, download, page, patch};

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
        .add(Pace::Lasting, Method::GET, &collection_path::<N>(), list_or_watch::<N>, listing)
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

async fn list_or_watch<N: Served>(
    State(api): State<Arc<Api>>,
    By(caller): By,
    Path(Collection { project }): Path<Collection>,
    Params(query): Params<ListQuery>,
) -> Reply<Response> {
    if query.watch {
        let changes = watch::<N>(&api, &caller, &project, &query)?;
        return Ok(download::lines(&api, changes));
    }
    if query.revision.is_some() {
        let error = Error::invalid("a list is always of now").at("revision");
        return Err(error.next("add watch=true to hear of changes after a revision").into());
    }
    let options = options(&query)?;
    let page = N::service(&api.control).list_json(&caller, scope::<N>(&project), &options)?;
    Ok(list_response(page))
}

/// The project to look in: `-` stands for all of them.
fn scope<N: Noun>(project: &str) -> Option<&str> {
    Some(project).filter(|project| N::IN_PROJECT && *project != ALL_PROJECTS)
}

/// Stands for all projects in paths of lists and watches; it is not a name.
const ALL_PROJECTS: &str = "-";

fn options(query: &ListQuery) -> Result<ListOptions> {
    let (labels, fields) = selectors(query)?;
    let after = match query.r#continue.as_str() {
        "" => None,
        text => Some(page::decode(text)?),
    };
    let limit = query.limit.map(|limit| limit as usize);
    if limit == Some(0) {
        return Err(Error::invalid("a page has one item at least").at("limit"));
    }
    Ok(ListOptions { labels, fields, limit, after })
}

fn selectors(query: &ListQuery) -> Result<(Selector, Selector)> {
    let labels = Selector::parse(&query.labels).map_err(|error| error.at("labels"))?;
    let fields = Selector::parse(&query.fields).map_err(|error| error.at("fields"))?;
    Ok((labels, fields))
}

/// Writes a [`wire::List`] out of objects that are JSON already.
fn list_response(list: control::ListJson) -> Response {
    let size: usize = list.items.iter().map(|item| item.len() + 1).sum();
    let mut body = BytesMut::with_capacity(size + 256);
    body.put_slice(format!("{{\"revision\":{},\"items\":[", list.revision).as_bytes());
    for (i, item) in list.items.iter().enumerate() {
        if i > 0 {
            body.put_u8(b',');
        }
        body.put_slice(item);
    }
    body.put_u8(b']');
    if let Some(next) = &list.next {
        body.put_slice(b",\"continue\":");
        body.put_slice(json!(page::encode(next)).to_string().as_bytes());
    }
    body.put_u8(b'}');
    json_bytes(body.freeze())
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

/// Changes after the query's revision; without one, first everything there is.
fn watch<N: Served>(
    api: &Arc<Api>,
    caller: &Caller,
    project: &str,
    query: &ListQuery,
) -> Result<ResultStream<Change<N>>> {
    let service = N::service(&api.control);
    let (labels, fields) = selectors(query)?;
    let project = scope::<N>(project);
    let (known, revision) = match query.revision {
        Some(revision) => (Vec::new(), revision),
        None => {
            let (labels, fields) = (labels.clone(), fields.clone());
            let list = service.list(
                caller,
                project,
                &ListOptions { labels, fields, ..ListOptions::default() },
            )?;
            (list.items, list.revision)
        }
    };
    let known = known.into_iter().map(move |object| {
        Ok(Change { r#type: ChangeKind::Added, revision, object: Some(object) })
    });
    let changes = service.watch(caller, project, labels, fields, Some(revision))?;
    let changes = changes.map(|change| change.map(to_wire));
    let bookmarked = with_bookmarks(api, caller.clone(), Box::pin(changes), revision);
    Ok(Box::pin(stream::iter(known).chain(bookmarked)))
}

fn to_wire<N: Noun>(change: control::Change<N>) -> Change<N> {
    let r#type = match change.kind {
        control::ChangeKind::Added => ChangeKind::Added,
        control::ChangeKind::Modified => ChangeKind::Modified,
        control::ChangeKind::Removed => ChangeKind::Removed,
    };
    Change { r#type, revision: change.revision, object: Some(change.object) }
}

/// Adds a bookmark at the beginning and whenever nothing else was told for a while.
fn with_bookmarks<N: Served>(
    api: &Arc<Api>,
    caller: Caller,
    mut changes: ResultStream<Change<N>>,
    mut revision: u64,
) -> ResultStream<Change<N>> {
    let (service, pause) = (N::service(&api.control), api.limits.bookmark);
    Box::pin(async_stream::try_stream! {
        yield bookmark(revision);
        loop {
            // Read before the changes are: what happened up to here is told if it is to be.
            let current = current_revision(&service, &caller);
            match tokio::time::timeout(pause, changes.next()).await {
                Ok(None) => return,
                Ok(Some(change)) => {
                    let change = change?;
                    revision = revision.max(change.revision);
                    yield change;
                }
                Err(_) => {
                    revision = revision.max(current.unwrap_or(0));
                    yield bookmark(revision);
                }
            }
        }
    })
}

/// Up to where everything that happened can be told.
fn current_revision<N: Served>(service: &Service<N>, caller: &Caller) -> Option<u64> {
    let first = ListOptions { limit: Some(1), ..ListOptions::default() };
    service.list(caller, None, &first).ok().map(|list| list.revision)
}

fn bookmark<N: Noun>(revision: u64) -> Change<N> {
    Change { r#type: ChangeKind::Bookmark, revision, object: None }
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
    New { name: Some(name).filter(|name| !name.is_empty()), labels, annotations, spec }
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

/// Fixes at compile time that a page is written as [`wire::List`] has it.
#[expect(dead_code, reason = "read by the compiler only")]
fn list_has_these_fields<N: Noun>(list: wire::List<N>) -> Value {
    let wire::List { revision: _, items: _, r#continue: _ } = list;
    Value::Null
}
