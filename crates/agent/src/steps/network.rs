//! Step: the instance's network namespace, its interfaces, and the ports that lead to it.

use std::sync::Arc;

use containers::Namespace;
use faults::may_die;
use link::Desired;
use model::instance::{Instance, Interface, NetworkMode, Placement};
use model::{Error, Result};
use network::{InstanceLinks, NetworkLinks, PublishedPort};

use crate::context::Context;
use crate::worker::Worker;

/// Who uses an instance's interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum User {
    /// Processes in the namespace.
    Processes,
    /// The guest of a machine, whose QEMU is in the namespace.
    Guest,
}

/// Makes the namespace and everything in it, and publishes the ports.
pub async fn attach(context: &Arc<Context>, wanted: &Instance, user: User) -> Result<()> {
    match (&wanted.spec.network, user) {
        (NetworkMode::Host | NetworkMode::Instance { .. }, User::Processes) => return Ok(()),
        (NetworkMode::Host | NetworkMode::Instance { .. }, User::Guest) => {
            return Err(Error::unsupported("a machine has a network of its own, or none")
                .at("network")
                .next("leave out the network mode, or use --network none"));
        }
        (NetworkMode::None | NetworkMode::Networks { .. }, _) => {}
    }
    let networks = networks(context, wanted)?;
    let made = context.fabric.ensure(&networks).await?;
    if made {
        may_die("network.bridge");
        context.metadata.refresh(context).await;
    }
    let links = InstanceLinks::of(&wanted.meta.id, &placement(wanted)?.interfaces, &networks)?;
    let links = match user {
        User::Processes => links,
        User::Guest => links.of_guest(),
    };
    context.fabric.driver().attach(&links).await?;
    may_die("network.links");
    // Resolvers that ask before somebody listens wait for seconds.
    match context.names.refresh_at(context, &wanted.meta.id).await {
        Err(error) if !made => {
            tracing::warn!(error = error.chain(), "names may not be answered inside an instance");
        }
        told => drop(told?),
    }
    let ports = ports(&context.desired.borrow(), wanted);
    context.fabric.publish(&wanted.meta.id, ports).await?;
    may_die("start.network");
    Ok(())
}

/// The interfaces of a machine, as its guest is to see them.
pub fn links(context: &Context, wanted: &Instance) -> Result<InstanceLinks> {
    let networks = networks(context, wanted)?;
    let links = InstanceLinks::of(&wanted.meta.id, &placement(wanted)?.interfaces, &networks)?;
    Ok(links.of_guest())
}

fn placement(wanted: &Instance) -> Result<&Placement> {
    wanted.spec.placement.as_ref().ok_or_else(|| {
        Error::internal(format!("{} came to this node without a placement", wanted.title()))
    })
}

/// The networks of an instance's interfaces, in their order.
fn networks(context: &Context, wanted: &Instance) -> Result<Vec<NetworkLinks>> {
    let interfaces = placement(wanted)?.interfaces.iter();
    let link =
        |interface: &Interface| Ok(context.fabric.links(&*context.network(&interface.network_id)?));
    interfaces.map(link).collect()
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
            context.fabric.driver().detach(&wanted.meta.id).await?;
            // A socket in the namespace keeps it.
            if let Err(error) = context.names.refresh_at(context, &wanted.meta.id).await {
                tracing::warn!(error = error.chain(), "the name server was not told of an end");
            }
            Ok(())
        }
    }
}

/// Refuses to share what an instance has of the host's: not everybody may have that.
pub(super) fn of_the_host(name: &str, field: &str) -> Error {
    Error::forbidden(format!("instance {name:?} has the host's {field}, which is not its to share"))
        .at(field)
        .next("ask for the host's by its own name")
}

/// The namespace that the instance's containers use.
pub fn namespace(context: &Context, wanted: &Instance) -> Result<Namespace> {
    match &wanted.spec.network {
        NetworkMode::Host => Ok(Namespace::Host),
        NetworkMode::None | NetworkMode::Networks { .. } => {
            Ok(Namespace::Path(context.fabric.driver().namespace(&wanted.meta.id)))
        }
        NetworkMode::Instance { name } => {
            let other = context.running(&wanted.meta.project, name)?;
            if other.wanted.borrow().spec.network == NetworkMode::Host {
                return Err(of_the_host(name, "network"));
            }
            let pid = context.main_pid(&wanted.meta.project, name)?;
            Ok(Namespace::Path(Context::namespace_of(pid, "net")))
        }
    }
}
