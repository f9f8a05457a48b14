//! Images: fetched, sent, taken in, given out, named, removed.

pub mod disk;
pub mod machine;
pub mod registry;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use images::{ImportOptions, Phase, Platform, PullState, PushOptions, RemoveOptions};
use link::image::{
    ImageDetail, ImportKind, ImportRequest, LayerPhase, Login, Progress, PruneRequest, PullRequest,
    Removed,
};
use link::{ByteStream, ResultStream};
use model::event::Event;
use model::image::{Image, ImageConfig, Reference};
use model::{Error, Kind, Result, Time};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;

use self::registry::credentials;
use super::Calls;
use crate::context::Context;

/// Steps of progress that may wait for a slow reader.
const WAITING: usize = 64;

/// Fetches an image.
pub fn pull(calls: &Calls, request: &PullRequest) -> Result<ResultStream<Progress>> {
    let reference = Reference::parse(&request.name).map_err(|error| error.at("name"))?;
    let platform = platform(&request.platform)?;
    let policy = match request.policy {
        model::instance::PullPolicy::Always => images::PullPolicy::Always,
        model::instance::PullPolicy::Missing => images::PullPolicy::Missing,
        model::instance::PullPolicy::Never => images::PullPolicy::Never,
    };
    let (progress, states) = images::Progress::channel();
    let credentials = request.login.as_ref().map(credentials);
    let options = images::PullOptions { platform, credentials, policy, progress };
    let context = calls.context.clone();
    let work = async move {
        let before = context.images.local.find(&reference.to_string()).await?;
        let image = context.images.puller.pull(&reference, options).await?;
        let unchanged = before.is_some_and(|before| before.digest == image.digest);
        // Who asks at the registry has pulled, whether there is anything newer or not.
        if !unchanged || policy == images::PullPolicy::Always {
            tell(&context, "pull", &reference.familiar(), &image.id);
        }
        Ok([Progress::Done { images: vec![image], unchanged }])
    };
    Ok(with_progress(states, work))
}

fn platform(text: &str) -> Result<Option<Platform>> {
    match text {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error: Error| error.at("platform")),
    }
}

/// Sends an image to its registry.
pub fn push(calls: &Calls, name: String, login: Option<Login>) -> Result<ResultStream<Progress>> {
    let target = Reference::parse(&name).map_err(|error| error.at("name"))?;
    let (progress, states) = images::Progress::channel();
    let credentials = login.as_ref().map(credentials);
    let options = PushOptions { platform: None, credentials, progress };
    let context = calls.context.clone();
    let work = async move {
        let (digest, size) =
            context.images.pusher.push(&target.to_string(), &target, options).await?;
        let image = context.images.local.show(&target.to_string()).await?;
        tell(&context, "push", &target.familiar(), &image.id);
        let pushed = Progress::Pushed { digest: digest.to_string(), size };
        Ok([pushed, Progress::Done { images: vec![image], unchanged: false }])
    };
    Ok(with_progress(states, work))
}

