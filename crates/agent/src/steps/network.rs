//! Step: the instance's network namespace, its interfaces, and the ports that lead to it.

use containers::Namespace;
use model::instance::{Instance, NetworkMode};
use model::{Error, Result};
use network::{InstanceLinks, PublishedPort};

use crate::context::Context;

/// Makes the namespace and everything in it, and publishes the ports.
pub async fn attach(context: &Context, wanted: &Instance) -> Result<()> {
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
        context.names.refresh(context).await?;
    }
    let links = InstanceLinks::of(&wanted.meta.id, &placement.interfaces, &networks)?;
    context.fabric.driver().attach(&links).await?;
    context.fabric.publish(&wanted.meta.id, ports(wanted)).await
}

/// The ports that lead to an instance. They go through the first network that has a way in.
pub fn ports(wanted: &Instance) -> Vec<PublishedPort> {
    let Some(placement) = &wanted.spec.placement else { return Vec::new() };
    let Some(interface) = placement.interfaces.first() else { return Vec::new() };
    placement.ports.iter().filter_map(|port| PublishedPort::of(port, interface)).collect()
}

/// Takes ports, interfaces and namespace away.
pub async fn detach(context: &Context, wanted: &Instance) -> Result<()> {
    context.fabric.withdraw(&wanted.meta.id).await?;
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
