//! Errors of this room.

use ipnet::IpNet;
use model::Error;

/// The instance has no namespace to change.
pub(crate) fn no_namespace(instance: &model::Uid) -> Error {
    Error::not_found(format!("instance {} has no network namespace", instance.short()))
        .next("start the instance")
}

/// The host has got a route into a network's subnet.
pub(crate) fn subnet_taken(subnet: &IpNet, other: &IpNet, network: &model::Uid) -> Error {
    Error::conflict(format!(
        "subnet {subnet} of network {} cannot be used: the host has a route to {other}",
        network.short()
    ))
    .next("make the network anew with another subnet, or take the route away (`ip route`)")
}

/// The bridge an interface is to be joined to is missing.
pub(crate) fn no_bridge(bridge: &str) -> Error {
    Error::not_found(format!("bridge {bridge} does not exist"))
        .next("the network is made anew at the next pass of the agent; look at its status")
}

/// The port is one of the platform's own.
pub(crate) fn reserved(port: &crate::PublishedPort) -> Error {
    Error::conflict(format!("port {} is the platform's own", port.describe()))
        .next("publish another port")
}

/// The port is taken.
pub(crate) fn taken(port: &crate::PublishedPort) -> Error {
    Error::conflict(format!("port {} of the host is taken", port.describe()))
        .next("stop the process that listens on it (`ss -lntup` names it), or publish another port")
}

/// Another instance of the node has the port.
pub(crate) fn twice(port: &crate::PublishedPort) -> Error {
    Error::conflict(format!("port {} is published already", port.describe()))
        .next("publish another port, or stop the instance that has it (`hull ps`)")
}

/// Nothing gets to the instance's network from outside.
pub(crate) fn unreachable(port: &crate::PublishedPort) -> Error {
    Error::conflict(format!(
        "port {} cannot be published: the instance's network is internal, or gives it no address of \
         that family",
        port.describe()
    ))
    .next(
        "join the instance first to a network that isn't internal; one with IPv6 is made by `hull \
         network create --ipv6`",
    )
}
