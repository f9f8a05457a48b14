//! BuildKit on this node: one daemon for all builds, started when a client needs it and ended when none
//! has for a while. What it builds is taken in like every other archive.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use build::kit::{Archive, Daemon, Fresh, Mirror, Programs, Registry, Start, TakeIn};
use futures::TryStreamExt;
use images::{ImportKind, ImportOptions};
use link::build::{BuildCache, BuildWire, BuildWireKind};
use model::error::Context as _;
use model::image::{Image, Reference};
use model::instance::PullPolicy;
use model::{Error, ErrorKind, Result};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use tokio_util::io::StreamReader;
use tokio_util::task::AbortOnDropHandle;

use super::kept;
use super::supply::{Contexts, Shown, Supplier};
use crate::build_network::Site;
use crate::calls::console;
use crate::context::Context;

/// How long it may take to say what it keeps.
const TELLING: Duration = Duration::from_secs(20);
/// Bytes of one of its programs.
const PROGRAM: u64 = 1 << 30;
/// How long the registry of its image may take to say that it has it, and how long it is not asked again
/// when it did not: clients ask often, and go another way when BuildKit cannot be had.
const LOOK_UP: Duration = Duration::from_secs(10);
const REFUSED: Duration = Duration::from_secs(60);
/// Registries of this machine that nobody has to name.
const LOCAL: [&str; 2] = ["localhost:5000", "127.0.0.1:5000"];

/// BuildKit, while it runs.
#[derive(Default)]
pub struct Kit {
    running: Mutex<Option<Arc<Running>>>,
    /// Why its image could not be had, and when.
    refused: Mutex<Option<(Instant, String)>>,
    /// Held by who writes down what it keeps.
    keeping: Mutex<()>,
}

/// A daemon with what it needs; dropped in this order.
struct Running {
    daemon: Daemon,
    context: Arc<Context>,
    _serving: AbortOnDropHandle<()>,
    _site: Site,
    registries: BTreeMap<String, Registry>,
    /// What it may fetch, and at which port.
    contexts: Contexts,
    port: u16,
    /// Who speaks to it now, and how often somebody began to.
    users: AtomicU64,
    uses: AtomicU64,
}

/// Somebody who speaks to it.
pub(super) struct User {
    kit: Arc<Kit>,
    running: Arc<Running>,
}

impl User {
    fn of(kit: &Arc<Kit>, running: &Arc<Running>) -> Self {
        running.users.fetch_add(1, Ordering::SeqCst);
        running.uses.fetch_add(1, Ordering::SeqCst);
        Self { kit: kit.clone(), running: running.clone() }
    }

    /// The daemon.
    pub(super) fn daemon(&self) -> &Daemon {
        &self.running.daemon
    }

    /// Has the daemon see a file at the address that comes with it.
    pub(super) fn show(&self, file: PathBuf) -> (Shown, String) {
        let shown = self.running.contexts.show(file);
        let address = format!("http://127.0.0.1:{}{}", self.running.port, shown.path);
        (shown, address)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if self.running.users.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        let (kit, running) = (self.kit.clone(), self.running.clone());
        let uses = running.uses.load(Ordering::SeqCst);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = kit.told(&running).await;
                let idle = running.context.build_kit.idle;
                // Not held meanwhile: it may end before.
                drop(running);
                tokio::time::sleep(idle).await;
                kit.end_unless_used(uses).await;
            });
        }
    }
}

impl Running {
    fn is_used(&self) -> bool {
        self.users.load(Ordering::SeqCst) > 0
    }
}

