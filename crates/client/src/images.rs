//! Verbs of images.

use http::Method;
use link::image::{ImportRequest, Login, Progress, PullRequest, Removed};
use link::{ByteStream, ResultStream};
use model::Result;
use model::image::Image;

use crate::Client;
use crate::wire::{
    ImportQuery, LogoutRequest, NameQuery, PruneRequest, PushRequest, RemoveImageQuery, SaveQuery,
    TAR, TagRequest,
};

const IMAGES: &str = "/v1/images";

/// Images. `name` is a name, an id, or the beginning of an id.
#[derive(Debug, Clone)]
pub struct Images {
    client: Client,
}

impl Images {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// All images.
    pub async fn list(&self) -> Result<Vec<Image>> {
        self.client.get(IMAGES).value().await
    }

    /// One image.
    pub async fn show(&self, name: &str) -> Result<Image> {
        let query = NameQuery { name: name.to_owned() };
        self.client.get(IMAGES).query(&query).value().await
    }

    /// Fetches an image. Dropping the stream stops the caller's waiting, not the operation.
    pub async fn pull(&self, request: &PullRequest) -> Result<ResultStream<Progress>> {
        self.client.post(format!("{IMAGES}/pull")).json(request).lines().await
    }

    /// Sends an image to its registry.
    pub async fn push(&self, name: &str, login: Option<Login>) -> Result<ResultStream<Progress>> {
        let body = PushRequest { name: name.to_owned(), login };
        self.client.post(format!("{IMAGES}/push")).json(&body).lines().await
    }

    /// Reads images from an archive.
    pub async fn import(
        &self,
        request: &ImportRequest,
        archive: ByteStream,
    ) -> Result<ResultStream<Progress>> {
        let query = ImportQuery { name: request.name.clone(), changes: request.changes.join("\n") };
        let call = self.client.post(format!("{IMAGES}/import")).query(&query);
        call.upload(TAR, archive).lines().await
    }

    /// Writes images into one archive.
    pub async fn save(&self, names: &[String]) -> Result<ByteStream> {
        let query = SaveQuery { names: names.join(",") };
        let call = self.client.get(format!("{IMAGES}/save")).query(&query);
        call.stream().await.map(|(_, archive)| archive)
    }

    /// Gives an image a further name.
    pub async fn tag(&self, name: &str, new: &str) -> Result<()> {
        let body = TagRequest { name: name.to_owned(), new: new.to_owned() };
        self.client.post(format!("{IMAGES}/tag")).json(&body).done().await
    }

    /// Takes a name away, and the image with its last name.
    pub async fn remove(&self, name: &str, force: bool) -> Result<Removed> {
        let query = RemoveImageQuery { name: name.to_owned(), force };
        self.client.call(Method::DELETE, IMAGES).query(&query).value().await
    }

    /// Removes images without a name, or with `all` every one that no instance uses.
    pub async fn prune(&self, all: bool) -> Result<Removed> {
        self.client.post(format!("{IMAGES}/prune")).json(&PruneRequest { all }).value().await
    }

    /// Checks a login with its registry and keeps it.
    pub async fn login(&self, login: &Login) -> Result<()> {
        self.client.post(format!("{IMAGES}/login")).json(login).done().await
    }

    /// Forgets a login.
    pub async fn logout(&self, registry: &str) -> Result<()> {
        let body = LogoutRequest { registry: registry.to_owned() };
        self.client.post(format!("{IMAGES}/logout")).json(&body).done().await
    }
}
