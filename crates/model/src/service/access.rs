//! How a service is reached.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::id::Uid;
use crate::quantity::Span;
use crate::time::Time;

/// How a service is reached by others on its networks, and by published ports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Access {
    /// What its name stands for.
    pub mode: AccessMode,
    /// Which instance a client is led to.
    pub affinity: Affinity,
    /// Time for which an instance that is to end takes no new connections and goes on with those it
    /// has; it ends at once when none is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Span>,
}

impl Access {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a service's name stands for on its networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum AccessMode {
    /// One address that stays, behind which connections are spread over the instances that are ready;
    /// `tasks.NAME` stands for the instances' own addresses.
    #[default]
    VirtualAddress,
    /// The addresses of the instances that are ready, in turn.
    EachInstance,
}

/// Which instance a client of a virtual address or a published port is led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Affinity {
    /// Each connection to the next one.
    #[default]
    None,
    /// Connections from one address to the same one, for as long as that is ready.
    ClientAddress,
}

/// The addresses of a service on one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAddress {
    /// The network's name in the service's project.
    pub network: String,
    /// The network's identity.
    pub network_id: Uid,
    /// One of each family that the network has.
    #[schema(value_type = Vec<String>)]
    pub addresses: Vec<IpAddr>,
}

/// An instance that takes no new connections, as it is to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Leaving {
    /// Its identity.
    pub instance: Uid,
    /// Since when.
    pub since: Time,
}