impl Kit {
    /// Connects a client with it.
    pub(super) async fn wire(
        self: &Arc<Self>,
        context: &Arc<Context>,
        kind: BuildWireKind,
    ) -> Result<BuildWire> {
        let user = self.user(context).await?;
        let (ours, theirs) = UnixStream::pair()
            .context(ErrorKind::Exhausted, || "no connection can be made".to_owned())?;
        let take_in = take_in(context.clone());
        tokio::spawn(async move {
            let daemon = user.daemon();
            let spoken = match kind {
                BuildWireKind::Control => daemon.control(theirs).await,
                BuildWireKind::Session { headers } => {
                    daemon.session(theirs, &header_map(headers), take_in).await
                }
            };
            if let Err(error) = spoken {
                tracing::info!(error = error.chain(), "a build's connection ended early");
            }
        });
        let link::Display { input, output } = console::connected(ours);
        Ok(BuildWire { input, output })
    }

    /// The daemon that runs, or a new one. Whoever asked may leave meanwhile: what was begun is not left half
    /// done, and nobody else begins it besides.
    pub(super) async fn user(self: &Arc<Self>, context: &Arc<Context>) -> Result<User> {
        let (kit, context) = (self.clone(), context.clone());
        let found = tokio::spawn(async move { kit.found_or_started(context).await }).await;
        found.context(ErrorKind::Internal, || "a start of BuildKit got lost".into())?
    }

    /// A new one also where registries were named that the old one knows nothing of, unless somebody uses it.
    async fn found_or_started(self: &Arc<Self>, context: Arc<Context>) -> Result<User> {
        let registries = registries(&context).await?;
        let mut held = self.running.lock().await;
        if let Some(running) = held.as_ref() {
            let current = running.is_used() || running.registries == registries;
            if current && running.daemon.is_alive().await {
                return Ok(User::of(self, running));
            }
        }
        if let Some(old) = held.take() {
            old.daemon.end().await;
        }
        let programs = self.programs(&context).await?;
        let running = Arc::new(start(context, registries, &programs).await?);
        *held = Some(running.clone());
        Ok(User::of(self, &running))
    }

    /// Its programs: the host's, or those of its image.
    async fn programs(&self, context: &Context) -> Result<Programs> {
        if let Some(found) = Programs::find(&context.build_kit.daemon) {
            return Ok(found);
        }
        let image = &context.build_kit.image;
        if image.is_empty() {
            return Err(absent());
        }
        let reference = Reference::parse(image)?;
        if let Some(image) = context.images.local.find(&reference.to_string()).await? {
            return take_out(context, &image).await;
        }
        // An image that was pruned leaves its programs.
        if let Some(programs) = taken_out(context) {
            return Ok(programs);
        }
        let mut refused = self.refused.lock().await;
        if let Some((_, told)) = refused.as_ref().filter(|(when, _)| when.elapsed() < REFUSED) {
            return Err(absent().caused_by(Error::unavailable(told.clone())));
        }
        *refused = None;
        match pull(context, &reference).await {
            Ok(image) => take_out(context, &image).await,
            Err(error) => {
                *refused = Some((Instant::now(), error.chain()));
                Err(absent().caused_by(error))
            }
        }
    }

    /// The daemon, if it has ever built here.
    async fn if_used(self: &Arc<Self>, context: &Arc<Context>) -> Option<User> {
        if !room(context).join("root").exists() {
            return None;
        }
        let user = self.user(context).await;
        user.inspect_err(|error| tracing::debug!(error = error.chain(), "no BuildKit is asked"))
            .ok()
    }

    /// What it keeps: as it says, or where it does not run, as it said last. It is not started for that, and
    /// who asks is no user of it.
    pub(super) async fn cache(&self, context: &Context) -> Vec<BuildCache> {
        // It is locked for as long as one is started.
        let running = self.running.try_lock().ok().and_then(|held| held.clone());
        let told = match running {
            Some(running) => self.told(&running).await,
            None => None,
        };
        told.unwrap_or_else(|| kept::read(&room(context)))
    }

