//! Step: the images of all containers are on the node, unpacked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use images::{LayerProgress, Phase as LayerPhase, Progress, PullState};
use model::image::Image;
use model::instance::{ContainerSpec, HealthCheck, ImageVolume, Instance, Probe, Reason};
use model::{Bytes, Error, Result, Uid};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::local::Resolved;
use crate::steps::machine;
use crate::steps::network::User;
use crate::worker::Worker;

/// A start that waits for longer says for what.
const SOON: Duration = Duration::from_secs(1);
/// How far it is, is told this often at most.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The images of an instance, by container.
pub struct ImagesOf {
    images: BTreeMap<String, Arc<Image>>,
}

impl ImagesOf {
    /// Who is to use the instance's interfaces.
    pub fn network_user(&self, wanted: &Instance) -> Result<User> {
        let Some(main) = wanted.spec.main() else { return Ok(User::Processes) };
        match machine::of(wanted, &*self.of(main)?)? {
            Some(_) => Ok(User::Guest),
            None => Ok(User::Processes),
        }
    }

    /// The image of a container.
    pub fn of(&self, container: &ContainerSpec) -> Result<Arc<Image>> {
        self.images.get(&container.name).cloned().ok_or_else(|| {
            Error::internal(format!(
                "the image of container {:?} was not made sure of",
                container.name
            ))
        })
    }
}

/// Makes sure of all images and takes over what they say about how to run them.
pub async fn ensure(worker: &mut Worker, wanted: &Instance) -> Result<ImagesOf> {
    let mut images = BTreeMap::new();
    for container in super::all_in_order(wanted) {
        let pinned = pinned(worker, container).or_else(|| of_source(wanted)).map(str::to_owned);
        let context = worker.context.clone();
        let (told, progress) = Progress::channel();
        let pull = context.images.ensure(&container.image, container.pull, pinned.as_deref(), told);
        let image = awaited(worker, wanted, &container.image, pull, progress).await?;
        check(container, &image)?;
        resolve(worker, wanted, container, &image);
        images.insert(container.name.clone(), image);
    }
    Ok(ImagesOf { images })
}

/// Waits for an image, and says how far it is in the status when that takes a while.
async fn awaited(
    worker: &mut Worker,
    wanted: &Instance,
    name: &str,
    image: impl Future<Output = Result<Arc<Image>>>,
    mut progress: watch::Receiver<PullState>,
) -> Result<Arc<Image>> {
    tokio::pin!(image);
    if let Ok(found) = tokio::time::timeout(SOON, &mut image).await {
        return found;
    }
    let mut told = String::new();
    loop {
        let message = format!("image {name} {}", how_far(&progress.borrow_and_update()));
        if message != told {
            told.clone_from(&message);
            let next = Some("hull events -f".into());
            worker.waits(wanted, Reason { next, ..Reason::new("ImagePulling", message) });
        }
        tokio::select! {
            found = &mut image => return found,
            () = moved_on(&mut progress) => {}
        }
    }
}

/// Waits until a pull is further than it was, and a while at least: each step is written down.
async fn moved_on(progress: &mut watch::Receiver<PullState>) {
    tokio::time::sleep(TELL_EVERY).await;
    if progress.changed().await.is_err() {
        std::future::pending().await
    }
}

/// How far a pull is, in words.
fn how_far(state: &PullState) -> String {
    let on_their_way = |layer: &&LayerProgress| {
        matches!(layer.phase, LayerPhase::Waiting | LayerPhase::Downloading)
    };
    if !state.layers.is_empty() && !state.layers.iter().any(|layer| on_their_way(&layer)) {
        return "is being unpacked".into();
    }
    let fetched = state.layers.iter().filter(|layer| layer.phase != LayerPhase::Exists);
    let (done, total) = fetched.fold((0, 0), |(done, total), layer| {
        // What is verified or unpacked is here whole.
        let here = if on_their_way(&layer) { layer.done } else { layer.total };
        (done + here.min(layer.total), total + layer.total)
    });
    if total == 0 {
        return "is being fetched".into();
    }
    format!("is being fetched: {} of {}", Bytes(done), Bytes(total))
}

