//! Step: one container's writable layer and record.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use containers::{Bind, ContainerConfig, ContainerId, Namespace, UserNamespace};
use images::Digest;
use model::error::Context as _;
use model::image::Image;
use model::instance::{ContainerSpec, Instance, InstanceSpec, Mount, MountKind, Sharing};
use model::{Error, ErrorKind, Result};

use crate::context::Context;
use crate::observe::{LABEL_CONTAINER, LABEL_INSTANCE, engine_id};
use crate::steps::volume::VolumesOf;
use crate::steps::{files, handed, machine, network, volume};
use crate::worker::Worker;

/// What the container stands on.
pub struct Ready<'a> {
    /// Its image.
    pub image: Arc<Image>,
    /// The volumes of all containers.
    pub volumes: &'a VolumesOf,
}

/// Makes the container, and fills its volumes from its image where they are empty.
pub async fn create(
    worker: &mut Worker,
    wanted: &Instance,
    container: &ContainerSpec,
    ready: &Ready<'_>,
) -> Result<()> {
    let id = engine_id(&worker.uid, &wanted.spec, &container.name)
        .ok_or_else(|| Error::internal("a container that is not in its own instance"))?;
    let mut config = config(worker, wanted, container, ready, id.clone())?;
    let machine = machine::of(wanted, &ready.image)?;
    if let Some(image) = machine {
        let mounted = ready.volumes.get(&container.name).map(Vec::as_slice).unwrap_or_default();
        // Counted as a user of its disks before it looks whether it is the only one.
        volume::hold(worker, ready.volumes, container).await?;
        config = machine::outfit(worker, wanted, container, image, mounted, config).await?;
    }
    let created = worker.context.engine.create(&config).await?;
    for warning in created.warnings {
        worker.warn(format!("container {}: {warning}", container.name));
    }
    let engine = worker.context.engine.clone();
    let root = async move || engine.rootfs(&id).await;
    if let Some(image) = machine {
        return machine::furnish(worker, wanted, &ready.image, image, root().await?).await;
    }
    volume::fill(worker, wanted, ready.volumes, container, root).await
}

fn config(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
    ready: &Ready<'_>,
    id: ContainerId,
) -> Result<ContainerConfig> {
    let spec = &wanted.spec;
    let context = &worker.context;
    let log = context.places.log(&worker.uid, container);
    std::fs::create_dir_all(&log)
        .context(ErrorKind::Unavailable, || format!("cannot make {}", log.display()))?;
    Ok(ContainerConfig {
        id,
        labels: labels(worker, wanted, container),
        image: container.image.clone(),
        chain: chain(&ready.image)?,
        image_config: ready.image.config.clone(),
        spec: container.clone(),
        hostname: files::host_name(worker, wanted),
        domainname: spec.domainname.clone(),
        network: network::namespace(context, wanted)?,
        pid: sharing(worker, wanted, container, &spec.pid, "pid")?,
        ipc: sharing(worker, wanted, container, &spec.ipc, "ipc")?,
        uts: sharing(worker, wanted, container, &spec.uts, "uts")?,
        cgroup: sharing(worker, wanted, container, &spec.cgroup, "cgroup")?,
        user: match &spec.user {
            Some(mapping) => UserNamespace::Mapped(mapping.clone()),
            None => UserNamespace::Host,
        },
        binds: binds(worker, wanted, container, ready.volumes)?,
        sysctls: spec.sysctls.clone(),
        cgroup_parent: format!("/hull-{}", context.tag),
        log: Some(log),
    })
}

fn labels(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
) -> BTreeMap<String, String> {
    BTreeMap::from([
        (LABEL_INSTANCE.to_owned(), worker.uid.to_string()),
        (LABEL_CONTAINER.to_owned(), container.name.clone()),
        ("io.monohull.name".to_owned(), wanted.meta.name.clone()),
        ("io.monohull.project".to_owned(), wanted.meta.project.clone()),
    ])
}

fn chain(image: &Image) -> Result<String> {
    let layers: Vec<Digest> = image.layers.iter().map(|id| id.parse()).collect::<Result<_>>()?;
    Ok(images::chain_id(&layers).map(|chain| chain.to_string()).unwrap_or_default())
}

