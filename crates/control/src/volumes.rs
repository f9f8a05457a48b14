//! Volumes: named storage.

use std::sync::Arc;

use link::storage::{Plugin, PluginVolume, PluginVolumes};
use model::event::Event;
use model::instance::{Instance, MountKind, Reach};
use model::meta::Owner;
use model::volume::{LOCAL, Volume, VolumeNoun, VolumePhase, VolumeSource, VolumeSpec};
use model::{Bytes, Error, Kind, Meta, Object, Result, Time};

use crate::batch::Batch;
use crate::caller::{Caller, Verb, authorise, stay_inside};
use crate::core::Mode;
use crate::mirror::State;
use crate::networks::some_of;
use crate::quotas;
use crate::reconcile::AGENT;
use crate::service::{Context, Rules, Service, find, first_difference};

/// The verbs of volumes.
pub type Volumes = Service<VolumeNoun>;

/// What a prune took away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruned {
    /// Names of what is gone, or on its way out.
    pub names: Vec<String>,
    /// Bytes that were promised to them; what they held is not known here.
    pub size: Bytes,
}

/// Most objects removed in one commit.
const AT_ONCE: usize = 256;

/// What Docker's clients asked of the local driver: a directory of the host, perhaps, which those of that door who mount
/// the volume are given.
const DOCKER_OPTIONS: &str = "io.monohull.docker.options";

/// Refuses that anybody but an admin says what the host gives to a volume.
fn keep_binding(context: &Context<'_>, old: Option<&Volume>, new: &Volume) -> Result<()> {
    let options = |volume: &Volume| volume.meta.annotations.get(DOCKER_OPTIONS).cloned();
    if old.and_then(options) == options(new) {
        return Ok(());
    }
    let field = format!("meta.annotations.{DOCKER_OPTIONS}");
    stay_inside(context.caller, Some(Reach { field, what: "a place of the host" }))
}

impl Rules for VolumeNoun {
    fn admit(context: &Context<'_>, volume: &mut Volume, _: &mut Batch) -> Result<()> {
        volume.spec.node = None;
        stay_inside(context.caller, volume.spec.reach()).map_err(|error| error.under("spec"))?;
        keep_binding(context, None, volume)?;
        if volume.spec.storage != LOCAL {
            check_foreign(context.state, volume)?;
        }
        check_source(context.state, volume)
    }

    fn describe(volume: &Volume, event: Event) -> Event {
        match volume.spec.storage == LOCAL {
            true => event,
            false => event.with("storage", &volume.spec.storage),
        }
    }

    async fn foresee(service: &Volumes, spec: &VolumeSpec) -> Result<()> {
        if spec.storage == LOCAL {
            return Ok(());
        }
        let core = &service.core;
        let names = core.node_port(&core.node)?.plugin_names().await?;
        if names.contains(&spec.storage) {
            return Ok(());
        }
        Err(Error::not_found(format!("there is no storage plugin {:?}", spec.storage))
            .at("spec.storage")
            .next(format!("start the plugin, or leave it out: {LOCAL:?} is the node's own disk")))
    }

    fn change(
        context: &Context<'_>,
        old: &Volume,
        new: &mut Volume,
        batch: &mut Batch,
    ) -> Result<()> {
        if let Some(field) = first_difference(&old.spec, &new.spec, &["size"]) {
            let field = format!("spec.{field}");
            return Err(Error::conflict(format!("{field} of {} cannot change", old.title()))
                .at(field)
                .next("make another volume and copy"));
        }
        check_growth(old, new)?;
        quotas::check_volume(context, old, new, batch)?;
        keep_binding(context, Some(old), new)?;
        match users(context.state, old).next() {
            _ if old.meta.name != new.meta.name && old.spec.storage != LOCAL => {
                Err(Error::conflict(format!(
                    "{} cannot be renamed: storage {:?} knows it by its name",
                    old.title(),
                    old.spec.storage
                ))
                .at("meta.name"))
            }
            Some(user) if old.meta.name != new.meta.name => Err(Error::conflict(format!(
                "{} cannot be renamed while {} mounts it",
                old.title(),
                user.title()
            ))
            .at("meta.name")),
            _ => Ok(()),
        }
    }

    fn delete(context: &Context<'_>, volume: &mut Volume, _: &mut Batch) -> Result<()> {
        let names: Vec<_> =
            users(context.state, volume).map(|user| user.meta.name.as_str()).collect();
        if let Some(first) = names.first() {
            let error =
                Error::conflict(format!("{} is used by {}", volume.title(), some_of(&names)));
            return Err(error.next(format!("`hull rm {first}`, then try again")));
        }
        match awaiting_clone(context.state, volume) {
            None => Ok(()),
            Some(clone) => Err(Error::conflict(format!(
                "{} is being copied to {}",
                volume.title(),
                clone.title()
            ))
            .next("try again when that one is ready")),
        }
    }
}

