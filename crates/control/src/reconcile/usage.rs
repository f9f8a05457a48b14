//! Writes who uses which volume, secret and config, and what is used of quotas.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use model::config::ConfigNoun;
use model::instance::{DiskOptions, Instance};
use model::project::ProjectStatus;
use model::secret::SecretNoun;
use model::volume::Volume;
use model::{Bytes, Kind, Object, Result};
use tasks::Pass;

use crate::batch::Batch;
use crate::core::{Core, Mode};
use crate::handed::{AsFile, named};
use crate::mirror::{State, name_key};
use crate::quotas;
use crate::volumes::mounted;

/// Most objects written by one commit.
const AT_ONCE: usize = 512;

/// The loop.
pub(crate) struct Usage(pub(crate) Arc<Core>);

impl Pass for Usage {
    const NAME: &'static str = "usage";

    async fn pass(&mut self) -> Result<String> {
        let mut written = 0;
        loop {
            let plan = |state: &State, batch: &mut Batch| Ok(round(state, batch));
            let (_, count) = self.0.transact(Mode::Apply, plan).await?;
            written += count;
            if count < AT_ONCE {
                break;
            }
        }
        Ok(if written == 0 { String::new() } else { format!("users of {written} objects") })
    }
}

fn round(state: &State, batch: &mut Batch) -> usize {
    let mut users: HashMap<String, BTreeSet<&str>> = HashMap::new();
    for instance in state.instances.iter() {
        for volume in mounted(instance) {
            let key = name_key(&instance.meta.project, volume);
            users.entry(key).or_default().insert(&instance.meta.name);
        }
    }
    for volume in state.volumes.iter() {
        let owner = volume.meta.owner.as_ref().and_then(|owner| state.instances.by_id(&owner.id));
        if let Some(owner) = owner {
            let key = name_key(&volume.meta.project, &volume.meta.name);
            users.entry(key).or_default().insert(&owner.meta.name);
        }
    }
    let mut disks: HashMap<String, Option<Bytes>> = HashMap::new();
    for instance in state.instances.iter().filter(|it| it.spec.placement.is_some()) {
        for (name, options) in instance.spec.disks() {
            let known = disks.entry(name_key(&instance.meta.project, name)).or_default();
            *known = (*known).max(options.size);
        }
    }
    let mut written = 0;
    for volume in state.volumes.iter() {
        let disk = disks.get(&name_key(&volume.meta.project, &volume.meta.name));
        let disk = disk_of(volume, disk.copied());
        let now = users.remove(&name_key(&volume.meta.project, &volume.meta.name));
        let now: Vec<String> = now.unwrap_or_default().into_iter().map(str::to_owned).collect();
        let same = volume.status.used_by == now && volume.status.disk == disk;
        if same || written == AT_ONCE {
            continue;
        }
        let mut new = Volume::clone(volume);
        new.status.used_by = now;
        new.status.disk = disk;
        batch.replace(volume, &new);
        written += 1;
    }
    written += readers::<SecretNoun>(state, batch, AT_ONCE - written, |status| &mut status.used_by);
    written += readers::<ConfigNoun>(state, batch, AT_ONCE - written, |status| &mut status.used_by);
    written + projects(state, batch, AT_ONCE - written)
}

/// The size of the largest disk that a machine had in a volume without a size: `asked` is that of those who have
/// it now, if anybody has. A new disk that is asked for none has the usual one.
fn disk_of(volume: &Volume, asked: Option<Option<Bytes>>) -> Option<Bytes> {
    let seen = volume.status.disk;
    match asked.filter(|_| volume.spec.size.is_none()) {
        Some(asked) => seen.max(asked).or(Some(DiskOptions::SIZE)),
        None => seen,
    }
}

/// Writes what is used in projects, where that is bounded.
fn projects(state: &State, batch: &mut Batch, most: usize) -> usize {
    let mut written = 0;
    for project in state.projects.iter() {
        if written == most {
            break;
        }
        let name = &project.meta.name;
        let used = quotas::of(state, name).map(|_| quotas::used(state, name));
        if project.status.used != used {
            batch.replace(
                project,
                &Object { status: ProjectStatus { used }, ..Object::clone(project) },
            );
            written += 1;
        }
    }
    written
}

/// Writes who reads which secret or config: services, whose instances come and go, and instances that are of
/// none. Each change writes the record anew with all its data.
fn readers<N: AsFile>(
    state: &State,
    batch: &mut Batch,
    most: usize,
    used_by: fn(&mut N::Status) -> &mut Vec<String>,
) -> usize {
    let mut users: HashMap<String, BTreeSet<&str>> = HashMap::new();
    for service in state.services.iter() {
        for name in named::<N>(&service.spec.template.spec) {
            let key = name_key(&service.meta.project, name);
            users.entry(key).or_default().insert(&service.meta.name);
        }
    }
    let is_single =
        |it: &Instance| it.meta.owner.as_ref().is_none_or(|by| by.kind != Kind::Service);
    for instance in state.instances.iter().filter(|it| is_single(it)) {
        for name in named::<N>(&instance.spec) {
            let key = name_key(&instance.meta.project, name);
            users.entry(key).or_default().insert(&instance.meta.name);
        }
    }
    let mut written = 0;
    for object in N::table(state).iter() {
        if written == most {
            break;
        }
        let now = users.remove(&name_key(&object.meta.project, &object.meta.name));
        let mut status = object.status.clone();
        *used_by(&mut status) = now.unwrap_or_default().into_iter().map(str::to_owned).collect();
        if status != object.status {
            batch.replace(object, &Object { status, ..Object::clone(object) });
            written += 1;
        }
    }
    written
}
