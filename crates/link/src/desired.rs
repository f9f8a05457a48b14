//! The whole of what a node should have.

use std::net::IpAddr;
use std::sync::Arc;

use model::data::Data;
use model::instance::{Instance, Port};
use model::network::Network;
use model::volume::{Snapshot, Volume};
use model::{Kind, Uid};
use serde::{Deserialize, Serialize};

use crate::stacks::Stacks;

/// Everything one node should have, as control decided it. It is complete: what is not in it, the
/// node takes down. Objects with `meta.deleted` set are in it until the node has reported them
/// removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// The store's revision this was made from. A node that has acted on a newer one refuses it.
    pub generation: u64,
    /// The node's name.
    pub node: String,
    /// Instances placed on the node.
    pub instances: Vec<Arc<Instance>>,
    /// Networks that any of them is joined to, and networks that are to be there all the same.
    pub networks: Vec<Arc<Network>>,
    /// Volumes that the node has or mounts.
    pub volumes: Vec<Arc<Volume>>,
    /// Snapshots that the node has.
    pub snapshots: Vec<Arc<Snapshot>>,
    /// Services whose addresses on these networks lead to their instances.
    pub services: Vec<Arc<ServiceLinks>>,
    /// Names that instances on these networks may ask for, those on other nodes included.
    pub names: Vec<Arc<NameEntry>>,
    /// Secrets and configs that instances placed on the node read, and no others. A node keeps them in
    /// memory alone.
    pub handed: Vec<Arc<HandedData>>,
    /// What instances placed on the node may read of their projects' apps.
    pub stacks: Vec<Arc<Stacks>>,
}

/// A secret or config with its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandedData {
    /// Which of the two it is.
    pub kind: Kind,
    /// Its identity.
    pub id: Uid,
    /// Its project.
    pub project: String,
    /// Its name.
    pub name: String,
    /// Its data, which does not change.
    pub data: Data,
}

/// Where a service's address on one network leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceLinks {
    /// The service's identity.
    pub id: Uid,
    /// Its name.
    pub name: String,
    /// The network.
    pub network_id: Uid,
    /// Its address of each family there.
    pub addresses: Vec<IpAddr>,
    /// One client is led to the same instance each time.
    pub sticky: bool,
    /// The addresses of its instances that are ready, in order.
    pub members: Vec<IpAddr>,
    /// Ports of the node that lead to them, through this network.
    pub ports: Vec<Port>,
}

/// A name on a network and the addresses it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameEntry {
    /// The network it is known on.
    pub network_id: Uid,
    /// Name of the network.
    pub network: String,
    /// The project of both.
    pub project: String,
    /// The instance's name.
    pub name: String,
    /// Further names on this network, host name and short id included.
    pub aliases: Vec<String>,
    /// Its addresses there.
    pub addresses: Vec<IpAddr>,
}
