//! Images: fetched, sent, taken in, given out, named, removed.

pub mod disk;
pub mod machine;

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use images::{Credentials, ImportOptions, Phase, Platform, PullState, PushOptions, RemoveOptions};
use link::image::{ImportRequest, LayerPhase, Login, Progress, PullRequest, Removed};
use link::{ByteStream, ResultStream};
use model::event::Event;
use model::image::{Image, ImageConfig, Reference};
use model::{Error, Kind, Result, Time};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::StreamReader;

use super::Calls;
use crate::context::Context;

/// Steps of progress that may wait for a slow reader.
const WAITING: usize = 64;

/// Fetches an image.
pub fn pull(calls: &Calls, request: &PullRequest) -> Result<ResultStream<Progress>> {
    let reference = Reference::parse(&request.name).map_err(|error| error.at("name"))?;
    let platform: Option<Platform> = match request.platform.as_str() {
        "" => None,
        text => Some(text.parse().map_err(|error: Error| error.at("platform"))?),
    };
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
        if !unchanged {
            tell(&context, "pull", &reference.familiar());
        }
        Ok(Progress::Done { images: vec![image], unchanged })
    };
    Ok(with_progress(states, work))
}

/// Sends an image to its registry.
pub fn push(calls: &Calls, name: String, login: Option<Login>) -> Result<ResultStream<Progress>> {
    let target = Reference::parse(&name).map_err(|error| error.at("name"))?;
    let (progress, states) = images::Progress::channel();
    let credentials = login.as_ref().map(credentials);
    let options = PushOptions { platform: None, credentials, progress };
    let context = calls.context.clone();
    let work = async move {
        context.images.pusher.push(&target.to_string(), &target, options).await?;
        tell(&context, "push", &target.familiar());
        let image = context.images.local.show(&target.to_string()).await?;
        Ok(Progress::Done { images: vec![image], unchanged: false })
    };
    Ok(with_progress(states, work))
}

/// Runs `work` and tells how far it is, in a task that ends when nobody listens any more.
fn with_progress(
    mut states: watch::Receiver<PullState>,
    work: impl Future<Output = Result<Progress>> + Send + 'static,
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
        let _ = sender.send(outcome).await;
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
    let options = ImportOptions {
        name,
        config: changes(&request.changes)?,
        comment: "imported".into(),
        ..ImportOptions::default()
    };
    let context = calls.context.clone();
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let reader = StreamReader::new(archive.map_err(std::io::Error::other));
        // When the caller leaves, the archive breaks off, and what was taken in of it is cleared away.
        let imported = context.images.local.import(Box::pin(reader), options).await;
        context.images.forget();
        let done = imported.map(|images| {
            for image in &images {
                tell(&context, "import", image.names.first().unwrap_or(&image.id));
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
    let removed = context.images.local.remove(name, options).await?;
    Ok(finish(context, removed, "delete", plan))
}

/// Removes images nobody uses.
pub async fn prune(calls: &Calls, all: bool, plan: bool) -> Result<Removed> {
    let context = &calls.context;
    let in_use = |image: &Image| users(context, image);
    let options = images::PruneOptions {
        all,
        plan,
        until: None,
        labels: Default::default(),
        in_use: &in_use,
    };
    let removed = context.images.local.prune(options).await?;
    Ok(finish(context, removed, "prune", plan))
}

fn finish(context: &Context, removed: images::Removed, action: &str, plan: bool) -> Removed {
    if !plan {
        context.images.forget();
        for id in &removed.deleted {
            // Most images have none; machines that run from it have names of their own for it.
            let _ = std::fs::remove_file(context.places.unpacked(id));
        }
        removed.untagged.iter().for_each(|name| tell(context, "untag", name));
        removed.deleted.iter().for_each(|id| tell(context, action, id));
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
    calls.context.images.local.tag(name, &target, plan).await?;
    if plan {
        return Ok(());
    }
    calls.context.images.forget();
    tell(&calls.context, "tag", &target.familiar());
    Ok(())
}

/// One archive of several images.
pub async fn save(calls: &Calls, names: &[String]) -> Result<ByteStream> {
    if names.is_empty() {
        return Err(Error::invalid("no image is named").at("names"));
    }
    let stream = calls.context.images.local.save(names, None).await?;
    Ok(stream.boxed())
}

/// Checks a login and keeps it.
pub async fn login(calls: &Calls, login: &Login) -> Result<()> {
    let registry = registry_of(&login.registry);
    calls.context.images.puller.login(&registry, credentials(login)).await
}

/// Forgets a login.
pub async fn logout(calls: &Calls, registry: &str) -> Result<()> {
    let registry = registry_of(registry);
    if calls.context.images.puller.logout(&registry).await? {
        return Ok(());
    }
    Err(Error::not_found(format!("there is no login for {registry}")))
}

fn registry_of(name: &str) -> String {
    match name.trim_end_matches('/') {
        "" | "https://index.docker.io/v1" | "index.docker.io" | "registry-1.docker.io" => {
            "docker.io".into()
        }
        name => {
            let host = name.split_once("://").map_or(name, |(_, host)| host);
            host.split('/').next().unwrap_or(host).to_owned()
        }
    }
}

fn credentials(login: &Login) -> Credentials {
    match login.identity_token.as_str() {
        "" => Credentials::Basic { user: login.username.clone(), password: login.password.clone() },
        token => Credentials::Identity { token: token.to_owned() },
    }
}

fn tell(context: &Context, action: &str, name: &str) {
    let event = Event {
        time: Time::now(),
        kind: Kind::Image,
        action: action.to_owned(),
        project: String::new(),
        name: name.to_owned(),
        id: None,
        by: String::new(),
        labels: Default::default(),
        details: Default::default(),
    };
    context.outbox.put(link::Report::Event(Box::new(event)));
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

    #[test]
    fn registries_are_named_in_many_ways() {
        for name in ["", "docker.io", "https://index.docker.io/v1/", "index.docker.io"] {
            assert_eq!(registry_of(name), "docker.io", "{name}");
        }
        assert_eq!(registry_of("https://r.example:5000/v2/"), "r.example:5000");
    }
}
