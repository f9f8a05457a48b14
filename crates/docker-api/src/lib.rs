//! The Docker Engine API: the words that `docker`, `docker compose` and Docker's SDKs speak.
//!
//! It translates. A container of this API is an Instance of the project it is served for, its id is the
//! instance's id; networks, volumes and images are those of the platform. What Docker asked of a container
//! and the platform has no word for is kept beside the instance (see [`containers::origin`]) and only read
//! back. Types of bodies are generated from the public API definition (`bollard-stubs`); what an engine
//! always sends besides, nulls included, is filled in by [`shape`].
//!
//! Where to start: [`server`] for the listeners, [`routes`] for the list of endpoints, [`version`] for
//! how a client and this engine agree on one, [`failure`] for how errors are told. Deliberately absent:
//! decisions, records, and the native API.

mod body;
mod builds;
mod config;
mod containers;
mod engine;
mod events;
mod exec;
mod failure;
mod filters;
#[cfg(test)]
mod fuzz;
mod health;
mod images;
mod networks;
mod query;
mod routes;
mod server;
mod shape;
mod streams;
mod swarm;
mod system;
mod times;
mod version;
mod volumes;
mod words;

pub use config::Config;
pub use server::{Server, bind};

use std::sync::Arc;

use control::{Caller, Control};
use tokio_util::sync::CancellationToken;

/// The engine that clients see.
pub(crate) struct Engine {
    pub(crate) audit: Arc<audit::Log>,
    pub(crate) control: Arc<Control>,
    /// The project whose objects are served.
    pub(crate) project: String,
    /// Name of the node that answers.
    pub(crate) node: String,
    /// Version of `hull`.
    pub(crate) version: String,
    /// Processes that were asked for inside containers.
    pub(crate) execs: exec::Execs,
    /// Streams and sessions end.
    pub(crate) stop: CancellationToken,
    /// State directory of the platform, as `docker info` shows.
    pub(crate) root: std::path::PathBuf,
}

/// How every route is given the engine.
pub(crate) type Shared = axum::extract::State<Arc<Engine>>;

/// Who asks, as the middleware found out.
pub(crate) type By = axum::Extension<Caller>;
