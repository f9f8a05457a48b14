//! Images: each node has its own; their verbs are asked of the node.

use std::sync::Arc;

use link::build::{
    BuildCache, BuildHanded, BuildPruned, BuildReach, BuildRequest, BuildSecret, BuildSecrets,
    BuildStep, BuildWire, BuildWireKind,
};
use link::image::{
    ImageDetail, ImportRequest, Listing, Login, Progress, PruneRequest, PullRequest, Removed,
    SearchHit, SearchRequest, SizedImage,
};
use link::{ByteStream, NodePort, ResultStream};
use model::image::Image;
use model::instance::Reach;
use model::{Error, ErrorKind, Kind, Result};

use crate::caller::{Caller, Verb, authorise, stay_inside};
use crate::core::{Core, Mode};
use crate::secrets;

/// The verbs of images. `node` is a node's name; this one's when empty.
#[derive(Clone)]
pub struct Images {
    core: Arc<Core>,
}

/// Refuses to let a name lead to another image for who may only add to them: others run what it leads to.
pub(crate) async fn keep_names(caller: &Caller, node: &dyn NodePort, name: &str) -> Result<()> {
    if name.is_empty() || caller.may(Verb::Update, Kind::Image, "") {
        return Ok(());
    }
    match node.image_show(name.to_owned()).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(Error::forbidden(format!("image {name:?} is there, and others may run it"))
            .next("take another name, such as one with a tag of your own, or ask an editor of all projects")),
    }
}

impl Images {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    fn on(&self, caller: &Caller, verb: Verb, node: &str) -> Result<Arc<dyn NodePort>> {
        authorise(caller, verb, Kind::Image, "")?;
        self.core.node_port(if node.is_empty() { &self.core.node } else { node })
    }

    /// All images.
    ///
    /// # Errors
    /// `Unavailable` when the node is not connected, as for every verb here.
    pub async fn list(&self, caller: &Caller, node: &str) -> Result<Vec<Image>> {
        self.on(caller, Verb::List, node)?.image_list().await
    }

