//! Step: the instance's network namespace, its interfaces, and the ports that lead to it.

use std::sync::Arc;

use containers::Namespace;
use faults::may_die;
use link::Desired;
use model::instance::{Instance, Interface, NetworkMode};
use model::{Error, Result};
use network::{InstanceLinks, PublishedPort};

use crate::context::Context;
use crate::worker::Worker;

/// Makes the namespace and everything in it, and publishes the ports.
pub async fn attach(context: &Arc<Context>, wanted: &Instance) -> Result<()> {
    match &wanted.spec.network {
        NetworkMode::Host | NetworkMode::Instance { .. } => return Ok(()),
        NetworkMode::None | NetworkMode::Networks { .. } => {}
    }
    let placement = wanted.spec.placement.as_ref().ok_or_else(|| {
        Error::internal(format!("{} came to this node without a placement", wanted.title()))
    })?;
    let mut networks = Vec::new();
    for interface in &placement.interfaces {
        networks.push(context.fabric.links(&*context.network(&interface.network_id)?));
    }
    if context.fabric.ensure(&networks).await? {
        may_die("network.bridge");
        context.names.refresh(context).await?;
        context.metadata.refresh(context).await;
    }
    let links = InstanceLinks::of(&wanted.meta.id, &placement.interfaces, &networks)?;
    context.fabric.driver().attach(&links).await?;
    may_die("network.links");
    let ports = ports(&context.desired.borrow(), wanted);
    context.fabric.publish(&wanted.meta.id, ports).await?;
    may_die("start.network");
    Ok(())
}

/// Tells whoever publishes ports what of the host's own rules stands in their way.
pub fn tell_obstacles(worker: &mut Worker, wanted: &Instance) {
    if wanted.spec.ports.is_empty() {
        return;
    }
    let obstacles = worker.context.obstacles();
    let closed = obstacles.iter().filter(|obstacle| obstacle.forwards);
    closed.for_each(|obstacle| worker.warn(obstacle.to_string()));
}

/// The ports that lead to an instance. They go through the first network that has a way in; through
/// the first one, which then says why not, when none has.
pub fn ports(desired: &Desired, wanted: &Instance) -> Vec<PublishedPort> {
    let Some(placement) = &wanted.spec.placement else { return Vec::new() };
    let open = |interface: &&Interface| {
        let mut networks = desired.networks.iter();
        networks.any(|it| it.meta.id == interface.network_id && !it.spec.internal)
    };
    let interfaces = &placement.interfaces;
    let Some(interface) = interfaces.iter().find(open).or(interfaces.first()) else {
        return Vec::new();
    };
    placement.ports.iter().filter_map(|port| PublishedPort::of(port, interface)).collect()
}

/// Takes ports, interfaces and namespace away.
pub async fn detach(context: &Context, wanted: &Instance) -> Result<()> {
    context.fabric.withdraw(&wanted.meta.id).await?;
    may_die("network.withdrawn");
    match &wanted.spec.network {
        NetworkMode::Host | NetworkMode::Instance { .. } => Ok(()),
        NetworkMode::None | NetworkMode::Networks { .. } => {
            context.fabric.driver().detach(&wanted.meta.id).await
        }
    }
}

/// The namespace that the instance's containers use.
pub fn namespace(context: &Context, wanted: &Instance) -> Result<Namespace> {
    match &wanted.spec.network {
        NetworkMode::Host => Ok(Namespace::Host),
        NetworkMode::None | NetworkMode::Networks { .. } => {
            Ok(Namespace::Path(context.fabric.driver().namespace(&wanted.meta.id)))
        }
        NetworkMode::Instance { name } => {
            let pid = context.main_pid(&wanted.meta.project, name)?;
            Ok(Namespace::Path(Context::namespace_of(pid, "net")))
        }
    }
}
