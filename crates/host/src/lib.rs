//! This machine: what it is ([`facts`]), how busy it is ([`usage`]), and whether it is fit for the
//! platform ([`checks`], the work behind `hull check`).
//!
//! Nothing here changes the machine for longer than a check takes. What `/proc` and `/sys` tell is
//! read from there; programs are run only to ask for their version, and `nft` to try a rule set.
//!
//! `unsafe` stands only where a system call has no safe form: [`mod@kvm`], namespaces of a thread
//! (`sandbox`), the clock's state, memory that is given back ([`mod@memory`]).

pub mod checks;
pub mod facts;
pub mod firewall;
pub mod kvm;
pub mod memory;
mod netlink;
mod proc;
pub mod programs;
mod sandbox;
pub mod shares;
pub mod usage;

pub use checks::{Area, Check, Outcome, Port, Protocol, Report, Settings};
pub use facts::{CgroupVersion, Disk, Facts};
pub use programs::programs;
pub use usage::{Meter, Usage};