/// Runs `work` and tells how far it is, in a task that ends when nobody listens any more.
fn with_progress<const N: usize>(
    mut states: watch::Receiver<PullState>,
    work: impl Future<Output = Result<[Progress; N]>> + Send + 'static,
) -> ResultStream<Progress> {
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut told = HashMap::new();
        tokio::pin!(work);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                () = sender.closed() => return,
                changed = states.changed() => {
                    if changed.is_err() {
                        break work.await;
                    }
                    let news = news(&states.borrow_and_update(), &mut told);
                    for step in news {
                        let _ = sender.send(Ok(step)).await;
                    }
                }
            }
        };
        let last = news(&states.borrow_and_update(), &mut told);
        for step in last {
            let _ = sender.send(Ok(step)).await;
        }
        match outcome {
            Ok(steps) => {
                for step in steps {
                    let _ = sender.send(Ok(step)).await;
                }
            }
            Err(error) => _ = sender.send(Err(error)).await,
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

type Told = HashMap<String, (LayerPhase, u64)>;

/// What of a state has not been told yet.
fn news(state: &PullState, told: &mut Told) -> Vec<Progress> {
    let mut steps = Vec::new();
    for layer in &state.layers {
        let phase = match layer.phase {
            Phase::Waiting => LayerPhase::Waiting,
            Phase::Downloading => LayerPhase::Downloading,
            Phase::Uploading => LayerPhase::Uploading,
            Phase::Verifying => LayerPhase::Verifying,
            Phase::Exists => LayerPhase::Exists,
            Phase::Unpacking => LayerPhase::Unpacking,
            Phase::Done => LayerPhase::Done,
        };
        let digest = layer.digest.to_string();
        let now = (phase, layer.done);
        if told.insert(digest.clone(), now) != Some(now) {
            steps.push(Progress::Layer { digest, phase, done: layer.done, total: layer.total });
        }
    }
    steps
}

/// Takes images in.
pub fn import(
    calls: &Calls,
    request: &ImportRequest,
    archive: ByteStream,
) -> Result<ResultStream<Progress>> {
    let name = match request.name.as_str() {
        "" => None,
        text => Some(Reference::parse(text).map_err(|error| error.at("name"))?),
    };
    let (kind, action) = match request.kind {
        ImportKind::Auto => (images::ImportKind::Auto, "import"),
        ImportKind::Archive => (images::ImportKind::Archive, "load"),
        ImportKind::RootFs => (images::ImportKind::RootFs, "import"),
    };
    let comment = match request.comment.as_str() {
        "" => "imported".to_owned(),
        comment => comment.to_owned(),
    };
    let (config, platform) = (changes(&request.changes)?, platform(&request.platform)?);
    let options = ImportOptions { kind, name, platform, config, comment };
    let context = calls.context.clone();
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let reader = StreamReader::new(archive.map_err(std::io::Error::other));
        // When the caller leaves, the archive breaks off, and what was taken in of it is cleared away.
        let imported = context.images.local.import(Box::pin(reader), options).await;
        context.images.forget();
        let done = imported.map(|images| {
            for image in &images {
                tell(&context, action, image.names.first().unwrap_or(&image.id), &image.id);
            }
            Progress::Done { images, unchanged: false }
        });
        let _ = sender.send(done).await;
    });
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// The configuration that lines make of none.
fn changes(lines: &[String]) -> Result<ImageConfig> {
    let mut config = ImageConfig::default();
    for line in lines {
        config.change(line)?;
    }
    Ok(config)
}

/// Takes a name away.
pub async fn remove(calls: &Calls, name: &str, force: bool, plan: bool) -> Result<Removed> {
    let context = &calls.context;
    let in_use = |image: &Image| users(context, image);
    let options = RemoveOptions { force, plan, in_use: &in_use };
    let id = context.images.local.show(name).await?.id;
    let removed = context.images.local.remove(name, options).await?;
    if !plan {
        removed.untagged.iter().for_each(|name| tell(context, "untag", name, &id));
    }
    Ok(finish(context, removed, plan))
}

/// Removes images nobody uses.
pub async fn prune(calls: &Calls, request: PruneRequest) -> Result<Removed> {
    let context = &calls.context;
    let in_use = |image: &Image| users(context, image);
    let PruneRequest { all, plan, until, labels, unlabelled } = request;
    let options = images::PruneOptions { all, plan, until, labels, unlabelled, in_use: &in_use };
    let removed = context.images.local.prune(options).await?;
    let removed = finish(context, removed, plan);
    if !plan {
        let details = [("reclaimed".to_owned(), removed.freed.0.to_string())].into();
        context.outbox.put(link::Report::Event(Box::new(event("prune", "", details))));
    }
    Ok(removed)
}

