//! Names for instances: who is called what on which network, and everything else asked of the
//! resolvers of the host.
//!
//! The agent hands over a [`Zones`] value whenever an instance comes, goes or changes its names; the
//! [`Server`] takes over what is different in it and listens on the gateway address of each network in it. The server
//! depends on nothing but the last value it was given, so it goes on answering while control is away;
//! in a [`process`] of its own it does so while the whole platform is.
//! [`files`] renders the files an instance finds in its `/etc`.
//!
//! What is asked takes one way: `socket` (bytes in, bytes out) → `responder` (may he ask, is it ours)
//! → `index` (who is called so) or `forwarder` (`cache`, then `exchange` with the `upstream`).
//!
//! This room knows DNS (hickory) and nothing of how networks are made. Start at [`Zones`].

mod cache;
mod exchange;
pub mod files;
mod forwarder;
mod index;
mod name_server;
pub mod process;
mod reply;
mod responder;
mod server;
mod socket;
mod upstream;
mod zones;

pub use name_server::{Listening, NameServer};
pub use server::{Config, Server};
pub use upstream::{HostResolvConf, read_resolv_conf};
pub use zones::{Alias, Inside, Joined, Member, NetworkNames, Zones};
