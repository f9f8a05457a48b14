//! The images of this node, as a registry on the loopback shows them to a builder (OCI distribution
//! specification 1.1, pulls only). What is not here is pulled first, as everywhere else on the
//! platform: from its mirrors, with the login that came with the build or the node's own.
//!
//! The registry of an image is the first part of its path: `/v2/docker.io/library/busybox/…`.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, TcpListener as Listener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use build::Supply;
use build::kit::Fresh;
use futures::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use images::{Credentials, Digest, Progress, PullOptions, PullPolicy, ServedManifest};
use link::build::{BuildRequest, BuildStep};
use model::error::Context as _;
use model::image::{Image, Reference};
use model::{Error, ErrorKind, Result};
use network::HostNamespace;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio_util::io::ReaderStream;
use tokio_util::task::AbortOnDropHandle;

use crate::calls::images::registry::{credentials, registry_of};
use crate::context::Context;

/// Connections at one time: a builder fetches six layers at once.
const CONNECTIONS: usize = 32;
/// How long a request's headers may take.
const HEADERS: Duration = Duration::from_secs(10);
/// Where contexts are.
const CONTEXTS: &str = "/contexts/";
/// Bytes of a piece of one.
const PIECE: usize = 64 << 10;
/// Bytes of headers.
const LONGEST_HEADERS: usize = 16 << 10;

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// Answers a builder.
pub(super) struct Supplier {
    context: Arc<Context>,
    asker: Asker,
}

/// Who asks.
enum Asker {
    /// buildah, for one build.
    Build(Box<OneBuild>),
    /// BuildKit, for all of its builds. It asks the registry itself for what is refused here, with the login
    /// of its client.
    Kit {
        /// What its paths begin with: it shows no password to registries it was not logged in to.
        secret: String,
        /// Whether names are to be asked for anew.
        fresh: Fresh,
        /// Contexts of builds.
        contexts: Contexts,
    },
}

/// What one build has.
struct OneBuild {
    policy: PullPolicy,
    logins: BTreeMap<String, Credentials>,
    password: String,
    said: mpsc::Sender<Result<BuildStep>>,
    /// Names that could not be had, and why.
    failed: Mutex<BTreeMap<Reference, String>>,
}

impl OneBuild {
    async fn say(&self, text: String) {
        let _ = self.said.send(Ok(BuildStep::Text { text })).await;
    }

    fn knows(&self, shown: Option<&[u8]>) -> bool {
        let login = format!("{}:{}", build::USER, self.password);
        shown == Some(format!("Basic {}", STANDARD.encode(login)).as_bytes())
    }
}

impl Supplier {
    /// For one build.
    pub(super) fn new(
        context: Arc<Context>,
        request: &BuildRequest,
        said: mpsc::Sender<Result<BuildStep>>,
    ) -> Self {
        let logins = request.logins.iter();
        let build = OneBuild {
            policy: if request.pull { PullPolicy::Always } else { PullPolicy::Missing },
            logins: logins.map(|it| (registry_of(&it.registry), credentials(it))).collect(),
            password: format!("{:032x}", rand::random::<u128>()),
            said,
            failed: Mutex::default(),
        };
        Self { context, asker: Asker::Build(Box::new(build)) }
    }

    /// For BuildKit.
    pub(super) fn of_kit(context: Arc<Context>, fresh: Fresh, contexts: Contexts) -> Self {
        let secret = format!("{:032x}", rand::random::<u128>());
        Self { context, asker: Asker::Kit { secret, fresh, contexts } }
    }

    /// Listens on the loopback, of a namespace if one is given; as long as the handle is held.
    pub(super) async fn serve(
        self,
        namespace: Option<Arc<OwnedFd>>,
    ) -> Result<(Supply, AbortOnDropHandle<()>)> {
        let listener = listen(namespace).await?;
        let failed = || "the port for a build's images cannot be used".to_owned();
        listener.set_nonblocking(true).context(ErrorKind::Internal, failed)?;
        let port = listener.local_addr().context(ErrorKind::Internal, failed)?.port();
        let listener = TcpListener::from_std(listener).context(ErrorKind::Internal, failed)?;
        let password = match &self.asker {
            Asker::Build(build) => build.password.clone(),
            Asker::Kit { secret, .. } => secret.clone(),
        };
        let supply = Supply { port, password };
        let serving = tokio::spawn(accept(listener, Arc::new(self)));
        Ok((supply, AbortOnDropHandle::new(serving)))
    }