/// Which namespace a wish means. In a group the first container makes it and the others join.
fn sharing(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
    sharing: &Sharing,
    kind: &str,
) -> Result<Namespace> {
    match sharing {
        Sharing::Private => Ok(Namespace::New),
        Sharing::Host => Ok(Namespace::Host),
        Sharing::Group => {
            let main = wanted.spec.main().map(|main| main.name.as_str()).unwrap_or_default();
            if main == container.name {
                return Ok(Namespace::New);
            }
            let pid = worker.local.status.container(main).and_then(|main| main.pid);
            let pid = pid.ok_or_else(|| {
                Error::conflict(format!(
                    "container {:?} shares namespaces with {main:?}, which does not run",
                    container.name
                ))
            })?;
            Ok(Namespace::Path(Context::namespace_of(pid, kind)))
        }
        Sharing::Instance(name) => {
            let other = worker.context.running(&wanted.meta.project, name)?;
            if has_the_hosts(&other.wanted.borrow().spec, kind) {
                return Err(network::of_the_host(name, kind));
            }
            if kind == "ipc" && other.wanted.borrow().spec.ipc != Sharing::Group {
                return Err(Error::conflict(format!(
                    "instance {name:?} does not share its memory"
                ))
                .at("ipc")
                .next(format!("create {name} with --ipc shareable")));
            }
            let pid = worker.context.main_pid(&wanted.meta.project, name)?;
            Ok(Namespace::Path(Context::namespace_of(pid, kind)))
        }
    }
}

fn has_the_hosts(spec: &InstanceSpec, kind: &str) -> bool {
    let shared =
        [("pid", &spec.pid), ("ipc", &spec.ipc), ("uts", &spec.uts), ("cgroup", &spec.cgroup)];
    shared.into_iter().any(|(it, sharing)| it == kind && *sharing == Sharing::Host)
}

fn binds(
    worker: &Worker,
    wanted: &Instance,
    container: &ContainerSpec,
    volumes: &VolumesOf,
) -> Result<Vec<Bind>> {
    let mut binds = files::binds(worker, wanted, container);
    binds.extend(handed::binds(worker, container));
    for mount in &container.mounts {
        if let Some(bind) = host_bind(mount)? {
            binds.push(bind);
        }
    }
    for (mount, read_only) in lent(wanted, container) {
        if let Some(bind) = host_bind(mount)? {
            binds.push(Bind { read_only: bind.read_only || read_only, ..bind });
        }
    }
    for mounted in volumes.get(&container.name).into_iter().flatten() {
        let mut bind = Bind::new(mounted.source.clone(), mounted.target.clone());
        bind.read_only = mounted.read_only;
        binds.push(bind);
    }
    // What lies deeper is mounted later, so that it is not hidden.
    binds.sort_by_key(|bind| bind.target.matches('/').count());
    Ok(binds)
}

/// What a container has of others' mounts, at paths where it has none of its own.
fn lent<'a>(wanted: &'a Instance, container: &'a ContainerSpec) -> Vec<(&'a Mount, bool)> {
    let mut lent: Vec<(&Mount, bool)> = Vec::new();
    let own = |mount: &Mount| container.mounts.iter().any(|it| it.target == mount.target);
    for (lender, read_only) in wanted.spec.lenders(container) {
        for mount in lender.mounts.iter().filter(|mount| !own(mount)) {
            if !lent.iter().any(|(known, _)| known.target == mount.target) {
                lent.push((mount, read_only));
            }
        }
    }
    lent
}

pub fn host_bind(mount: &Mount) -> Result<Option<Bind>> {
    let MountKind::Bind { source, create, propagation, non_recursive } = &mount.kind else {
        return Ok(None);
    };
    let path = Path::new(source);
    if !path.exists() {
        make_source(path, *create)?;
    }
    Ok(Some(Bind {
        source: PathBuf::from(source),
        target: mount.target.clone(),
        read_only: mount.read_only,
        propagation: *propagation,
        recursive: !non_recursive,
    }))
}

fn make_source(path: &Path, create: bool) -> Result<()> {
    if !create {
        return Err(Error::invalid(format!("bind source path does not exist: {}", path.display()))
            .at("mounts")
            .next("make it, or use a volume"));
    }
    std::fs::create_dir_all(path)
        .context(ErrorKind::Unavailable, || format!("cannot make {}", path.display()))
}
