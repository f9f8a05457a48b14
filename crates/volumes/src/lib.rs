//! Volumes: named storage of a node, behind one interface shaped as CSI.
//!
//! Start at [`driver::Driver`], the interface. [`local`] is the storage every node has: directories,
//! btrfs subvolumes or one file-system image per volume. [`plugin`] is storage behind Docker's volume
//! plugins, and [`services`] all that a node has as one driver. [`fake`] is the same on plain directories
//! with faults on demand, for tests of whoever uses a driver. [`conformance`] is what both must pass.
//! [`subpath`] mounts a part of a volume, which others may change meanwhile.
//!
//! This room knows nothing of instances: who uses a volume is a word it is given
//! ([`driver::Publish::consumer`]) and gives back.
//!
//! `unsafe` stands only in the modules that speak to the kernel through `ioctl`, each a few lines
//! with its reason.

pub mod conformance;
mod copy;
pub mod driver;
mod durable;
pub mod fake;
mod fault;
mod filled;
mod kernel;
pub mod local;
pub mod plugin;
mod program;
mod remove;
mod services;
pub mod subpath;
mod turns;

pub use driver::{
    Attachment, Capability, Capacity, CreateSnapshot, CreateVolume, Driver, Expanded, Format, Info,
    Method, Populate, Populated, Publish, SnapshotInfo, Source, Stats, VolumeId, VolumeInfo,
    attach, detach,
};
pub use services::Services;