    async fn respond(&self, request: &Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let path = match &self.asker {
            Asker::Build(build) => {
                let shown = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
                if !build.knows(shown) {
                    let mut answer = refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "log in");
                    let challenge =
                        hyper::header::HeaderValue::from_static("Basic realm=\"build\"");
                    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                    return answer;
                }
                path.to_owned()
            }
            Asker::Kit { secret, contexts, .. } => match behind(path, secret) {
                Some(path) => path,
                None if path.starts_with(CONTEXTS) => {
                    return contexts.answer(path, request.method() == Method::GET).await;
                }
                None => return refusal(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such path"),
            },
        };
        let body = request.method() == Method::GET;
        if !body && request.method() != Method::HEAD {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "only pulls");
        }
        match Asked::of(&path) {
            Some(Asked::Version) => plain(StatusCode::OK, "application/json", "{}".into()),
            Some(Asked::Manifest(name)) => match self.known_or_manifest(&name).await {
                Ok(manifest) => document(manifest, body),
                Err(told) => missing(&told),
            },
            Some(Asked::Blob(digest)) => match self.context.images.local.blob(&digest).await {
                Ok(Some((size, bytes))) => blob(&digest, size, bytes, body),
                Ok(None) => refusal(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "not here"),
                Err(error) => missing(&error.chain()),
            },
            None => refusal(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such path"),
        }
    }

    /// What was not found is not looked for again in one build.
    async fn known_or_manifest(&self, reference: &Reference) -> Result<ServedManifest, String> {
        let build = match &self.asker {
            Asker::Build(build) => build,
            Asker::Kit { fresh, .. } => {
                let found = self.document(reference, fresh).await;
                return found.map_err(|error| error.chain());
            }
        };
        let mut failed = build.failed.lock().await;
        if let Some(told) = failed.get(reference) {
            return Err(told.clone());
        }
        self.manifest(reference, build).await.map_err(|error| {
            let told = error.chain();
            failed.insert(reference.clone(), told.clone());
            told
        })
    }

    /// What a name points at, be it an index: BuildKit chooses in it for the platform it builds for.
    async fn document(&self, reference: &Reference, fresh: &Fresh) -> Result<ServedManifest> {
        let local = &self.context.images.local;
        let absent = || Error::not_found(format!("{reference} is not here"));
        if let Some(digest) = &reference.digest
            && let Some(document) = local.served(&digest.parse()?).await?
        {
            return Ok(document);
        }
        let image = match self.with_id(reference).await? {
            Some(image) => image,
            None => self.pulled(reference, fresh.is_wanted()).await?,
        };
        local.served(&image.digest.parse()?).await?.ok_or_else(absent)
    }

    /// The image of a name. All builds share the wish for what is new: what no registry knows, and is only here,
    /// is right for one that did not ask for it.
    async fn pulled(&self, reference: &Reference, fresh: bool) -> Result<Image> {
        let images = &self.context.images;
        let policy = if fresh { PullPolicy::Always } else { PullPolicy::Missing };
        let options = PullOptions { policy, ..PullOptions::default() };
        match images.puller.pull(reference, options).await {
            Err(error) if fresh && error.kind() == ErrorKind::NotFound => {
                images.local.find(&reference.to_string()).await?.ok_or(error)
            }
            pulled => {
                let image = pulled?;
                images.forget();
                Ok(image)
            }
        }
    }

    /// The image whose id a name is, where no image has the name.
    async fn with_id(&self, reference: &Reference) -> Result<Option<Image>> {
        let local = &self.context.images.local;
        match as_id(reference) {
            Some(id) if local.find(&reference.to_string()).await?.is_none() => local.find(id).await,
            Some(_) | None => Ok(None),
        }
    }

