//! Virtual machines: QEMU, what it is told and what it tells.
//!
//! A machine is a container whose program is `hull machine`, the [`monitor`], which runs QEMU in the
//! same walls: the instance's network, a root nobody can write, a user of its own, no capabilities.
//! Logs, exit codes, limits, adoption after a restart of the platform and removal are therefore the
//! container engine's, as for every container. What only a machine needs is in this room:
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | what one machine is made of, as the agent resolved it |
//! | [`qemu`] | QEMU's arguments for that |
//! | [`monitor`] | process 1 of the walls: starts QEMU, answers its guest's DHCP, tells how it ended |
//! | [`qmp`] | QEMU's control protocol |
//! | [`guest_agent`] | the agent inside the guest |
//! | [`dhcp`] | DHCPv4, DHCPv6 and router advertisements for one guest |
//! | [`picture`] | what a machine's screen shows, as PNG |
//! | [`seed`] | cloud-init's first-boot data |
//! | [`socket`] | connecting to what QEMU listens on |
//! | [`disk`] | disk images: looked at, made, converted, by `qemu-img` in walls of its own |

pub mod config;
pub mod dhcp;
pub mod disk;
pub mod guest_agent;
pub mod monitor;
pub mod picture;
pub mod qemu;
pub mod qmp;
pub mod seed;
pub mod socket;
