//! Passes: what is true of the whole node rather than of one instance.

mod engine;
mod errands;
mod firewall;
mod instances;
mod leftovers;
mod mounts;
mod names;
mod networks;
mod node;
mod services;
mod storage;

pub use engine::follow_engine;
pub use firewall::{HostFirewall, keep_firewall};
pub use instances::Instances;
pub use leftovers::Leftovers;
pub use mounts::settle_mounts;
pub use names::{Names, NamesPass, keep_names};
pub use networks::Networks;
pub use node::NodeFacts;
pub use storage::Storage;
