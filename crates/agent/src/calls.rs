//! What control asks of the node directly: streams, archives, images, findings.
//!
//! One file for each sort of call. None of them changes what is desired.

mod archive;
mod attach;
mod build;
mod console;
mod exec;
pub(crate) mod guest;
pub(crate) mod images;
mod inspect;
mod instance;
mod logs;
mod machine;
mod sessions;
mod snapshots;
mod storage;

use std::sync::Arc;

use containers::ContainerId;
use link::instance::Target;
use model::instance::{ContainerSpec, ContainerState, Instance};
use model::{Error, Result};

use crate::context::Context;
use crate::observe::engine_id;
use crate::places::Places;
use crate::worker::Handle;

/// The node's side of [`link::NodePort`].
pub struct Calls {
    context: Arc<Context>,
    /// The store of builds: shared by those that go on, held alone by who clears it.
    builds: Arc<tokio::sync::RwLock<()>>,
    /// BuildKit, while it runs.
    kit: Arc<build::Kit>,
}

/// A container of an instance, found.
struct Found {
    handle: Arc<Handle>,
    instance: Arc<Instance>,
    container: ContainerSpec,
    id: ContainerId,
}

/// Clears away what calls of a daemon that died left half done.
pub(crate) fn clear(places: &Places, tag: &str) {
    images::disk::clear(&places.passing());
    build::clear(places, tag);
}

impl Calls {
    /// The calls of a node.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, builds: Arc::default(), kit: Arc::default() }
    }

    fn find(&self, target: &Target) -> Result<Found> {
        let handle = self.context.handle(&target.instance)?;
        let instance = handle.wanted.borrow().clone();
        let container = instance.spec.container(&target.container)?.clone();
        let id = engine_id(&instance.meta.id, &instance.spec, &container.name)
            .ok_or_else(|| Error::internal("a container that is not in its own instance"))?;
        Ok(Found { handle, instance, container, id })
    }

    /// A container that has its files, made for that if it has never run.
    async fn find_made(&self, target: &Target) -> Result<Found> {
        let found = self.find(target)?;
        if self.context.engine.observe(&found.id).await?.is_none() {
            found.handle.prepare().await?;
        }
        Ok(found)
    }

    /// A container that runs, or is frozen if `paused` allows it.
    fn find_live(&self, target: &Target, paused: bool) -> Result<Found> {
        let found = self.find(target)?;
        let name = &found.instance.meta.name;
        match found.state() {
            ContainerState::Running => Ok(found),
            ContainerState::Paused if paused => Ok(found),
            ContainerState::Paused => Err(Error::conflict(format!("instance {name:?} is paused"))
                .next(format!("hull unpause {name}"))),
            ContainerState::Waiting | ContainerState::Exited => {
                Err(Error::conflict(format!("instance {name:?} is not running"))
                    .next(format!("hull start {name}")))
            }
        }
    }
}

impl Found {
    /// Whether it is, or was when it last ran, a machine.
    fn is_machine(&self) -> bool {
        self.handle.known.borrow().status.machine.is_some()
    }

    fn state(&self) -> ContainerState {
        let known = self.handle.known.borrow();
        known.status.container(&self.container.name).map(|seen| seen.state).unwrap_or_default()
    }
}
