//! Builds: the context unpacked, the builder run, what it made taken in.

mod asked;
mod ignored;
mod kept;
mod kit;
mod orphans;
mod plain;
mod secrets;
mod supply;

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use build::{Builder, Ended, Job, Network, Step};
use containers::Rootfs;
use containers::rootfs::UnpackOptions;
use futures::TryStreamExt;
use images::{ImportOptions, Platform};
use link::build::{
    BuildCache, BuildCalls, BuildLimits, BuildPruned, BuildReach, BuildRequest, BuildSecrets,
    BuildStep, BuildWire, BuildWireKind,
};
use link::{ByteStream, ResultStream};
use model::error::Context as _;
use model::image::Reference;
use model::{Error, ErrorKind, Result};
use tokio::io::AsyncReadExt;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{StreamReader, SyncIoBridge};

pub(super) use self::kit::Kit;
use self::supply::Supplier;
use super::Calls;
use super::images::tag;
use crate::build_network::Site;
use crate::context::Context;
use crate::places::Places;

/// Lines that wait for a slow reader.
const WAITING: usize = 64;
/// Bytes a context may unpack to. Builds with more are better served by a volume.
const LARGEST: u64 = 64 << 30;
/// Bytes of a Dockerfile.
const DOCKERFILE: u64 = 4 << 20;

/// Ends builds of a daemon that died, and removes what they left.
pub fn clear(places: &Places, tag: &str) {
    orphans::end(tag);
    orphans::forget_secrets(places);
    let jobs = places.build().join("jobs");
    if let Err(error) = std::fs::remove_dir_all(&jobs)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "directories of old builds cannot be removed");
    }
    secrets::clear(places);
}

#[async_trait]
impl BuildCalls for Calls {
    async fn build(
        &self,
        request: BuildRequest,
        archive: ByteStream,
    ) -> Result<ResultStream<BuildStep>> {
        match request.plain || request.session.is_some() {
            true => self.build_handed(request, BuildSecrets::new(), archive).await,
            false => by_buildah(self, request, None, archive).await,
        }
    }

    async fn build_handed(
        &self,
        request: BuildRequest,
        secrets: BuildSecrets,
        archive: ByteStream,
    ) -> Result<ResultStream<BuildStep>> {
        secrets.keys().try_for_each(|id| secrets::check(id))?;
        match (request.plain, &request.session) {
            (true, _) => plain::build(self, request, secrets, archive).await,
            (false, Some(_)) => asked::build(self, request, secrets, archive).await,
            (false, None) => by_buildah(self, request, Some(secrets), archive).await,
        }
    }

    async fn build_cache(&self) -> Result<Vec<BuildCache>> {
        let mut all = match builder(self) {
            Ok(builder) => builder.cache().await?.into_iter().map(record).collect(),
            Err(_) => Vec::new(),
        };
        all.extend(self.kit.cache(&self.context).await);
        Ok(all)
    }

    async fn build_prune(&self, all: bool) -> Result<BuildPruned> {
        let of_kit = self.kit.prune(&self.context, all).await;
        let mut pruned = match (builder(self), &of_kit) {
            (Ok(builder), _) => builder.prune(all).await?,
            (Err(_), Some(_)) => build::Cache::default(),
            (Err(error), None) => return Err(error),
        };
        if let Some(of_kit) = of_kit {
            let of_kit = of_kit?;
            pruned.removed.extend(of_kit.removed);
            pruned.freed.0 += of_kit.freed.0;
        }
        Ok(BuildPruned { removed: pruned.removed, freed: pruned.freed })
    }

    async fn build_kit(&self) -> Result<bool> {
        kit::is_here(&self.context).await
    }

    async fn build_wire(&self, kind: BuildWireKind) -> Result<BuildWire> {
        self.kit.wire(&self.context, kind).await
    }
}

