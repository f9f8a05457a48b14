//! Step: the volumes of all containers exist, are mounted and are given to the instance.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use containers::rootfs::Rootfs;
use faults::may_die;
use model::instance::{ContainerSpec, DiskOptions, ImageVolume, Instance, MountKind};
use model::volume::Volume;
use model::{Bytes, Error, ErrorKind, Result};
use volumes::{
    CreateVolume, Driver as _, Populate, Publish, Services, Source, VolumeId, VolumeInfo,
};

use crate::context::Context;
use crate::steps::image::ImagesOf;
use crate::worker::Worker;

/// A volume mounted for a container.
#[derive(Clone)]
pub struct Mounted {
    /// Its id at the driver.
    pub id: VolumeId,
    /// What is mounted: its contents on the node, or the part of them that is asked for, at a place of
    /// ours.
    pub source: PathBuf,
    /// Path inside the container.
    pub target: String,
    /// Fill it from the image if it is empty.
    pub fill: bool,
    /// It cannot be written through this mount.
    pub read_only: bool,
    /// It is a machine's disk.
    pub disk: Option<Disk>,
}

/// A disk in a volume.
#[derive(Clone)]
pub struct Disk {
    /// The volume's name.
    pub name: String,
    /// What was asked of it.
    pub options: DiskOptions,
}

/// Volumes by container.
pub type VolumesOf = BTreeMap<String, Vec<Mounted>>;

/// Makes sure of all volumes of all containers.
pub async fn attach(worker: &mut Worker, wanted: &Instance, _: &ImagesOf) -> Result<VolumesOf> {
    let mut volumes = VolumesOf::new();
    for container in super::all_in_order(wanted) {
        let mut mounted: Vec<Mounted> = Vec::new();
        for (asked, wish) in named(worker, wanted, container)? {
            mounted.push(stage(worker, asked, wish).await?);
        }
        for (asked, wish) in unnamed(worker, container) {
            mounted.push(stage(worker, asked, wish).await?);
        }
        for from in &container.volumes_from {
            let lent = volumes.get(&from.container).into_iter().flatten();
            let own = |path: &str| container.mounts.iter().any(|mount| mount.target == path);
            for lent in lent.filter(|lent| !own(&lent.target)) {
                if mounted.iter().any(|it| it.target == lent.target) {
                    continue;
                }
                // Filled from the image of whom it is of.
                let read_only = lent.read_only || from.read_only;
                mounted.push(Mounted { fill: false, read_only, ..lent.clone() });
            }
        }
        if !mounted.is_empty() {
            volumes.insert(container.name.clone(), mounted);
        }
    }
    Ok(volumes)
}