    /// The manifest of a name, pulled if it is not here or if its meaning is asked anew.
    async fn manifest(&self, reference: &Reference, build: &OneBuild) -> Result<ServedManifest> {
        let local = &self.context.images.local;
        if let Some(digest) = &reference.digest
            && let Ok(manifest) = local.manifest(digest).await
        {
            return Ok(manifest);
        }
        if let Some(image) = self.with_id(reference).await? {
            return local.manifest(&image.digest).await;
        }
        let here = local.find(&reference.to_string()).await?;
        let before = here.map(|here| here.digest);
        let options = PullOptions {
            credentials: build.logins.get(&reference.registry).cloned(),
            policy: build.policy,
            progress: Progress::none(),
            platform: None,
        };
        let fetched = build.policy == PullPolicy::Always || before.is_none();
        if fetched {
            let version = reference.digest.as_ref().or(reference.tag.as_ref());
            let version = version.map_or("latest", String::as_str);
            build.say(format!("{version}: Pulling from {}\n", reference.repository)).await;
        }
        let image = self.context.images.puller.pull(reference, options).await?;
        if fetched {
            let word = match before.as_ref() == Some(&image.digest) {
                true => "Image is up to date",
                false => "Downloaded newer image",
            };
            let (digest, name) = (&image.digest, reference.familiar());
            build.say(format!("Digest: {digest}\nStatus: {word} for {name}\n")).await;
        }
        self.context.images.forget();
        local.manifest(&image.digest).await
    }
}

/// Archives that BuildKit fetches, each by a name that nobody else knows.
#[derive(Clone, Default)]
pub(super) struct Contexts(Arc<std::sync::Mutex<BTreeMap<String, PathBuf>>>);

/// One of them, until it is dropped.
pub(super) struct Shown {
    all: Contexts,
    /// Its path on the port.
    pub(super) path: String,
}

impl Contexts {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, PathBuf>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Shows this file.
    pub(super) fn show(&self, file: PathBuf) -> Shown {
        let path = format!("{CONTEXTS}{:032x}", rand::random::<u128>());
        self.lock().insert(path.clone(), file);
        Shown { all: self.clone(), path }
    }

    async fn answer(&self, path: &str, body: bool) -> Answer {
        let file = self.lock().get(path).cloned();
        let opened = match &file {
            Some(file) => tokio::fs::File::open(file).await.ok(),
            None => None,
        };
        let Some(file) = opened else {
            return plain(StatusCode::NOT_FOUND, "text/plain", "no such context\n".into());
        };
        let length = file.metadata().await.map(|meta| meta.len()).unwrap_or_default();
        let frames = ReaderStream::with_capacity(file, PIECE).map(|piece| piece.map(Frame::data));
        let body = if body { StreamBody::new(frames).boxed_unsync() } else { empty() };
        let mut answer = Response::new(body);
        answer.headers_mut().insert(CONTENT_LENGTH, length.into());
        answer
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.all.lock().remove(&self.path);
    }
}

/// What stands behind the secret beginning of a path, as a path.
fn behind(path: &str, secret: &str) -> Option<String> {
    let rest = path.strip_prefix("/v2/")?.strip_prefix(secret)?;
    rest.starts_with('/').then(|| format!("/v2{rest}"))
}

/// `FROM 2f10754cb8cf` is asked for as a repository of Docker Hub's.
fn as_id(reference: &Reference) -> Option<&str> {
    let name = reference.repository.strip_prefix("library/")?;
    let hex = name.len() >= 6 && name.bytes().all(|c| c.is_ascii_hexdigit());
    (hex && reference.registry == "docker.io").then_some(name)
}

async fn listen(namespace: Option<Arc<OwnedFd>>) -> Result<Listener> {
    let bind = || {
        Listener::bind((Ipv4Addr::LOCALHOST, 0))
            .context(ErrorKind::Internal, || "there is no port for a build's images".to_owned())
    };
    let Some(namespace) = namespace else { return bind() };
    let in_there = move || {
        // The thread's children are in its namespace.
        let words = ["link", "set", "dev", "lo", "up"];
        let raised = std::process::Command::new("ip").args(words).status();
        match raised {
            Ok(status) if status.success() => bind(),
            Ok(_) | Err(_) => Err(Error::internal("the loopback of a build cannot be raised")),
        }
    };
    HostNamespace::At(namespace).run(in_there).await
}

async fn accept(listener: TcpListener, supplier: Arc<Supplier>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut served = tokio::task::JoinSet::new();
    loop {
        while served.try_join_next().is_some() {}
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else { return };
        let supplier = supplier.clone();
        served.spawn(async move {
            let _held = place;
            converse(stream, supplier).await;
        });
    }
}

