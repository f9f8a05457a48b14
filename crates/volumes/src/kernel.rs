//! What the kernel offers to volumes and the standard library does not speak: a module per thing.

pub mod btrfs;
pub mod freeze;
pub mod grow;
pub mod ioctl;
pub mod loopdev;
pub mod mounts;
pub mod project;
pub mod shield;
