//! What can be done with the objects of any noun.

use std::marker::PhantomData;

use http::Method;
use link::ResultStream;
use model::{Noun, Object, Result};
use serde_json::Value;

use crate::Client;
use crate::request::segment;
use crate::wire::{Change, DeleteQuery, Draft, List, ListQuery, RenameRequest, collection};

/// Objects asked for in one page when all are wanted.
const PAGE: u32 = 500;

/// The objects of a noun, in a project or in the cluster.
#[derive(Debug, Clone)]
pub struct Objects<N> {
    client: Client,
    path: String,
    noun: PhantomData<fn() -> N>,
}

impl<N: Noun> Objects<N> {
    pub(crate) fn in_project(client: Client, project: &str) -> Self {
        let path = format!("/v1/projects/{}/{}", segment(project), collection(N::KIND));
        Self { client, path, noun: PhantomData }
    }

    pub(crate) fn of_cluster(client: Client) -> Self {
        let path = format!("/v1/{}", collection(N::KIND));
        Self { client, path, noun: PhantomData }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn collection_path(&self) -> String {
        self.path.clone()
    }

    pub(crate) fn object_path(&self, name: &str) -> String {
        format!("{}/{}", self.path, segment(name))
    }

    /// One object, by name, id, or the beginning of its id.
    pub async fn get(&self, name: &str) -> Result<Object<N>> {
        self.client.get(self.object_path(name)).value().await
    }

    /// A page of those that `query` selects.
    pub async fn list(&self, query: &ListQuery) -> Result<List<N>> {
        let query = ListQuery { watch: false, revision: None, ..query.clone() };
        self.client.get(&self.path).query(&query).value().await
    }

    /// All that `query` selects, page by page; its `limit` is a page's size.
    pub async fn list_all(&self, query: &ListQuery) -> Result<Vec<Object<N>>> {
        let mut query = ListQuery { limit: query.limit.or(Some(PAGE)), ..query.clone() };
        let mut items = Vec::new();
        loop {
            let page = self.list(&query).await?;
            items.extend(page.items);
            match page.r#continue {
                Some(next) => query.r#continue = next,
                None => return Ok(items),
            }
        }
    }

    /// Changes to those that `query` selects, as they happen: after `query.revision`, or first all
    /// there are. Ends with `Conflict` when the server no longer has what lies after the revision:
    /// list again, and watch from there.
    pub async fn watch(&self, query: &ListQuery) -> Result<ResultStream<Change<N>>> {
        let query = ListQuery { watch: true, ..query.clone() };
        self.client.get(&self.path).query(&query).lines().await
    }

    /// Says what would be created of a spec as somebody wrote it, or what is wrong with it: also a
    /// field that no spec has, which is lost where it is read as one.
    pub async fn check(&self, written: &Draft<Value>) -> Result<Object<N>> {
        self.client.post(&self.path).plan(true).json(written).value().await
    }

    /// Creates an object. With `plan`, answers what would be created.
    pub async fn create(&self, draft: &Draft<N::Spec>, plan: bool) -> Result<Object<N>> {
        self.client.post(&self.path).plan(plan).json(draft).value().await
    }

    /// Changes an object by a merge patch (RFC 7396) over `meta.labels`, `meta.annotations` and
    /// `spec`; only if it is still at `revision`, when that is given.
    pub async fn patch(
        &self,
        name: &str,
        patch: &Value,
        revision: Option<u64>,
        plan: bool,
    ) -> Result<Object<N>> {
        let call = self.client.call(Method::PATCH, self.object_path(name));
        call.plan(plan).if_revision(revision).merge_patch(patch).value().await
    }

    /// Gives an object another name.
    pub async fn rename(&self, name: &str, new: &str, plan: bool) -> Result<Object<N>> {
        let body = RenameRequest { name: new.to_owned() };
        let call = self.client.post(format!("{}/rename", self.object_path(name)));
        call.plan(plan).json(&body).value().await
    }

    /// Asks for an object's removal; the answer is the object as it was then, which may still have
    /// to be taken down.
    pub async fn delete(&self, name: &str, options: DeleteQuery) -> Result<Object<N>> {
        let call = self.client.call(Method::DELETE, self.object_path(name));
        call.query(&options).value().await
    }
}