/// The image a container was made from: its command and its writable layer belong to that one, wherever
/// the name points now.
fn pinned<'a>(worker: &'a Worker, container: &'a ContainerSpec) -> Option<&'a str> {
    container.made_from(worker.local.status.container(&container.name))
}

/// Refuses an image that has come to be called as the one that the container was made from.
fn check(container: &ContainerSpec, image: &Image) -> Result<()> {
    if container.image_id.is_empty() || container.image_id == image.id {
        return Ok(());
    }
    let (name, id) = (&container.image, &container.image_id);
    Err(Error::not_found(format!(
        "the image {name} stood for ({id}) is not here any more: {name} is another now"
    ))
    .next("make the instance anew to run what the name stands for now"))
}

/// The image of the machine whose snapshot this one is made of.
fn of_source(wanted: &Instance) -> Option<&str> {
    let source = wanted.spec.machine.as_ref()?.source.as_ref()?;
    Some(source.image.as_str()).filter(|digest| !digest.is_empty())
}

fn resolve(worker: &mut Worker, wanted: &Instance, container: &ContainerSpec, image: &Image) {
    let resolved = Resolved {
        health: health(container, image),
        stop_signal: match container.stop_signal.as_str() {
            "" => image.config.stop_signal.clone(),
            own => own.to_owned(),
        },
    };
    worker.local.resolved.insert(container.name.clone(), resolved);
    let volumes = image_volumes(worker, wanted, container, image);
    let seen = worker.local.status.containers.iter_mut().find(|seen| seen.name == container.name);
    if let Some(seen) = seen {
        seen.image_digest.clone_from(&image.digest);
        seen.volumes = volumes;
    }
}

fn health(container: &ContainerSpec, image: &Image) -> Option<HealthCheck> {
    let check = container.health.as_ref().or(image.config.health.as_ref())?;
    // What is to end is not ill because it has.
    (check.probe != Probe::None && !container.once).then(|| check.clone())
}

/// Volumes for the paths that the image wants one at and nothing else is mounted at. Their identities
/// follow from the instance's, so that a start that is repeated finds those it has made.
fn image_volumes(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
    image: &Image,
) -> Vec<ImageVolume> {
    let lenders: Vec<&ContainerSpec> =
        wanted.spec.lenders(container).into_iter().map(|(lender, _)| lender).collect();
    let taken = |path: &str| {
        let mut all = lenders.iter().copied().chain([container]);
        all.any(|it| it.mounts.iter().any(|mount| mount.target.trim_end_matches('/') == path))
            || lenders.iter().any(|lender| {
                let seen = worker.local.status.container(&lender.name);
                seen.is_some_and(|seen| seen.volumes.iter().any(|volume| volume.target == path))
            })
    };
    let paths = image.config.volumes.iter().map(|path| path.trim_end_matches('/'));
    let wanted = paths.filter(|path| path.starts_with('/') && !path.contains("..") && !taken(path));
    wanted
        .map(|path| {
            let place = format!("{}/{}:{path}", worker.uid, container.name);
            let id = Uid::from_bytes(Sha256::digest(place).into());
            ImageVolume { id, target: path.to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use images::Digest;

    use super::*;

    #[test]
    fn how_far_a_pull_is_counts_what_has_to_come() {
        let layer =
            |phase, done, total| LayerProgress { digest: Digest::of(b""), phase, done, total };
        let told = |layers: Vec<LayerProgress>| how_far(&PullState { target: None, layers });
        assert_eq!(told(Vec::new()), "is being fetched");
        let mib = |count: u64| count << 20;
        let some = vec![
            layer(LayerPhase::Exists, 0, mib(500)),
            layer(LayerPhase::Done, 0, mib(10)),
            layer(LayerPhase::Downloading, mib(5), mib(20)),
            layer(LayerPhase::Waiting, 0, mib(70)),
        ];
        assert_eq!(told(some), "is being fetched: 15 MiB of 100 MiB");
        let last = vec![layer(LayerPhase::Exists, 0, 1), layer(LayerPhase::Unpacking, 1, 1)];
        assert_eq!(told(last), "is being unpacked");
    }
}
