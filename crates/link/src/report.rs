//! What a node saw.

use model::event::Event;
use model::instance::{InstanceStatus, Reason};
use model::network::NetworkStatus;
use model::node::NodeStatus;
use model::volume::{SnapshotStatus, VolumeStatus};
use model::{Kind, Uid};
use serde::{Deserialize, Serialize};

/// One thing that a node saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Report {
    /// How an instance is. The status replaces the stored one.
    Instance(Uid, Box<InstanceStatus>),
    /// How a network is.
    Network(Uid, NetworkStatus),
    /// How the node itself is.
    Node(Box<NodeStatus>),
    /// A volume as the node has it (`used_by` is control's and left alone).
    Volume(Uid, VolumeStatus),
    /// A snapshot as the node has it.
    Snapshot(Uid, SnapshotStatus),
    /// An object whose removal was asked for has left nothing on the node.
    Removed(Kind, Uid),
    /// A volume whose removal was asked for stays, as its storage would not remove it.
    Kept(Uid, Reason),
    /// Something happened that people may want to know.
    Event(Box<Event>),
}
