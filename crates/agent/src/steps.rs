//! The steps of starting an instance, in order, and of taking it down again.
//!
//! | step | makes | taken back by |
//! |---|---|---|
//! | image | images pulled and unpacked | (kept) |
//! | volume | volumes created, mounted, given to the instance | [`release`] |
//! | network | namespace, interfaces, published ports; beside the first container's next two | [`release`] |
//! | files | `/etc/hosts`, `hostname`, `resolv.conf`; secrets and configs, in memory | [`release`], [`forget`] |
//! | container | writable layer and record, volumes filled from the image; a machine's disks | [`remove`] |
//! | run | processes | [`stop`], [`end_all`] |
//!
//! Names and health follow from what was seen, not from a step. Each step is safe to repeat, and
//! safe to undo when it was never done: a platform that was killed in the middle goes through the
//! same list again. Tests have it killed at each [`may_die`].

mod container;
mod files;
mod handed;
mod image;
pub mod machine;
mod network;
mod run;
mod volume;

pub use handed::{memory, release as release_handed, release_memory};
pub use run::end_as_wished;

pub use network::ports;
pub use volume::request_of;

use std::sync::Arc;

use containers::Signal;
use faults::may_die;
use model::error::Context as _;
use model::instance::{ContainerSpec, ContainerState, Instance};
use model::{ErrorKind, Result};

use crate::observe::engine_id;
use crate::worker::Worker;

/// Starts the run that `wanted` asks for.
pub async fn start(worker: &mut Worker, wanted: &Arc<Instance>) -> Result<()> {
    // Held until its processes run: whoever works on the disks of a stopped machine does that alone.
    let _disks = machine::disks(worker).await;
    may_die("start");
    let images = image::ensure(worker, wanted).await?;
    may_die("start.image");
    let volumes = volume::attach(worker, wanted, &images).await?;
    may_die("start.volume");
    network::tell_obstacles(worker, wanted);
    // The kernel makes the one while the engine makes the other; neither needs the other to be there.
    let context = worker.context.clone();
    let user = images.network_user(wanted)?;
    tokio::try_join!(
        network::attach(&context, wanted, user),
        prepare_first(worker, wanted, &images, &volumes),
    )?;
    may_die("start.prepared");
    let first = first_of(wanted);
    for container in &wanted.spec.init {
        if !first.is_some_and(|first| std::ptr::eq(first, container)) {
            create(worker, wanted, container, &images, &volumes).await?;
        }
        may_die("start.init");
        run::to_the_end(worker, wanted, container).await?;
    }
    for container in wanted.spec.in_order() {
        if !first.is_some_and(|first| std::ptr::eq(first, container)) {
            create(worker, wanted, container, &images, &volumes).await?;
        }
        let begins = wanted.spec.runs == 1 && wanted.spec.main() == Some(container);
        if wanted.spec.attended && begins {
            worker.attended().await;
        }
        run::begin(worker, wanted, container).await?;
        machine::begun(worker, wanted)?;
        may_die("start.run");
    }
    Ok(())
}

/// The container that runs first.
fn first_of(wanted: &Instance) -> Option<&ContainerSpec> {
    all_in_order(wanted).next()
}

/// All containers, each behind those whose volumes it has.
fn all_in_order(wanted: &Instance) -> impl Iterator<Item = &ContainerSpec> {
    wanted.spec.init.iter().chain(wanted.spec.in_order())
}

/// What the first container needs, itself included, but no network.
async fn prepare_first(
    worker: &mut Worker,
    wanted: &Instance,
    images: &image::ImagesOf,
    volumes: &volume::VolumesOf,
) -> Result<()> {
    files::write(worker, wanted)?;
    may_die("start.files");
    handed::write(worker, wanted).await?;
    may_die("start.handed");
    run::clear_ended(worker, wanted).await?;
    match first_of(wanted) {
        Some(first) => create(worker, wanted, first, images, volumes).await,
        None => Ok(()),
    }
}

async fn create(
    worker: &mut Worker,
    wanted: &Instance,
    container: &ContainerSpec,
    images: &image::ImagesOf,
    volumes: &volume::VolumesOf,
) -> Result<()> {
    let ready = container::Ready { image: images.of(container)?, volumes };
    container::create(worker, wanted, container, &ready).await?;
    may_die("start.container");
    Ok(())
}

/// Makes the containers of an instance that is not to run yet, so that their files are there.
pub async fn prepare(worker: &mut Worker, wanted: &Arc<Instance>) -> Result<()> {
    let images = image::ensure(worker, wanted).await?;
    let made = match volume::attach(worker, wanted, &images).await {
        Ok(volumes) => create_all(worker, wanted, &images, &volumes).await,
        Err(error) => Err(error),
    };
    volume::detach(worker, wanted).await?;
    made
}

async fn create_all(
    worker: &mut Worker,
    wanted: &Instance,
    images: &image::ImagesOf,
    volumes: &volume::VolumesOf,
) -> Result<()> {
    let mut made = Ok(());
    for container in all_in_order(wanted) {
        let ready = container::Ready { image: images.of(container)?, volumes };
        made = made.and(container::create(worker, wanted, container, &ready).await);
    }
    made
}

