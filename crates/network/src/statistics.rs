//! Traffic counters.

use model::Uid;

/// What passed one interface of an instance since it was made, seen from the instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceStatistics {
    /// Name inside the instance.
    pub name: String,
    /// The network.
    pub network: Uid,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets received with an error.
    pub rx_errors: u64,
    /// Packets not received for want of room.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Packets not sent because of an error.
    pub tx_errors: u64,
    /// Packets not sent for want of room.
    pub tx_dropped: u64,
}