async fn converse(stream: TcpStream, supplier: Arc<Supplier>) {
    let respond = |request: Request<Incoming>| {
        let supplier = supplier.clone();
        async move { Ok::<_, Infallible>(supplier.respond(&request).await) }
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(LONGEST_HEADERS)
        .serve_connection(TokioIo::new(stream), service_fn(respond));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a builder's connection ended early");
    }
}

/// What is asked for.
#[derive(Debug, PartialEq)]
enum Asked {
    Version,
    Manifest(Reference),
    Blob(Digest),
}

impl Asked {
    fn of(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v2")?.trim_start_matches('/');
        if rest.is_empty() {
            return Some(Self::Version);
        }
        let (before, last) = rest.rsplit_once('/')?;
        let (name, kind) = before.rsplit_once('/')?;
        let (host, path) = name.split_once('/')?;
        let name = format!("{}/{path}", build::host_of_component(host));
        match kind {
            "blobs" => Some(Self::Blob(last.parse().ok()?)),
            "manifests" => {
                let separator = if last.contains(':') { '@' } else { ':' };
                Some(Self::Manifest(Reference::parse(&format!("{name}{separator}{last}")).ok()?))
            }
            _ => None,
        }
    }
}

fn plain(status: StatusCode, kind: &str, data: Bytes) -> Answer {
    let body = Full::new(data).map_err(|never| match never {}).boxed_unsync();
    let answer = Response::builder().status(status).header(CONTENT_TYPE, kind).body(body);
    answer.unwrap_or_else(|_| Response::new(empty()))
}

fn empty() -> UnsyncBoxBody<Bytes, std::io::Error> {
    Full::new(Bytes::new()).map_err(|never| match never {}).boxed_unsync()
}

/// Whatever the reason, the builder is not to try again: the puller has done that.
fn missing(told: &str) -> Answer {
    refusal(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", told)
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Answer {
    let errors = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    plain(status, "application/json", errors.to_string().into())
}

fn document(manifest: ServedManifest, body: bool) -> Answer {
    let ServedManifest { digest, media_type, data } = manifest;
    let length = data.len();
    let mut answer = plain(StatusCode::OK, &media_type, data);
    if !body {
        *answer.body_mut() = empty();
    }
    describe(&mut answer, &digest, length as u64);
    answer
}

fn blob(digest: &Digest, size: u64, bytes: images::ByteStream, body: bool) -> Answer {
    let frames = bytes.map(|piece| piece.map(Frame::data).map_err(std::io::Error::other));
    let body = if body { StreamBody::new(frames).boxed_unsync() } else { empty() };
    let mut answer = Response::new(body);
    describe(&mut answer, digest, size);
    answer
}

fn describe(answer: &mut Answer, digest: &Digest, size: u64) {
    let headers = answer.headers_mut();
    headers.insert(CONTENT_LENGTH, size.into());
    if let Ok(digest) = digest.as_str().parse() {
        headers.insert("docker-content-digest", digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let name = |text: &str| Some(Asked::Manifest(Reference::parse(text).unwrap()));
        for (path, asked) in [
            ("/v2/", Some(Asked::Version)),
            ("/v2/docker.io/library/a/manifests/1", name("a:1")),
            ("/v2/h__5/b/c/manifests/1", name("h:5/b/c:1")),
            (&format!("/v2/h__5/b/manifests/{digest}"), name(&format!("h:5/b@{digest}"))),
            (&format!("/v2/h__5/b/blobs/{digest}"), Some(Asked::Blob(digest.parse().unwrap()))),
            ("/v2/h__5/b/tags/list", None),
            ("/v1/x", None),
        ] {
            assert_eq!(Asked::of(path), asked, "{path}");
        }
    }

    #[test]
    fn a_secret_beginning() {
        assert_eq!(behind("/v2/s3/h__5/a/blobs/x", "s3").as_deref(), Some("/v2/h__5/a/blobs/x"));
        for path in ["/v2/s4/a/b", "/v2/s3x/a", "/v2/s3", "/s3/a", "/v2/"] {
            assert_eq!(behind(path, "s3"), None, "{path}");
        }
    }

    #[test]
    fn ids_that_look_like_names() {
        let id = |text: &str| as_id(&Reference::parse(text).unwrap()).map(str::to_owned);
        assert_eq!(id("2f10754cb8cf").as_deref(), Some("2f10754cb8cf"));
        assert_eq!(id("busybox"), None);
        assert_eq!(id("ghcr.io/x/2f10754cb8cf"), None);
    }
}