/// Builds by buildah. What its steps are handed is not known of clients that have a builder's language.
async fn by_buildah(
    calls: &Calls,
    request: BuildRequest,
    secrets: Option<BuildSecrets>,
    archive: ByteStream,
) -> Result<ResultStream<BuildStep>> {
    let builder = builder(calls)?;
    refuse_platform(&request.platform)?;
    for name in &request.names {
        Reference::parse(name).map_err(|error| error.at("names"))?;
    }
    let work = Work { context: calls.context.clone(), builder, id: id(), request, secrets };
    let (context, kit) = (calls.context.clone(), calls.kit.clone());
    let calls = Calls { context, builds: calls.builds.clone(), kit };
    let (told, outcome) = oneshot::channel();
    // Whoever asked may go away at any time, also while the context comes; what is on the disk by then
    // is taken away by who put it there.
    tokio::spawn(async move {
        work.begin(&calls, archive, told).await;
        work.builder.clear(&work.id).await;
    });
    outcome.await.context(ErrorKind::Internal, || "a build got lost".to_owned())?
}

fn record(record: build::CacheRecord) -> BuildCache {
    let build::CacheRecord { id, name, created, size } = record;
    BuildCache { id, name, created, size }
}

fn builder(calls: &Calls) -> Result<Builder> {
    let cgroup = format!("/hull-{}/builds", calls.context.tag);
    Builder::find(&calls.context.places.build(), &cgroup, calls.builds.clone())
}

fn id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// A builder of one machine builds for that machine.
fn refuse_platform(text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    if text.contains(',') {
        return Err(Error::unsupported("an image is built for one platform at a time here")
            .at("platform")
            .next("build for each platform on a machine of its kind"));
    }
    let platform: Platform = text.parse().map_err(|error: Error| error.at("platform"))?;
    let host = Platform::host();
    if host.distance(&platform).is_some() {
        return Ok(());
    }
    Err(Error::unsupported(format!("this node builds for {host}, not for {platform}"))
        .at("platform")
        .next("build on a machine of that kind"))
}

struct Work {
    context: Arc<Context>,
    builder: Builder,
    id: String,
    request: BuildRequest,
    secrets: Option<BuildSecrets>,
}

impl Work {
    /// Does all of it. What is wrong with the context is told before anything is said.
    async fn begin(
        &self,
        calls: &Calls,
        archive: ByteStream,
        told: oneshot::Sender<Result<ResultStream<BuildStep>>>,
    ) {
        let job = match self.prepare(archive).await {
            Ok(job) => job,
            Err(error) => {
                self.builder.clear(&self.id).await;
                let _ = told.send(Err(error));
                return;
            }
        };
        let (sender, receiver) = mpsc::channel(WAITING);
        let stream: ResultStream<BuildStep> = Box::pin(ReceiverStream::new(receiver));
        if told.send(Ok(stream)).is_err() {
            return;
        }
        let outcome = tokio::select! {
            outcome = self.run(calls, job, &sender) => outcome,
            () = sender.closed() => Ok(()),
        };
        if let Err(error) = outcome {
            self.builder.clear(&self.id).await;
            let _ = sender.send(Err(error)).await;
        }
    }

    /// Unpacks the context and reads the Dockerfile.
    async fn prepare(&self, archive: ByteStream) -> Result<Job> {
        let place = self.builder.place(&self.id)?;
        let request = &self.request;
        let mut job = Job {
            id: self.id.clone(),
            target: request.target.clone(),
            arguments: request.arguments.clone(),
            labels: request.labels.clone(),
            platform: request.platform.clone(),
            no_cache: request.no_cache,
            squash: request.squash,
            extra_hosts: request.extra_hosts.clone(),
            shm_size: request.shm_size,
            ulimits: request.ulimits.clone(),
            limits: limits(&request.limits),
            ..Job::default()
        };
        if !request.remote.is_empty() {
            job.context = build::Context::remote(&request.remote)?;
            job.dockerfile_path.clone_from(&request.dockerfile);
            return Ok(job);
        }
        let directory = place.join("context");
        unpack(directory.clone(), archive).await?;
        let text = dockerfile(&directory, &request.dockerfile)?;
        if request.dockerfile == ignored::OWN_DOCKERFILE {
            // It came with the context, and is none of it.
            let _ = std::fs::remove_file(directory.join(ignored::OWN_DOCKERFILE));
        }
        refuse_mounts(&text, self.secrets.is_some())?;
        job.dockerfile = Some(text);
        job.context = build::Context::Directory(directory);
        Ok(job)
    }