/// Joins what runs to the networks that are wanted now, and parts it from others.
pub async fn rejoin(worker: &Worker, wanted: &Instance) -> Result<()> {
    if !wanted.spec.network.is_own() {
        return Ok(());
    }
    let user = match worker.local.status.machine {
        Some(_) => network::User::Guest,
        None => network::User::Processes,
    };
    network::attach(&worker.context, wanted, user).await?;
    may_die("rejoin.attached");
    files::write(worker, wanted)
}

/// Starts one container again, after making sure of all it stands on. It is counted once its last run
/// is cleared and before the next begins: a platform killed on either side neither forgets a restart
/// nor counts one twice.
pub async fn start_again(worker: &mut Worker, wanted: &Arc<Instance>, name: &str) -> Result<()> {
    let container = wanted.spec.container(name)?;
    let _disks = machine::disks(worker).await;
    let images = image::ensure(worker, wanted).await?;
    let volumes = volume::attach(worker, wanted, &images).await?;
    network::tell_obstacles(worker, wanted);
    network::attach(&worker.context, wanted, images.network_user(wanted)?).await?;
    files::write(worker, wanted)?;
    handed::write(worker, wanted).await?;
    if let Some(id) = engine_id(&worker.uid, &wanted.spec, name) {
        worker.context.engine.delete_task(&id).await?;
        may_die("again.cleared");
    }
    worker.count_restart(wanted, name)?;
    may_die("again.counted");
    let ready = container::Ready { image: images.of(container)?, volumes: &volumes };
    container::create(worker, wanted, container, &ready).await?;
    run::begin(worker, wanted, container).await?;
    machine::begun(worker, wanted)
}

/// Ends all containers, last one first: the stop signal, the time given, then SIGKILL.
pub async fn stop(worker: &mut Worker, wanted: &Instance) -> Result<()> {
    let saved = wanted.spec.stop.as_ref().is_some_and(|stop| stop.save);
    if saved && worker.local.status.machine.is_some() {
        return machine::save(worker, wanted).await;
    }
    for container in wanted.spec.all_containers().collect::<Vec<_>>().into_iter().rev() {
        run::end(worker, wanted, container).await?;
        may_die("stop.ended");
    }
    Ok(())
}

/// Ends all containers by force, whatever state they are in.
pub async fn end_all(worker: &mut Worker, wanted: &Instance) -> Result<()> {
    for container in wanted.spec.all_containers() {
        let Some(id) = engine_id(&worker.uid, &wanted.spec, &container.name) else { continue };
        absent_is_fine(worker.context.engine.kill(&id, Signal::KILL).await)?;
    }
    Ok(())
}

/// Freezes or thaws all containers that run. A guest is frozen with its QEMU: its clock goes on meanwhile.
pub async fn freeze(worker: &mut Worker, wanted: &Instance, freeze: bool) -> Result<()> {
    for container in &wanted.spec.containers {
        let seen = worker.local.status.container(&container.name).map(|seen| seen.state);
        let id = engine_id(&worker.uid, &wanted.spec, &container.name);
        match (id, seen, freeze) {
            (Some(id), Some(ContainerState::Running), true) => {
                worker.context.engine.pause(&id).await?;
            }
            (Some(id), Some(ContainerState::Paused), false) => {
                worker.context.engine.resume(&id).await?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Gives back what an instance that ended does not need until it starts again: its finished tasks in
/// the engine, its network, its hold on volumes.
pub async fn release(worker: &Worker, wanted: &Instance) -> Result<()> {
    for container in wanted.spec.all_containers() {
        let Some(id) = engine_id(&worker.uid, &wanted.spec, &container.name) else { continue };
        absent_is_fine(worker.context.engine.delete_task(&id).await)?;
        may_die("release.task");
    }
    network::detach(&worker.context, wanted).await?;
    may_die("release.network");
    volume::detach(worker, wanted).await?;
    may_die("release.volume");
    files::release(worker)?;
    handed::release(&worker.context, &worker.uid)
}

/// Takes everything of the instance off the node, but what it said and what is remembered.
pub async fn remove(worker: &Worker, wanted: &Instance) -> Result<()> {
    for container in wanted.spec.all_containers() {
        let Some(id) = engine_id(&worker.uid, &wanted.spec, &container.name) else { continue };
        absent_is_fine(worker.context.engine.remove(&id).await)?;
        may_die("remove.container");
    }
    network::detach(&worker.context, wanted).await?;
    may_die("remove.network");
    volume::detach(worker, wanted).await?;
    may_die("remove.volume");
    volume::delete_unheard(worker).await?;
    may_die("remove.image-volume");
    machine::remove(worker)?;
    files::release(worker)?;
    handed::release(&worker.context, &worker.uid)
}

/// Forgets the instance: its log and what is remembered of it.
pub fn forget(worker: &Worker) -> Result<()> {
    let places = &worker.context.places;
    for dir in [places.logs(&worker.uid), places.unkept(&worker.uid), worker.dir.clone()] {
        match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(ErrorKind::Unavailable, || {
                    format!("cannot remove {}", dir.display())
                });
            }
            _ => {}
        }
        may_die("forget");
    }
    Ok(())
}

/// Writes what is known of the instance to its directory.
pub fn save(worker: &Worker) -> Result<()> {
    std::fs::create_dir_all(&worker.dir)
        .context(ErrorKind::Unavailable, || format!("cannot make {}", worker.dir.display()))?;
    worker.local.save(&worker.dir)
}

/// Undoing what was never done is no failure.
fn absent_is_fine<T>(outcome: Result<T>) -> Result<()> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
