//! Reading many objects: lists, pages, changes.

use std::sync::Arc;

use model::{Noun, Object};
use serde::{Deserialize, Serialize};

/// Which objects of a collection are wanted, and how.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ListQuery {
    /// Label selector: `app=web,tier!=db,zone,!old`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub labels: String,
    /// Field selector: `status.phase=running,meta.name!=web`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fields: String,
    /// Most items of one page; all when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Where the page before ended, as its answer said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub r#continue: String,
    /// Answer with changes as they happen, a JSON object a line, instead of a list.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub watch: bool,
    /// With `watch`: changes after this revision; absent: first everything there is, as added.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

/// A page of objects, in order of name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound = "")]
pub struct List<N: Noun> {
    /// The store's revision this was true at; a watch from it misses nothing.
    pub revision: u64,
    /// The objects.
    pub items: Vec<Object<N>>,
    /// To be given back for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#continue: Option<String>,
}

/// A line of a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", bound = "")]
pub struct Change<N: Noun> {
    /// What happened.
    pub r#type: ChangeKind,
    /// The store's revision after it; a new watch from it misses nothing.
    pub revision: u64,
    /// The object as it is now, or as it was last; absent in a bookmark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<Arc<Object<N>>>,
}

/// What happened to an object that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = WatchedChange)]
pub enum ChangeKind {
    /// It is new, or the selector did not select it before.
    Added,
    /// It is different.
    Modified,
    /// It is gone, or the selector does not select it any more.
    Removed,
    /// Nothing happened up to this revision that the watch would tell.
    Bookmark,
}
