//! How we talk to the kernel: netlink, namespaces, `/proc/sys`. Everything here is synchronous and
//! acts in the network namespace of the calling thread; [`namespace::HostNamespace`] provides such
//! threads.

pub mod conntrack;
pub mod message;
pub mod namespace;
pub mod nftables;
pub mod route;
pub mod socket;
pub mod sysctl;
pub mod tap;