    /// One image, by name, id, or beginning of an id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, caller: &Caller, node: &str, name: &str) -> Result<Image> {
        self.on(caller, Verb::Get, node)?.image_show(name.to_owned()).await
    }

    /// Fetches an image from its registry.
    ///
    /// # Errors
    /// Those of the node; the stream ends with an error when the pull fails.
    pub async fn pull(
        &self,
        caller: &Caller,
        node: &str,
        request: PullRequest,
    ) -> Result<ResultStream<Progress>> {
        self.on(caller, Verb::Create, node)?.image_pull(request).await
    }

    /// Sends an image to its registry.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn push(
        &self,
        caller: &Caller,
        node: &str,
        name: &str,
        login: Option<Login>,
    ) -> Result<ResultStream<Progress>> {
        // Without one of the caller's own, the node's logins are shown.
        let verb = if login.is_some() { Verb::Create } else { Verb::Update };
        self.on(caller, verb, node)?.image_push(name.to_owned(), login).await
    }

    /// Reads images from an archive.
    ///
    /// # Errors
    /// `Invalid` for a bad archive, of which nothing is left.
    pub async fn import(
        &self,
        caller: &Caller,
        node: &str,
        request: ImportRequest,
        archive: ByteStream,
    ) -> Result<ResultStream<Progress>> {
        // An archive says itself what is in it is called.
        self.on(caller, Verb::Update, node)?.image_import(request, archive).await
    }

    /// Writes images into one archive.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn save(
        &self,
        caller: &Caller,
        node: &str,
        names: Vec<String>,
    ) -> Result<ByteStream> {
        self.on(caller, Verb::Get, node)?.image_save(names).await
    }

    /// Writes the disk of a machine's image.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` if it has none, `Unsupported` for a format that is not known.
    pub async fn export(
        &self,
        caller: &Caller,
        node: &str,
        name: String,
        format: String,
    ) -> Result<ByteStream> {
        self.on(caller, Verb::Get, node)?.image_export(name, format).await
    }

    /// Gives an image a further name.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` for what is no name.
    pub async fn tag(
        &self,
        caller: &Caller,
        node: &str,
        name: &str,
        new: &str,
        mode: Mode,
    ) -> Result<()> {
        let node = self.on(caller, Verb::Update, node)?;
        node.image_tag(name.to_owned(), new.to_owned(), mode == Mode::Plan).await
    }

    /// Takes a name away, and the image with its last name.
    ///
    /// # Errors
    /// `Conflict` while an instance uses it, unless `force`.
    pub async fn remove(
        &self,
        caller: &Caller,
        node: &str,
        name: &str,
        force: bool,
        mode: Mode,
    ) -> Result<Removed> {
        let plan = mode == Mode::Plan;
        self.on(caller, Verb::Delete, node)?.image_remove(name.to_owned(), force, plan).await
    }

    /// Takes a name away and keeps the image, nameless if it was its last.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn untag(&self, caller: &Caller, node: &str, name: &str) -> Result<()> {
        self.on(caller, Verb::Update, node)?.image_untag(name.to_owned()).await
    }

    /// Removes images nobody uses.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn prune(
        &self,
        caller: &Caller,
        node: &str,
        request: PruneRequest,
    ) -> Result<Removed> {
        self.on(caller, Verb::Delete, node)?.image_prune(request).await
    }

    /// One image with its documents and sizes.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn detail(&self, caller: &Caller, node: &str, name: &str) -> Result<ImageDetail> {
        self.on(caller, Verb::Get, node)?.image_detail(name.to_owned()).await
    }

    /// All images with their sizes.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn sizes(&self, caller: &Caller, node: &str) -> Result<Vec<SizedImage>> {
        self.on(caller, Verb::List, node)?.image_sizes().await
    }

    /// What a name means at its registry, without fetching it.
    ///
    /// # Errors
    /// `NotFound`, and those of the way there.
    pub async fn look_up(
        &self,
        caller: &Caller,
        node: &str,
        name: &str,
        login: Option<Login>,
    ) -> Result<Listing> {
        self.on(caller, Verb::Get, node)?.registry_look_up(name.to_owned(), login).await
    }

    /// All tags that a repository has at its registry.
    ///
    /// # Errors
    /// `NotFound`, and those of the way there.
    pub async fn tags(
        &self,
        caller: &Caller,
        node: &str,
        name: &str,
        login: Option<Login>,
    ) -> Result<Vec<String>> {
        self.on(caller, Verb::Get, node)?.registry_tags(name.to_owned(), login).await
    }

    /// Repositories at a registry that fit a term.
    ///
    /// # Errors
    /// `Unsupported` for a registry that has no search.
    pub async fn search(
        &self,
        caller: &Caller,
        node: &str,
        request: SearchRequest,
    ) -> Result<Vec<SearchHit>> {
        self.on(caller, Verb::Get, node)?.registry_search(request).await
    }

    /// Checks a login with its registry and keeps nothing; what is to be shown there from now on.
    ///
    /// # Errors
    /// `Unauthenticated` when the registry refuses it.
    pub async fn check_login(&self, caller: &Caller, node: &str, login: Login) -> Result<Login> {
        self.on(caller, Verb::Get, node)?.registry_check(login).await
    }

    /// Builds an image; it ends when nobody reads what it says.
    ///
    /// # Errors
    /// `Unsupported` on a node without a builder; `Forbidden` for who is no admin and asks for the host's
    /// network, and what listens there for its own alone.
    pub async fn build(
        &self,
        caller: &Caller,
        node: &str,
        request: BuildRequest,
        context: ByteStream,
    ) -> Result<ResultStream<BuildStep>> {
        self.build_handed(caller, node, request, BuildHanded::default(), context).await
    }

    /// Builds an image whose steps are handed secrets; else as [`Images::build`].
    ///
    /// # Errors
    /// `NotFound` for a secret that is not there, and `Forbidden` for who could not hand it to an instance.
    pub async fn build_handed(
        &self,
        caller: &Caller,
        node: &str,
        request: BuildRequest,
        handed: BuildHanded,
        context: ByteStream,
    ) -> Result<ResultStream<BuildStep>> {
        let reach = || Reach { field: "network".into(), what: "the host's network" };
        stay_inside(caller, (request.reach == BuildReach::Host).then(reach))?;
        let secrets = self.opened(caller, handed)?;
        let port = self.on(caller, Verb::Create, node)?;
        for name in &request.names {
            keep_names(caller, &*port, name).await?;
        }
        let contained = !caller.is_admin();
        if contained && !request.plain {
            return Err(Error::forbidden("only admins choose the builder").at("plain"));
        }
        let request = BuildRequest { contained, ..request };
        match secrets.is_empty() {
            true => port.build(request, context).await,
            false => port.build_handed(request, secrets, context).await,
        }
    }

    /// The values of what a build is handed.
    fn opened(&self, caller: &Caller, handed: BuildHanded) -> Result<BuildSecrets> {
        let BuildHanded { project, secrets } = handed;
        let open = |name: &str| {
            // Who has an instance read a secret may read it.
            authorise(caller, Verb::Create, Kind::Instance, &project)?;
            self.core.read(|state| {
                let found = state.secrets.by_name(&project, name);
                let secret = found.filter(|it| it.meta.deleted.is_none()).ok_or_else(|| {
                    Error::not_found(format!("there is no secret {name:?}"))
                        .next(format!("hull secret create {name} FILE"))
                })?;
                secrets::open(&self.core, secret)
            })
        };
        let value = |(id, secret): (String, BuildSecret)| {
            let value = match secret {
                BuildSecret::Value(value) => Ok(value),
                BuildSecret::Named(name) => open(&name),
            };
            Ok((id, value.map_err(|error| error.at("secrets"))?))
        };
        secrets.into_iter().map(value).collect()
    }

    /// What is kept between builds.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn build_cache(&self, caller: &Caller, node: &str) -> Result<Vec<BuildCache>> {
        self.on(caller, Verb::List, node)?.build_cache().await
    }

    /// Removes what is kept between builds; without `all`, what no built image needs.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn build_prune(&self, caller: &Caller, node: &str, all: bool) -> Result<BuildPruned> {
        self.on(caller, Verb::Delete, node)?.build_prune(all).await
    }

    /// Whether BuildKit is on the node, without fetching it.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn build_kit(&self, caller: &Caller, node: &str) -> Result<bool> {
        self.on(caller, Verb::Get, node)?.build_kit().await
    }

    /// Connects a client with the node's BuildKit.
    ///
    /// # Errors
    /// `Unsupported` on a node where no BuildKit can be run.
    pub async fn build_wire(
        &self,
        caller: &Caller,
        node: &str,
        kind: BuildWireKind,
    ) -> Result<BuildWire> {
        self.on(caller, Verb::Create, node)?.build_wire(kind).await
    }

    /// Checks a login with its registry and keeps it on the node.
    ///
    /// # Errors
    /// `Unauthenticated` when the registry refuses it.
    pub async fn login(&self, caller: &Caller, node: &str, login: Login) -> Result<()> {
        self.on(caller, Verb::Update, node)?.registry_login(login).await
    }

    /// Forgets a login.
    ///
    /// # Errors
    /// Those of the node.
    pub async fn logout(&self, caller: &Caller, node: &str, registry: &str) -> Result<()> {
        self.on(caller, Verb::Update, node)?.registry_logout(registry.to_owned()).await
    }
}