    /// What it says that it keeps, which is written down for when it does not run.
    async fn told(&self, running: &Running) -> Option<Vec<BuildCache>> {
        let _keeping = self.keeping.lock().await;
        let asked = tokio::time::timeout(TELLING, running.daemon.cache()).await;
        let records = match asked {
            Ok(Ok(records)) => records.into_iter().map(super::record).collect::<Vec<_>>(),
            Ok(Err(error)) => {
                tracing::debug!(error = error.chain(), "BuildKit does not say what it keeps");
                return None;
            }
            Err(_) => return None,
        };
        if let Err(error) = kept::write(&room(&running.context), &records) {
            tracing::warn!(error = error.chain(), "what BuildKit keeps is not known later");
        }
        Some(records)
    }

    /// Removes what it keeps; nothing where it never built.
    pub(super) async fn prune(
        self: &Arc<Self>,
        context: &Arc<Context>,
        all: bool,
    ) -> Option<Result<build::Cache>> {
        let user = self.if_used(context).await?;
        let pruned = user.daemon().prune(all).await;
        let _ = self.told(&user.running).await;
        Some(pruned)
    }

    async fn end_unless_used(&self, uses: u64) {
        let mut held = self.running.lock().await;
        let idle = |it: &Arc<Running>| !it.is_used() && it.uses.load(Ordering::SeqCst) == uses;
        if held.as_ref().is_some_and(idle)
            && let Some(running) = held.take()
        {
            // It may have cleared up by itself since it was asked last.
            let _ = self.told(&running).await;
            running.daemon.end().await;
        }
    }
}

async fn start(
    context: Arc<Context>,
    registries: BTreeMap<String, Registry>,
    programs: &Programs,
) -> Result<Running> {
    let site = Site::open(&context).await?;
    let fresh = Fresh::default();
    let contexts = Contexts::default();
    let supplier = Supplier::of_kit(context.clone(), fresh.clone(), contexts.clone());
    let (supply, serving) = supplier.serve(Some(site.namespace.clone())).await?;
    let namespace = format!("/proc/{}/fd/{}", std::process::id(), site.namespace.as_raw_fd());
    let port = supply.port;
    let start = Start {
        programs,
        room: &room(&context),
        run: &context.places.build_run(),
        cgroup: &format!("/hull-{}/builds/kit", context.tag),
        namespace: Path::new(&namespace),
        resolv_conf: &site.resolv_conf,
        gateway: &site.gateway,
        mirror: &Mirror { port, secret: supply.password },
        registries: &registries,
    };
    let daemon = Daemon::start(&start, fresh).await?;
    let (users, uses) = (AtomicU64::new(0), AtomicU64::new(0));
    let (_serving, _site) = (serving, site);
    Ok(Running { daemon, context, _serving, _site, registries, contexts, port, users, uses })
}

fn room(context: &Context) -> PathBuf {
    context.places.build().join("kit")
}

/// Registries whose images are asked of the platform first: those that are set, and those that images
/// here are of. BuildKit has no word for all of them.
async fn registries(context: &Context) -> Result<BTreeMap<String, Registry>> {
    let usual = ["docker.io"].into_iter().chain(LOCAL);
    let mut all: BTreeMap<String, Registry> =
        usual.map(|name| (name.to_owned(), Registry::default())).collect();
    for image in context.images.local.list().await? {
        let names = image.names.iter().filter_map(|name| Reference::parse(name).ok());
        all.extend(names.map(|it| (it.registry, Registry::default())));
    }
    for (name, set) in context.images.registries.now().0 {
        all.insert(name, Registry { insecure: set.insecure, ca: set.ca });
    }
    Ok(all)
}

/// Whether it is here, without fetching it.
pub(super) async fn is_here(context: &Context) -> Result<bool> {
    if Programs::find(&context.build_kit.daemon).is_some() || taken_out(context).is_some() {
        return Ok(true);
    }
    match Reference::parse(&context.build_kit.image) {
        Ok(name) => Ok(context.images.local.find(&name.to_string()).await?.is_some()),
        Err(_) => Ok(false),
    }
}

