//! Verbs of images.

use http::Method;
use link::image::{ImportRequest, Login, Progress, PullRequest, Removed};
use link::{ByteStream, ResultStream};
use model::Result;
use model::image::Image;

use crate::Client;
use crate::request::Call;
use crate::wire::{
    BuildQuery, ExportQuery, ImageQuery, ImportQuery, LogoutRequest, NodeQuery, PruneImagesQuery,
    PruneRequest, PushRequest, RemoveImageQuery, SaveQuery, TAR, TagQuery, TagRequest,
};

const IMAGES: &str = "/v1/images";

/// Images. `name` is a name, an id, or the beginning of an id.
#[derive(Debug, Clone)]
pub struct Images {
    client: Client,
    node: String,
}

impl Images {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, node: String::new() }
    }

    /// Images of the node with this name, instead of the one that answers.
    #[must_use]
    pub fn of_node(self, node: &str) -> Self {
        Self { node: node.to_owned(), ..self }
    }

    fn post(&self, verb: &str) -> Call {
        let query = NodeQuery { node: self.node.clone() };
        self.client.post(format!("{IMAGES}/{verb}")).query(&query)
    }

    /// All images.
    pub async fn list(&self) -> Result<Vec<Image>> {
        let query = NodeQuery { node: self.node.clone() };
        self.client.get(IMAGES).query(&query).value().await
    }

    /// One image.
    pub async fn show(&self, name: &str) -> Result<Image> {
        let query = ImageQuery { name: name.to_owned(), node: self.node.clone() };
        self.client.get(IMAGES).query(&query).value().await
    }

    /// Fetches an image. Dropping the stream before its end cancels the pull.
    pub async fn pull(&self, request: &PullRequest) -> Result<ResultStream<Progress>> {
        self.post("pull").json(request).lines().await
    }

    /// Sends an image to its registry.
    pub async fn push(&self, name: &str, login: Option<Login>) -> Result<ResultStream<Progress>> {
        let body = PushRequest { name: name.to_owned(), login };
        self.post("push").json(&body).lines().await
    }

    /// Reads images from an archive.
    pub async fn import(
        &self,
        request: &ImportRequest,
        archive: ByteStream,
    ) -> Result<ResultStream<Progress>> {
        let query = ImportQuery {
            name: request.name.clone(),
            changes: request.changes.join("\n"),
            machine: request.disk.is_some(),
            firmware: request.disk.as_ref().and_then(|disk| disk.firmware),
            format: request.disk.as_ref().map(|disk| disk.format.clone()).unwrap_or_default(),
            node: self.node.clone(),
        };
        let call = self.client.post(format!("{IMAGES}/import")).query(&query);
        call.upload(TAR, archive).lines().await
    }

    /// Builds an image from a context, a tar archive. Dropping the stream before its end ends the build.
    pub async fn build(
        &self,
        query: &BuildQuery,
        context: ByteStream,
    ) -> Result<ResultStream<Progress>> {
        let query = BuildQuery { node: self.node.clone(), ..query.clone() };
        let call = self.client.post(format!("{IMAGES}/build")).query(&query);
        call.upload(TAR, context).lines().await
    }

    /// Writes images into one archive.
    pub async fn save(&self, names: &[String]) -> Result<ByteStream> {
        let query = SaveQuery { names: names.join(","), node: self.node.clone() };
        let call = self.client.get(format!("{IMAGES}/save")).query(&query);
        call.stream().await.map(|(_, archive)| archive)
    }

    /// Writes the disk of a machine's image in a format; as it is when that is empty.
    pub async fn export(&self, name: &str, format: &str) -> Result<ByteStream> {
        let (name, format) = (name.to_owned(), format.to_owned());
        let query = ExportQuery { name, format, node: self.node.clone() };
        let call = self.client.get(format!("{IMAGES}/export")).query(&query);
        call.stream().await.map(|(_, disk)| disk)
    }

    /// Gives an image a further name. With `plan`, only says whether it could.
    pub async fn tag(&self, name: &str, new: &str, plan: bool) -> Result<()> {
        let body = TagRequest { name: name.to_owned(), new: new.to_owned() };
        let query = TagQuery { plan, node: self.node.clone() };
        self.client.post(format!("{IMAGES}/tag")).query(&query).json(&body).done().await
    }

    /// Takes a name away, and the image with its last name. With `plan`, answers what would go.
    pub async fn remove(&self, name: &str, force: bool, plan: bool) -> Result<Removed> {
        let (name, node) = (name.to_owned(), self.node.clone());
        let query = RemoveImageQuery { name, force, plan, node };
        self.client.call(Method::DELETE, IMAGES).query(&query).value().await
    }

    /// Removes images without a name, or with `all` every one that no instance uses. With `plan`,
    /// answers what would go.
    pub async fn prune(&self, all: bool, plan: bool) -> Result<Removed> {
        let query = PruneImagesQuery { plan, node: self.node.clone() };
        let call = self.client.post(format!("{IMAGES}/prune")).query(&query);
        call.json(&PruneRequest { all }).value().await
    }

    /// Checks a login with its registry and keeps it.
    pub async fn login(&self, login: &Login) -> Result<()> {
        self.post("login").json(login).done().await
    }

    /// Forgets a login.
    pub async fn logout(&self, registry: &str) -> Result<()> {
        let body = LogoutRequest { registry: registry.to_owned() };
        self.post("logout").json(&body).done().await
    }
}