/// Forgets what is gone and says so.
fn finish(context: &Context, removed: images::Removed, plan: bool) -> Removed {
    if !plan {
        context.images.forget();
        for id in &removed.deleted {
            // Most images have none; machines that run from it have names of their own for it.
            let _ = std::fs::remove_file(context.places.unpacked(id));
            tell(context, "delete", id, id);
        }
    }
    Removed { untagged: removed.untagged, deleted: removed.deleted, freed: removed.reclaimed }
}

fn users(context: &Context, image: &Image) -> Option<String> {
    context.users_of(|_, name, digest| match digest {
        "" => Reference::parse(name).is_ok_and(|reference| {
            let name = reference.to_string();
            image.names.contains(&name) || image.digests.contains(&name)
        }),
        digest => digest == image.digest || digest == image.id,
    })
}

/// Gives an image a further name, or says with `plan` whether it could.
pub async fn tag(calls: &Calls, name: &str, new: &str, plan: bool) -> Result<()> {
    let target = Reference::parse(new).map_err(|error| error.at("new"))?;
    if target.digest.is_some() {
        return Err(Error::invalid("a digest cannot be given as a name").at("new"));
    }
    let local = &calls.context.images.local;
    local.tag(name, &target, plan).await?;
    if plan {
        return Ok(());
    }
    calls.context.images.forget();
    let image = local.show(&target.to_string()).await?;
    tell(&calls.context, "tag", &target.familiar(), &image.id);
    Ok(())
}

/// One archive of several images.
pub async fn save(calls: &Calls, names: &[String]) -> Result<ByteStream> {
    if names.is_empty() {
        return Err(Error::invalid("no image is named").at("names"));
    }
    let local = &calls.context.images.local;
    let stream = local.save(names, None).await?;
    for name in names {
        let image = local.show(name).await?;
        tell(&calls.context, "save", name, &image.id);
    }
    Ok(stream.boxed())
}

/// An image as a front-end shows it.
pub async fn detail(calls: &Calls, name: &str) -> Result<ImageDetail> {
    let detail = calls.context.images.local.detail(name).await?;
    let images::Detail { image, file, layers, media_type, size, tagged } = detail;
    Ok(ImageDetail { image, file, layers, media_type, size, tagged })
}

/// Takes a name away and keeps the image.
pub async fn untag(calls: &Calls, name: &str) -> Result<()> {
    let image = calls.context.images.local.untag(name).await?;
    calls.context.images.forget();
    tell(&calls.context, "untag", name, &image.id);
    Ok(())
}

/// Says what happened to the image of that id under that name.
fn tell(context: &Context, action: &str, name: &str, id: &str) {
    let details = [("image".to_owned(), id.to_owned())].into();
    context.outbox.put(link::Report::Event(Box::new(event(action, name, details))));
}

fn event(action: &str, name: &str, details: BTreeMap<String, String>) -> Event {
    Event {
        time: Time::now(),
        kind: Kind::Image,
        action: action.to_owned(),
        project: String::new(),
        name: name.to_owned(),
        id: None,
        by: String::new(),
        labels: Default::default(),
        details,
    }
}

/// All images.
pub async fn list(context: &Arc<Context>) -> Result<Vec<Image>> {
    context.images.local.list().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_make_a_configuration() {
        let lines = ["CMD [\"a\", \"b\"]", "ENV K=v", "EXPOSE 80", "LABEL \"x\"=\"y z\"", "USER 5"];
        let config = changes(&lines.map(str::to_owned)).unwrap();
        assert_eq!(config.command, ["a", "b"]);
        assert_eq!(config.env, ["K=v"]);
        assert_eq!(config.exposed_ports, ["80/tcp"]);
        assert_eq!(config.labels["x"], "y z");
        assert!(changes(&["RUN x".to_owned()]).is_err());
        assert!(changes(&["CMD [a".to_owned()]).is_err());
    }
}
