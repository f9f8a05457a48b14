//! What a node's network is made of: bridges, namespaces, interfaces, firewall and published ports.
//!
//! The rest of the platform says what it wants as values ([`NetworkLinks`], [`InstanceLinks`],
//! [`HostNetwork`]) and hands them to a [`Driver`]; nothing outside this room knows rtnetlink or
//! nftables. Every verb is idempotent and converges: asked twice it does nothing the second time, and
//! asked after a crash in the middle it finishes the work. The host's state is rendered from the
//! values and never read back to be edited; the only reading is [`Driver::observe`], which exists to
//! sweep what no value mentions any more.
//!
//! What is ours carries the node's tag (see [`Names`]), so that several nodes can share one machine
//! and even one namespace: interfaces `hb…` and `hv…`, the nftables table `hull-…`. Tables, chains
//! and interfaces of anybody else are never touched.
//!
//! Start at [`Driver`]; [`NetDriver`] is the real one, [`fake::FakeDriver`] the one for tests, and
//! [`conformance`] the suite both pass.

pub mod conformance;
mod driver;
mod error;
mod facts;
pub mod fake;
mod firewall;
mod kernel;
mod links;
mod names;
mod real;
mod statistics;

pub use driver::{Applied, Apply, Disturbance, Driver, PortConflict};
pub use facts::{Observed, ObservedInterface, Uplink};
pub use firewall::{Balanced, HostNetwork, PublishedPort};
pub use kernel::namespace::{HostNamespace, new_namespace};
pub use links::{InstanceLinks, InterfaceLink, NAMES_ANSWERED, NAMES_ASKED, NetworkLinks};
pub use names::{Names, NodeTag};
pub use real::NetDriver;
pub use statistics::InterfaceStatistics;
