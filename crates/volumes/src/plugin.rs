//! Volume plugins of Docker's kind: storage behind a program that somebody else wrote.
//!
//! The protocol is Docker's legacy one (docs.docker.com/engine/extend/plugin_api,
//! docs.docker.com/engine/extend/plugins_volume): a plugin is found by a file ([`places`]), is posted
//! JSON over HTTP at a socket ([`client`]) and understands a handful of verbs ([`protocol`]).
//! [`driver`] makes a [`Driver`](crate::Driver) of all of them together.
//!
//! A plugin is trusted with what it mounts, and with nothing else: each call has a deadline, each
//! answer a size, and nobody who does not use its volumes waits for it.

mod client;
mod driver;
mod fill;
mod known;
mod looks;
mod places;
mod protocol;
mod record;
mod seen;
#[cfg(test)]
mod tests;

pub use driver::PluginVolumes;
pub use places::Places;
pub use protocol::Scope;
pub use seen::{Kind, Seen, SeenVolume};