/// The volumes that are a machine's disks, made sure of and counted as its own.
pub async fn disks(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<Vec<(Mounted, Disk)>> {
    let mut found = Vec::new();
    for (asked, wish) in named(worker, wanted, container)? {
        if wish.disk.is_none() {
            continue;
        }
        let mut mounted = stage(worker, asked, wish).await?;
        let Some(disk) = mounted.disk.take() else { continue };
        publish(worker, &mounted).await?;
        found.push((mounted, disk));
    }
    Ok(found)
}

/// Who asked for a volume.
enum Asked {
    /// The spec, for one of the store.
    Spec(Arc<Volume>),
    /// The image.
    Image(ImageVolume),
}

impl Asked {
    fn id(&self) -> VolumeId {
        match self {
            Asked::Spec(volume) => VolumeId::from(&volume.meta.id),
            Asked::Image(volume) => VolumeId::from(&volume.id),
        }
    }

    fn size(&self) -> Option<Bytes> {
        match self {
            Asked::Spec(volume) => volume.spec.size,
            Asked::Image(_) => None,
        }
    }

    /// What makes it. What it is to begin with is needed only then, and may be gone later.
    fn request(&self, context: &Context) -> Result<CreateVolume> {
        match self {
            Asked::Spec(volume) => request_of(context, volume),
            Asked::Image(volume) => Ok(CreateVolume::new(self.id(), volume.name())),
        }
    }
}

/// What of a [`Mounted`] the spec says.
struct Wish {
    disk: Option<Disk>,
    target: String,
    fill: bool,
    read_only: bool,
    part: Option<Part>,
}

/// A part of a volume.
struct Part {
    /// Where it is in the volume.
    subpath: String,
    /// Where it is mounted on the node.
    place: PathBuf,
    /// The user and group of directories that are made for it.
    owner: Option<(u32, u32)>,
}

fn named(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<Vec<(Asked, Wish)>> {
    let mut found = Vec::new();
    let places = worker.context.places.subpaths(&worker.uid);
    let owner = wanted.spec.user.as_ref().map(|map| (map.first_uid, map.first_gid));
    for (index, mount) in container.mounts.iter().enumerate() {
        let MountKind::Volume { name, subpath, no_copy } = &mount.kind else { continue };
        let part = (!subpath.is_empty()).then(|| Part {
            subpath: subpath.clone(),
            place: places.join(format!("{}.{index}", container.name)),
            owner,
        });
        let volume = worker.context.volume(&wanted.meta.project, name)?;
        let disk = mount.disk.clone();
        let wish = Wish {
            disk: disk.map(|options| Disk { name: name.clone(), options }),
            target: mount.target.clone(),
            fill: !no_copy && subpath.is_empty(),
            read_only: mount.read_only,
            part,
        };
        found.push((Asked::Spec(volume), wish));
    }
    Ok(found)
}

fn unnamed(worker: &Worker, container: &ContainerSpec) -> Vec<(Asked, Wish)> {
    let seen = worker.local.status.container(&container.name);
    let volumes = seen.into_iter().flat_map(|seen| &seen.volumes);
    let wanted = volumes.map(|volume| {
        let wish = Wish {
            disk: None,
            target: volume.target.clone(),
            fill: true,
            read_only: false,
            part: None,
        };
        (Asked::Image(volume.clone()), wish)
    });
    wanted.collect()
}

/// What is asked of the driver for a volume of the store.
pub fn request_of(context: &Context, volume: &Volume) -> Result<CreateVolume> {
    let source = match &volume.spec.source {
        None => None,
        Some(model::volume::VolumeSource::Volume(name)) => {
            let source = context.volume(&volume.meta.project, name)?;
            Some(Source::Volume(VolumeId::from(&source.meta.id)))
        }
        Some(model::volume::VolumeSource::Snapshot(name)) => {
            let desired = context.desired.borrow();
            let found = desired.snapshots.iter().find(|snapshot| {
                snapshot.meta.project == volume.meta.project && snapshot.meta.name == *name
            });
            let snapshot = found.ok_or_else(|| {
                Error::not_found(format!(
                    "snapshot {name:?}, from which volume {:?} is to be made, is not on this node",
                    volume.meta.name
                ))
            })?;
            Some(Source::Snapshot(VolumeId::from(&snapshot.meta.id)))
        }
    };
    Ok(CreateVolume {
        id: VolumeId::from(&volume.meta.id),
        name: volume.meta.name.clone(),
        storage: volume.spec.storage.clone(),
        size: volume.spec.size,
        source,
        options: volume.spec.options.clone(),
    })
}

async fn stage(worker: &Worker, asked: Asked, wish: Wish) -> Result<Mounted> {
    let (context, driver) = (&worker.context, &worker.context.volumes);
    let (id, size) = (asked.id(), asked.size());
    match driver.show(&id).await {
        Ok(info) if info.size < size => grow(driver, &info, size).await?,
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            driver.create(asked.request(context)?).await?;
            may_die("volume.made");
        }
        Err(error) => return Err(error),
    }
    driver.node_stage(&id).await?;
    may_die("volume.staged");
    let path = driver.node_claim(&user(worker, &id)).await?;
    may_die("volume.claimed");
    tell_place(worker, &id);
    let Wish { disk, target, fill, read_only, part } = wish;
    let source = match part {
        None => path,
        Some(Part { subpath, place, owner }) => {
            volumes::subpath::mount(&path, &subpath, &place, owner)?;
            may_die("volume.part");
            place
        }
    };
    Ok(Mounted { id, source, target, fill, read_only, disk })
}

/// Has it told where a plugin's volume is: that changes with its users.
fn tell_place(worker: &Worker, volume: &VolumeId) {
    if worker.context.volumes.plugins().has(volume) {
        worker.context.storage.wake();
    }
}

/// Gives a volume that could not be grown while it was used its size, before it is used again. One that
/// others use has to stay as it is.
async fn grow(driver: &Services, info: &VolumeInfo, size: Option<Bytes>) -> Result<()> {
    match size {
        Some(size) if !info.staged() => driver.expand(&info.id, size).await.map(drop),
        _ => Ok(()),
    }
}

/// Fills the container's volumes from its image where they are empty, then counts the instance as
/// their user. The container must have been created.
pub async fn fill(
    worker: &Worker,
    wanted: &Instance,
    volumes: &VolumesOf,
    container: &ContainerSpec,
    root: impl AsyncFnOnce() -> Result<Rootfs>,
) -> Result<()> {
    let Some(mounted) = volumes.get(&container.name) else { return Ok(()) };
    let driver = &worker.context.volumes;
    if mounted.iter().any(|mounted| mounted.fill) {
        let root = root().await?;
        for mounted in mounted.iter().filter(|mounted| mounted.fill) {
            let path = PathBuf::from(&mounted.target);
            let owner = wanted.spec.user.as_ref().map(|map| (map.first_uid, map.first_gid));
            driver.populate(&mounted.id, Populate { root: root.path(), path, owner }).await?;
            may_die("volume.filled");
        }
    }
    hold(worker, volumes, container).await
}

/// Counts the instance as a user of the container's volumes.
pub async fn hold(worker: &Worker, volumes: &VolumesOf, container: &ContainerSpec) -> Result<()> {
    for mounted in volumes.get(&container.name).into_iter().flatten() {
        publish(worker, mounted).await?;
    }
    Ok(())
}

async fn publish(worker: &Worker, mounted: &Mounted) -> Result<()> {
    worker.context.volumes.node_publish(user(worker, &mounted.id)).await.map(drop)
}

/// The instance as the user of a volume.
fn user(worker: &Worker, volume: &VolumeId) -> Publish {
    Publish { volume: volume.clone(), consumer: worker.uid.to_string() }
}

/// Ends a machine's hold on volumes that it mounts no more, but for those of these names, which its guest
/// has not let go of.
pub async fn release_others(worker: &Worker, wanted: &Instance, names: &[String]) -> Result<()> {
    let driver = &worker.context.volumes;
    let (held, user) = (held(worker, wanted), worker.uid.as_str());
    for volume in driver.list().await? {
        let its = volume.published.iter().any(|by| by == user);
        if its && !held.contains(&volume.id) && !names.contains(&volume.name) {
            // What runs has its own mounts of them.
            unmount_parts(worker)?;
            volumes::detach(driver, &volume.id, user).await?;
            worker.context.storage.wake();
        }
    }
    Ok(())
}

/// Ends the instance's hold on its volumes.
pub async fn detach(worker: &Worker, wanted: &Instance) -> Result<()> {
    let driver = &worker.context.volumes;
    let held = held(worker, wanted);
    unmount_parts(worker)?;
    may_die("volume.parts-gone");
    for id in &held {
        volumes::detach(driver, id, worker.uid.as_str()).await?;
        tell_place(worker, id);
    }
    if worker.local.status.machine.is_some() {
        release_others(worker, wanted, &[]).await?;
    }
    if !held.is_empty() {
        // What could not be done to them while they were used.
        worker.context.storage.wake();
    }
    Ok(())
}

fn unmount_parts(worker: &Worker) -> Result<()> {
    volumes::subpath::unmount_all(&worker.context.places.subpaths(&worker.uid))
}

/// Removes the volumes that its image asked for and that control has not heard of: the start was called
/// off before. Those it knows are kept or removed as it says.
pub async fn delete_unheard(worker: &Worker) -> Result<()> {
    let desired = worker.context.desired.borrow().clone();
    let containers = worker.local.status.containers.iter();
    for volume in containers.flat_map(|container| &container.volumes) {
        if !desired.volumes.iter().any(|known| known.meta.id == volume.id) {
            worker.context.volumes.delete(&VolumeId::from(&volume.id)).await?;
        }
    }
    Ok(())
}

fn held(worker: &Worker, wanted: &Instance) -> Vec<VolumeId> {
    let mut ids = Vec::new();
    for container in wanted.spec.all_containers() {
        for mount in &container.mounts {
            if let MountKind::Volume { name, .. } = &mount.kind
                && let Ok(volume) = worker.context.volume(&wanted.meta.project, name)
            {
                ids.push(VolumeId::from(&volume.meta.id));
            }
        }
    }
    let containers = worker.local.status.containers.iter();
    let unnamed = containers.flat_map(|container| &container.volumes);
    ids.extend(unnamed.map(|volume| VolumeId::from(&volume.id)));
    ids.sort();
    ids.dedup();
    ids
}
