//! Step: the volumes of all containers exist, are mounted and are given to the instance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use containers::rootfs::Rootfs;
use faults::may_die;
use model::error::Context as _;
use model::instance::{ContainerSpec, Instance, MountKind};
use model::{Error, ErrorKind, Result};
use volumes::{CreateVolume, Populate, Publish, Source, VolumeId};

use crate::context::Context;
use crate::steps::image::ImagesOf;
use crate::worker::Worker;

/// A volume mounted for a container.
pub struct Mounted {
    /// Its id at the driver.
    pub id: VolumeId,
    /// Where its contents are on the node.
    pub path: PathBuf,
    /// Path inside the container.
    pub target: String,
    /// Fill it from the image if it is empty.
    pub fill: bool,
    /// It cannot be written through this mount.
    pub read_only: bool,
    /// Directory in it that is mounted.
    pub subpath: String,
}

/// Volumes by container.
pub type VolumesOf = BTreeMap<String, Vec<Mounted>>;

/// Makes sure of all volumes of all containers.
pub async fn attach(worker: &mut Worker, wanted: &Instance, _: &ImagesOf) -> Result<VolumesOf> {
    let mut volumes = VolumesOf::new();
    for container in wanted.spec.all_containers() {
        let mut mounted = Vec::new();
        for (request, mount) in named(worker, wanted, container)? {
            mounted.push(stage(&worker.context, wanted, request, mount).await?);
        }
        for (request, mount) in unnamed(worker, container)? {
            mounted.push(stage(&worker.context, wanted, request, mount).await?);
        }
        if !mounted.is_empty() {
            volumes.insert(container.name.clone(), mounted);
        }
    }
    Ok(volumes)
}

/// What of a [`Mounted`] the spec says.
struct Wish {
    target: String,
    fill: bool,
    read_only: bool,
    subpath: String,
}

fn named(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
) -> Result<Vec<(CreateVolume, Wish)>> {
    let mut found = Vec::new();
    for mount in &container.mounts {
        let MountKind::Volume { name, subpath, no_copy } = &mount.kind else { continue };
        let volume = worker.context.volume(&wanted.meta.project, name)?;
        let wish = Wish {
            target: mount.target.clone(),
            fill: !no_copy && subpath.is_empty(),
            read_only: mount.read_only,
            subpath: subpath.clone(),
        };
        found.push((request_of(&worker.context, &volume)?, wish));
    }
    Ok(found)
}

fn unnamed(worker: &Worker, container: &ContainerSpec) -> Result<Vec<(CreateVolume, Wish)>> {
    let Some(resolved) = worker.local.resolved.get(&container.name) else { return Ok(Vec::new()) };
    resolved
        .image_volumes
        .iter()
        .map(|(id, target)| {
            let id: VolumeId = id.parse()?;
            let name = format!("{target} of container {}", container.name);
            let wish = Wish {
                target: target.clone(),
                fill: true,
                read_only: false,
                subpath: String::new(),
            };
            Ok((CreateVolume::new(id, name), wish))
        })
        .collect()
}

/// What is asked of the driver for a volume of the store.
pub fn request_of(context: &Context, volume: &model::volume::Volume) -> Result<CreateVolume> {
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
        size: volume.spec.size,
        source,
        options: volume.spec.options.clone(),
    })
}

async fn stage(
    context: &Context,
    wanted: &Instance,
    request: CreateVolume,
    wish: Wish,
) -> Result<Mounted> {
    let driver = context.volumes.as_ref();
    let id = request.id.clone();
    match driver.show(&id).await {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            driver.create(request).await?;
            may_die("volume.made");
        }
        Err(error) => return Err(error),
    }
    driver.node_stage(&id).await?;
    may_die("volume.staged");
    let path = driver.show(&id).await?.path.ok_or_else(|| {
        Error::internal(format!("volume {id} of {} has no path after staging", wanted.title()))
    })?;
    let Wish { target, fill, read_only, subpath } = wish;
    Ok(Mounted { id, path, target, fill, read_only, subpath })
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
    let driver = worker.context.volumes.as_ref();
    if mounted.iter().any(|mounted| mounted.fill) {
        let root = root().await?;
        for mounted in mounted.iter().filter(|mounted| mounted.fill) {
            let path = PathBuf::from(&mounted.target);
            let owner = wanted.spec.user.as_ref().map(|map| (map.first_uid, map.first_gid));
            driver.populate(&mounted.id, Populate { root: root.path(), path, owner }).await?;
            may_die("volume.filled");
        }
    }
    for mounted in mounted {
        let consumer = worker.uid.to_string();
        driver.node_publish(Publish { volume: mounted.id.clone(), consumer }).await?;
    }
    Ok(())
}

impl Mounted {
    /// What is bound into the container: the volume, or the directory in it, which is made if it is
    /// missing and may not lead out of the volume.
    pub fn source(&self) -> Result<PathBuf> {
        if self.subpath.is_empty() {
            return Ok(self.path.clone());
        }
        let wanted = self.path.join(&self.subpath);
        std::fs::create_dir_all(&wanted)
            .and_then(|()| std::fs::canonicalize(&wanted))
            .context(ErrorKind::Unavailable, || format!("cannot make {}", wanted.display()))
            .and_then(|found| self.inside(&found))
    }

    fn inside(&self, found: &Path) -> Result<PathBuf> {
        let root = std::fs::canonicalize(&self.path)
            .context(ErrorKind::Unavailable, || format!("cannot read {}", self.path.display()))?;
        if found.starts_with(&root) {
            Ok(found.to_owned())
        } else {
            Err(Error::invalid(format!("{:?} leads out of the volume", self.subpath)).at("subpath"))
        }
    }
}

/// Ends the instance's hold on its volumes.
pub async fn detach(worker: &Worker, wanted: &Instance) -> Result<()> {
    let driver = worker.context.volumes.as_ref();
    for id in held(worker, wanted) {
        volumes::detach(driver, &id, worker.uid.as_str()).await?;
    }
    Ok(())
}

/// Removes the volumes that were made because the image wanted them.
pub async fn delete_image_volumes(worker: &Worker) -> Result<()> {
    let resolved = worker.local.resolved.values();
    for (id, _) in resolved.flat_map(|resolved| &resolved.image_volumes) {
        worker.context.volumes.delete(&id.parse()?).await?;
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
    let resolved = worker.local.resolved.values();
    let unnamed = resolved.flat_map(|resolved| &resolved.image_volumes);
    ids.extend(unnamed.filter_map(|(id, _)| id.parse().ok()));
    ids.sort();
    ids.dedup();
    ids
}
