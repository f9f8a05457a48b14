//! BuildKit: its daemon found, told, started and ended, and what its clients say passed on.
//!
//! Docker's clients take BuildKit for a part of the engine: they speak to it over connections of the
//! engine (`/grpc`), let it ask them for files, secrets and logins (`/session`), and have it put images
//! among the engine's by an exporter that no other BuildKit has. [`Daemon::control`] and
//! [`Daemon::session`] pass on what is said, and change nothing of it but that exporter's name ([`solve`]):
//! the image is written as an archive, which is taken in on its way to the client.

mod config;
mod context;
mod control;
mod daemon;
mod frames;
mod job;
mod lines;
mod programs;
mod proxy;
mod session;
mod solve;
#[cfg(test)]
mod tests;
mod usage;
mod wire;

pub use config::{Mirror, Registry};
pub use context::{inputs, patterns};
pub use control::Fresh;
pub use daemon::{Daemon, Start};
pub use job::{Handed, KitJob, Logins};
pub use lines::Lines;
pub use programs::Programs;
pub use session::{Archive, TakeIn};

use crate::registries::component;