/// Refuses of a volume in others' storage what only the node's own has, and a name that the storage
/// knows for another project's volume.
fn check_foreign(state: &State, volume: &Volume) -> Result<()> {
    let VolumeSpec { storage, size, source, .. } = &volume.spec;
    if size.is_some() {
        return Err(Error::unsupported(format!("storage {storage:?} is told no sizes"))
            .at("spec.size")
            .next("give the size as an option, if the storage has one"));
    }
    if source.is_some() {
        return Err(Error::unsupported(format!("storage {storage:?} makes no copies"))
            .at("spec.source")
            .next("make an empty volume and copy into it"));
    }
    let twin = |other: &&Arc<Volume>| {
        other.meta.name == volume.meta.name && other.spec.storage == *storage
    };
    match state.volumes.iter().find(twin) {
        None => Ok(()),
        Some(other) => Err(Error::exists(format!(
            "storage {storage:?} has {} for project {:?} already",
            other.title(),
            other.meta.project
        ))
        .at("meta.name")
        .next("take another name: a plugin has one for all projects")),
    }
}

fn check_source(state: &State, volume: &Volume) -> Result<()> {
    let project = &volume.meta.project;
    let gone = match &volume.spec.source {
        None => return Ok(()),
        Some(VolumeSource::Volume(name)) => {
            let from = find::<VolumeNoun>(state, project, name)?;
            if from.spec.storage != LOCAL {
                return Err(cannot_copy(from).at("spec.source"));
            }
            from.meta.deleted.is_some()
        }
        Some(VolumeSource::Snapshot(name)) => {
            let snapshot = find::<model::volume::SnapshotNoun>(state, project, name)?;
            snapshot.meta.deleted.is_some()
        }
    };
    if !gone {
        return Ok(());
    }
    Err(Error::conflict("what the volume is to begin with is being removed").at("spec.source"))
}

/// Why there is neither a snapshot nor a clone of a volume in others' storage.
pub(crate) fn cannot_copy(volume: &Volume) -> Error {
    let (title, storage) = (volume.title(), &volume.spec.storage);
    Error::unsupported(format!("{title} is in storage {storage:?}, which makes no copies"))
}

fn check_growth(old: &Volume, new: &Volume) -> Result<()> {
    if old.spec.node.is_none() && old.spec.storage == LOCAL {
        // Nothing of it is made yet.
        return Ok(());
    }
    match (old.spec.size, new.spec.size) {
        (Some(before), Some(after)) if after < before => Err(Error::conflict(format!(
            "{} has {before} and cannot shrink to {after}",
            old.title()
        ))
        .at("spec.size")
        .next("make a smaller volume and copy")),
        (None, Some(_)) => Err(Error::conflict(format!(
            "{} was made without a size and cannot get one",
            old.title()
        ))
        .at("spec.size")
        .next("make a volume with a size and copy")),
        (Some(_), None) => Err(Error::conflict(format!("{} keeps a size", old.title()))
            .at("spec.size")
            .next("give a larger one")),
        _ => Ok(()),
    }
}

/// A volume that is still to be filled from this one.
fn awaiting_clone<'a>(state: &'a State, volume: &'a Volume) -> Option<&'a Arc<Volume>> {
    state.volumes.in_project(&volume.meta.project).find(|clone| {
        let from = VolumeSource::Volume(volume.meta.name.clone());
        clone.spec.source.as_ref() == Some(&from) && clone.status.phase == VolumePhase::Pending
    })
}

/// The names of the volumes an instance asked to mount. Those its image asked for are its own.
pub(crate) fn mounted(instance: &Instance) -> impl Iterator<Item = &str> {
    let mounts = instance.spec.all_containers().flat_map(|container| &container.mounts);
    mounts.filter_map(|mount| match &mount.kind {
        MountKind::Volume { name, .. } => Some(name.as_str()),
        MountKind::Bind { .. } | MountKind::Tmpfs { .. } => None,
    })
}

/// Whether a volume was made for this instance alone.
pub(crate) fn is_owned(volume: &Volume, instance: &Instance) -> bool {
    volume.meta.owner.as_ref().is_some_and(|owner| owner.id == instance.meta.id)
}

/// Records the volumes that an instance's image asked for, which the node has made already. They are
/// as if the instance had mounted volumes without a name.
pub(crate) fn adopt(state: &State, instance: &Instance, node: &str, now: Time, batch: &mut Batch) {
    let made = instance.status.containers.iter().flat_map(|container| &container.volumes);
    for volume in made {
        let taken = state.volumes.by_name(&instance.meta.project, volume.name()).is_some();
        if taken || state.volumes.by_id(&volume.id).is_some() {
            continue;
        }
        let mut meta = Meta::new(&instance.meta.project, volume.name(), volume.id.clone(), now);
        meta.finalizers = vec![AGENT.to_owned()];
        meta.owner = Some(Owner {
            kind: Kind::Instance,
            id: instance.meta.id.clone(),
            name: instance.meta.name.clone(),
        });
        let node = Some(node.to_owned());
        let spec = VolumeSpec { anonymous: true, node, ..VolumeSpec::default() };
        let volume = Volume::new(meta, spec);
        batch.create(&volume);
        let event = Event::new(now, Kind::Volume, "create", &volume.meta);
        batch.event(&Caller::platform(), event);
    }
}