    async fn run(
        &self,
        calls: &Calls,
        mut job: Job,
        sender: &mpsc::Sender<Result<BuildStep>>,
    ) -> Result<()> {
        let _busy = self.builder.busy().await;
        let site = match self.request.reach {
            BuildReach::World => Some(Site::open(&self.context).await?),
            BuildReach::Host | BuildReach::Nothing => None,
        };
        let namespace = match (&site, self.request.reach) {
            (Some(site), _) => Some(site.namespace.clone()),
            (None, BuildReach::Nothing) => Some(network::new_namespace().await?),
            (None, BuildReach::Host | BuildReach::World) => None,
        };
        if let Some(namespace) = &namespace {
            let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
            let resolv_conf = site.as_ref().map(|site| site.resolv_conf.clone());
            job.network = Network::Namespace {
                path: path.into(),
                resolv_conf: resolv_conf.unwrap_or_default(),
            };
        }
        let handed = self.secrets.as_ref().filter(|secrets| !secrets.is_empty());
        // Held to the end as well.
        let files = handed
            .map(|secrets| secrets::Files::write(&self.context.places, &self.id, secrets))
            .transpose()?;
        job.secrets = files.as_ref().map(secrets::Files::list).unwrap_or_default();
        let supplier = Supplier::new(self.context.clone(), &self.request, sender.clone());
        // Held to the end: the builder enters by this process's descriptor.
        let (supply, _serving) = supplier.serve(namespace.clone()).await?;
        let mut building = self.builder.build(&job, &supply)?;
        let mut failed = None;
        while let Some(step) = building.next().await {
            match step {
                Step::Text(text) => _ = sender.send(Ok(BuildStep::Text { text })).await,
                Step::Failed { message, code } => failed = Some((message, code)),
            }
        }
        match (building.end().await?, failed) {
            (Ended::Well, _) => {}
            (Ended::Badly { .. }, Some((message, code))) => {
                let _ = sender.send(Ok(BuildStep::Failed { message, code })).await;
                return Ok(());
            }
            (Ended::Badly { code }, None) => {
                let message = match code {
                    Some(code) => format!("the builder ended with code {code}"),
                    None => "the builder was killed; it may have run out of memory".to_owned(),
                };
                let _ = sender.send(Ok(BuildStep::Failed { message, code: None })).await;
                return Ok(());
            }
        }
        drop(building);
        let built = self.take_in(calls).await?;
        let _ = sender.send(Ok(built)).await;
        Ok(())
    }

    /// Makes what was built an image of this node.
    async fn take_in(&self, calls: &Calls) -> Result<BuildStep> {
        let made = self.builder.built(&self.id)?;
        let layout = self.builder.export(&self.id, &made).await?;
        let local = &self.context.images.local;
        let taken = local.import_directory(&layout, ImportOptions::default()).await?;
        self.context.images.forget();
        let image = taken.into_iter().next();
        let image = image.ok_or_else(|| Error::internal("the builder made no image"))?;
        let mut names = Vec::new();
        for name in &self.request.names {
            tag(calls, &image.id, name, false).await?;
            names.push(Reference::parse(name)?.to_string());
        }
        Ok(BuildStep::Built { id: image.id, names })
    }
}

fn limits(asked: &BuildLimits) -> build::Limits {
    build::Limits {
        memory: asked.memory,
        memory_swap: asked.memory_swap,
        cpu_shares: asked.cpu_shares,
        cpu_quota: asked.cpu_quota,
        cpu_period: asked.cpu_period,
        cpus: asked.cpus.clone(),
    }
}