/// What a host without it can do.
fn absent() -> Error {
    Error::unsupported("this engine has no BuildKit").next(
        "put buildkitd in the PATH of hull, or set buildkit-image of [build] in hull.toml to an image of \
         it that can be fetched; or build with DOCKER_BUILDKIT=0",
    )
}

/// Programs that were taken out of its image, whichever that was.
fn taken_out(context: &Context) -> Option<Programs> {
    let all = std::fs::read_dir(room(context).join("programs")).into_iter().flatten().flatten();
    all.into_iter().find_map(|entry| Programs::taken_out(&entry.path()))
}

/// Pulls its image.
async fn pull(context: &Context, reference: &Reference) -> Result<Image> {
    let looked_up = context.images.puller.look_up(reference, None);
    match tokio::time::timeout(LOOK_UP, looked_up).await {
        Ok(found) => drop(found?),
        Err(_) => {
            return Err(Error::unavailable(format!("the registry of {reference} does not answer")));
        }
    }
    let pulled = context.images.pull(reference, PullPolicy::Missing, images::Progress::none());
    Ok(Image::clone(&*pulled.await?))
}

/// Takes its programs out of an image.
async fn take_out(context: &Context, image: &Image) -> Result<Programs> {
    let all = room(context).join("programs");
    let directory = all.join(image.id.trim_start_matches("sha256:"));
    if let Some(programs) = Programs::taken_out(&directory) {
        return Ok(programs);
    }
    let failed = || "the programs of BuildKit cannot be written".to_owned();
    // Those of older images.
    let _ = tokio::fs::remove_dir_all(&all).await;
    tokio::fs::create_dir_all(&directory).await.context(ErrorKind::Exhausted, failed)?;
    for path in Programs::IN_IMAGE {
        let to = directory.join(Path::new(path).file_name().unwrap_or_default());
        let part = to.with_extension("part");
        let mut file =
            tokio::fs::File::create(&part).await.context(ErrorKind::Exhausted, failed)?;
        let mut bytes = context.images.local.file(&image.id, path).await?;
        let mut length = 0;
        while let Some(piece) = bytes.try_next().await? {
            length += piece.len() as u64;
            if length > PROGRAM {
                return Err(Error::invalid(format!(
                    "{path} is over 1 GiB: no program of BuildKit"
                )));
            }
            file.write_all(&piece).await.context(ErrorKind::Exhausted, failed)?;
        }
        file.flush().await.context(ErrorKind::Exhausted, failed)?;
        // A name without its contents would be taken for the program ever after.
        file.sync_all().await.context(ErrorKind::Exhausted, failed)?;
        drop(file);
        let mode = std::fs::Permissions::from_mode(0o755);
        tokio::fs::set_permissions(&part, mode).await.context(ErrorKind::Internal, failed)?;
        tokio::fs::rename(&part, &to).await.context(ErrorKind::Internal, failed)?;
    }
    Programs::taken_out(&directory)
        .ok_or_else(|| Error::internal("the programs of BuildKit got lost"))
}

/// Makes what it built an image of this node, with the names that the archive has.
pub(super) fn take_in(context: Arc<Context>) -> TakeIn {
    Arc::new(move |archive: Archive| {
        let context = context.clone();
        Box::pin(async move {
            let options = ImportOptions { kind: ImportKind::Archive, ..ImportOptions::default() };
            let taken = context.images.local.import(StreamReader::new(archive), options).await;
            context.images.forget();
            taken.map(drop)
        })
    })
}

fn header_map(headers: Vec<(String, String)>) -> http::HeaderMap {
    let read = |(name, value): (String, String)| {
        Some((http::HeaderName::try_from(name).ok()?, http::HeaderValue::try_from(value).ok()?))
    };
    let mut map = http::HeaderMap::new();
    for (name, value) in headers.into_iter().filter_map(read) {
        map.append(name, value);
    }
    map
}