/// The instances that mount a volume, or have it for their own.
pub(crate) fn users<'a>(
    state: &'a State,
    volume: &'a Volume,
) -> impl Iterator<Item = &'a Arc<Instance>> {
    let instances = state.instances.in_project(&volume.meta.project);
    instances.filter(|instance| {
        is_owned(volume, instance) || mounted(instance).any(|name| name == volume.meta.name)
    })
}

impl Volumes {
    /// Removes the volumes of a project that no instance uses: anonymous ones, or with `all` every
    /// one. What others' storage has is left alone, as others may use it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn prune(
        &self,
        caller: &Caller,
        project: &str,
        all: bool,
        mode: Mode,
    ) -> Result<Pruned> {
        authorise(caller, Verb::Delete, Kind::Volume, project)?;
        let (mut pruned, now) = (Pruned::default(), self.core.now());
        loop {
            let plan = |state: &State, batch: &mut Batch| {
                let unused = state.volumes.in_project(project).filter(|volume| {
                    volume.meta.deleted.is_none()
                        && volume.spec.storage == LOCAL
                        && (all || volume.spec.anonymous)
                        && users(state, volume).next().is_none()
                        && awaiting_clone(state, volume).is_none()
                });
                let taken: Vec<_> = unused.take(AT_ONCE).cloned().collect();
                for volume in &taken {
                    batch.delete(volume, Object::clone(volume), now, caller);
                }
                Ok(taken)
            };
            let (_, taken) = self.core.transact(mode, plan).await?;
            pruned.names.extend(taken.iter().map(|volume| volume.meta.name.clone()));
            pruned.size.0 +=
                taken.iter().filter_map(|it| it.spec.size).map(|size| size.0).sum::<u64>();
            if taken.len() < AT_ONCE || mode == Mode::Plan {
                return Ok(pruned);
            }
        }
    }

    /// The plugins of a node that answer, and what they implement.
    ///
    /// # Errors
    /// `Unavailable` when the node is not connected.
    pub async fn plugins(&self, caller: &Caller) -> Result<Vec<Plugin>> {
        authorise(caller, Verb::Get, Kind::Node, "")?;
        self.core.node_port(&self.core.node)?.plugins().await
    }

    /// The names of the plugins of a node, whether they answer or not.
    ///
    /// # Errors
    /// As [`Volumes::plugins`].
    pub async fn plugin_names(&self, caller: &Caller) -> Result<Vec<String>> {
        authorise(caller, Verb::Get, Kind::Node, "")?;
        self.core.node_port(&self.core.node)?.plugin_names().await
    }

    /// All volumes that plugins of a node tell of, those that nobody here has made among them.
    ///
    /// # Errors
    /// As [`Volumes::plugins`].
    pub async fn in_plugins(&self, caller: &Caller) -> Result<PluginVolumes> {
        authorise(caller, Verb::Get, Kind::Node, "")?;
        self.core.node_port(&self.core.node)?.plugin_volumes().await
    }

    /// A volume as its plugin tells of it now; `None` when it has none of that name.
    ///
    /// # Errors
    /// `NotFound` when there is no such plugin; `Unavailable` when it does not answer soon.
    pub async fn in_plugin(
        &self,
        caller: &Caller,
        storage: &str,
        name: &str,
    ) -> Result<Option<PluginVolume>> {
        authorise(caller, Verb::Get, Kind::Node, "")?;
        self.core.node_port(&self.core.node)?.plugin_volume(storage, name).await
    }

    /// Removes a volume whose plugin will not, or is there no more: the platform forgets it, and what it
    /// holds stays with the plugin.
    ///
    /// # Errors
    /// As `delete`; `Unavailable` when the node is not connected.
    pub async fn forget(&self, caller: &Caller, project: &str, name: &str) -> Result<()> {
        let volume = self.delete(caller, project, name, None, Mode::Plan).await?;
        if volume.spec.storage == LOCAL {
            return Err(Error::invalid(format!("{} is in no plugin", volume.title()))
                .next("remove it: nobody else has it"));
        }
        let id = volume.meta.id.as_str();
        self.core.node_port(&self.core.node)?.forget_volume(&volume.meta.id).await?;
        self.delete(caller, project, id, None, Mode::Apply).await.map(drop)
    }

    /// Lets a volume hold more.
    ///
    /// # Errors
    /// `Conflict` for less than it holds now, or for a volume without a size.
    pub async fn grow(
        &self,
        caller: &Caller,
        project: &str,
        name: &str,
        size: Bytes,
        mode: Mode,
    ) -> Result<Arc<Volume>> {
        let edit = |(_, _, spec): crate::Editable<'_, VolumeNoun>| {
            spec.size = Some(size);
            Ok(())
        };
        self.update(caller, project, name, None, edit, mode).await
    }
}
