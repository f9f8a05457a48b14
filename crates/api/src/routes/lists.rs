//! Lists of objects, and watching how they change.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use bytes::{BufMut, BytesMut};
use client::wire::{self, Change, ChangeKind, ListQuery};
use control::{Caller, ListOptions, Service};
use futures::{StreamExt, stream};
use link::ResultStream;
use model::selector::Selector;
use model::{Error, Noun, Result};
use serde_json::{Value, json};

use super::objects::{Collection, Served, json_bytes};
use crate::admit::By;
use crate::body::Params;
use crate::refusal::Reply;
use crate::{Api, download, page};

pub(super) async fn list_or_watch<N: Served>(
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
    let part_of = |key: &str| PARTS.contains(&key.split('.').next().unwrap_or(key));
    if let Some(key) = fields.keys().find(|key| !part_of(key)) {
        return Err(Error::invalid(format!("no object has a field {key:?}"))
            .at("fields")
            .next("write a path such as meta.name, spec.node or status.phase"));
    }
    Ok((labels, fields))
}

/// What every object consists of: where the paths of fields begin.
const PARTS: [&str; 4] = ["kind", "meta", "spec", "status"];

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

/// Fixes at compile time that a page is written as [`wire::List`] has it.
#[expect(dead_code, reason = "read by the compiler only")]
fn list_has_these_fields<N: Noun>(list: wire::List<N>) -> Value {
    let wire::List { revision: _, items: _, r#continue: _ } = list;
    Value::Null
}
