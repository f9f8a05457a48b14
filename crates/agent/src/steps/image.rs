//! Step: the images of all containers are on the node, unpacked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::image::Image;
use model::instance::{ContainerSpec, HealthCheck, ImageVolume, Instance, Probe, Reason};
use model::{Error, Result, Uid};
use sha2::{Digest, Sha256};

use crate::local::Resolved;
use crate::steps::machine;
use crate::steps::network::User;
use crate::worker::Worker;

/// A start that waits for longer says for what.
const SOON: Duration = Duration::from_secs(1);

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
        let image = context.images.ensure(&container.image, container.pull, pinned.as_deref());
        let image = awaited(worker, wanted, &container.image, image).await?;
        check(container, &image)?;
        resolve(worker, wanted, container, &image);
        images.insert(container.name.clone(), image);
    }
    Ok(ImagesOf { images })
}

/// Waits for an image, and says so in the status when that takes a while.
async fn awaited(
    worker: &mut Worker,
    wanted: &Instance,
    name: &str,
    image: impl Future<Output = Result<Arc<Image>>>,
) -> Result<Arc<Image>> {
    tokio::pin!(image);
    if let Ok(found) = tokio::time::timeout(SOON, &mut image).await {
        return found;
    }
    let message = format!("image {name} is being fetched");
    let reason =
        Reason { next: Some("hull events -f".into()), ..Reason::new("ImagePulling", message) };
    worker.waits(wanted, reason);
    image.await
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