/// Unpacks a context, compressed or not. Its entries reach nothing outside the directory.
async fn unpack(directory: PathBuf, archive: ByteStream) -> Result<()> {
    std::fs::create_dir_all(&directory)
        .context(ErrorKind::Internal, || "the context's directory cannot be made".to_owned())?;
    let reader = StreamReader::new(archive.map_err(std::io::Error::other));
    let reader = images::decompressed(reader).await?.take(LARGEST + 1);
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut reader = SyncIoBridge::new(reader);
        let root = Rootfs::at(&directory)?;
        let options = UnpackOptions { keep_owners: true, ..UnpackOptions::default() };
        root.unpack("/", &options, &mut reader)?;
        // What stands behind the archive's end is read too, or the sender would be cut off.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
        match reader.into_inner().limit() {
            0 => Err(Error::exhausted("the context is over 64 GiB").at("context")),
            _ => Ok(()),
        }
    });
    unpacked.await.context(ErrorKind::Internal, || "unpacking a context broke off".to_owned())?
}

/// The Dockerfile's text. A link to it is followed inside the context only.
fn dockerfile(directory: &Path, path: &str) -> Result<String> {
    let root = Rootfs::at(directory)?;
    let path = if path.is_empty() { "Dockerfile" } else { path };
    let candidates: &[&str] = match path {
        // A client that names none means either.
        "Dockerfile" => &["Dockerfile", "dockerfile"],
        _ => &[path],
    };
    for candidate in candidates {
        match root.read_text(candidate, DOCKERFILE) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Ok(text) if text.trim().is_empty() => {
                return Err(Error::invalid(format!("the Dockerfile ({path}) cannot be empty")));
            }
            text => return text,
        }
    }
    Err(Error::not_found(format!("Cannot locate specified Dockerfile: {path}")))
}

/// Refuses mounts of what only BuildKit's clients hand over: without it a step would run with nothing there.
/// Secrets are refused where it is not `known` which there are.
fn refuse_mounts(dockerfile: &str, known: bool) -> Result<()> {
    let text = dockerfile.replace("\\\r\n", " ").replace("\\\n", " ");
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("RUN")) {
            continue;
        }
        let flags = words.take_while(|word| word.starts_with("--"));
        let mounts = flags.filter_map(|flag| flag.strip_prefix("--mount="));
        let kind = |mount: &str| {
            mount.split(',').find_map(|part| part.strip_prefix("type=").map(str::to_owned))
        };
        let refused = |kind: &String| kind == "ssh" || kind == "secret" && !known;
        if let Some(kind) = mounts.filter_map(kind).find(refused) {
            return Err(Error::unsupported(format!(
                "RUN --mount=type={kind} needs BuildKit, which this engine has none of"
            ))
            .at("dockerfile")
            .next("build with a builder of `docker buildx create`, and --load"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_left_out_silently() {
        for (text, kind) in [
            ("FROM a\nRUN --mount=type=secret,id=x cat /run/secrets/x", Some("secret")),
            ("FROM a\nrun --network=none \\\n  --mount=id=k,type=ssh git clone x", Some("ssh")),
            ("FROM a\nRUN --mount=type=cache,target=/c make", None),
            ("FROM a\nRUN echo --mount=type=secret", None),
            ("FROM a\n# RUN --mount=type=secret", None),
        ] {
            let refused = refuse_mounts(text, false).err().map(|error| error.message().to_owned());
            assert_eq!(refused.is_some(), kind.is_some(), "{text}: {refused:?}");
            assert!(refused.is_none_or(|told| told.contains(kind.unwrap())), "{text}");
        }
    }

    #[test]
    fn one_platform_and_ours() {
        let own = Platform::host().to_string();
        assert!(refuse_platform("").is_ok() && refuse_platform(&own).is_ok());
        for other in ["linux/s390x", "linux/amd64,linux/arm64", "windows/amd64"] {
            let error = refuse_platform(other).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{other}");
        }
    }

    #[test]
    fn dockerfiles_of_a_context() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("dockerfile"), "FROM a").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", at("out")).unwrap();
        assert_eq!(dockerfile(directory.path(), "").unwrap(), "FROM a");
        std::fs::write(at("empty"), "\n").unwrap();
        for absent in ["other", "out", "../x", "empty"] {
            let error = dockerfile(directory.path(), absent).unwrap_err();
            assert!(!error.message().contains("root:"), "{absent}: {error}");
        }
    }
}
