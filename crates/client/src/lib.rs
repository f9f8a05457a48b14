//! Typed client of the native API, and the one definition of what goes over its wire.
//!
//! [`Client`] is the entrance: `client.instances("default").start("web")`. The types of requests and
//! answers that are neither nouns (`model`) nor node talk (`link`) are in [`wire`]; the server uses
//! the same ones. Nothing here knows how the server does its work, and nothing reads the environment
//! but [`Config::from_env`].

mod apps;
mod catalogs;
pub mod config;
mod connect;
mod console;
mod download;
mod error;
pub mod events;
mod explain;
pub mod images;
pub mod instances;
mod ndjson;
pub mod objects;
mod request;
mod services;
mod session;
pub mod system;
mod tls;
pub mod tokens;
mod upload;
pub mod users;
mod volumes;
pub mod wire;

use std::sync::Arc;

use http::Uri;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::Result;
use model::app::AppNoun;
use model::config::ConfigNoun;
use model::network::NetworkNoun;
use model::node::NodeNoun;
use model::operation::OperationNoun;
use model::project::ProjectNoun;
use model::secret::SecretNoun;
use model::service::ServiceNoun;
use model::volume::{SnapshotNoun, VolumeNoun};

pub use catalogs::{Catalogs, Templates};
pub use config::{Config, Host, Trust};
pub use connect::Connector;
pub use error::unreachable;
pub use events::Events;
pub use images::Images;
pub use instances::{Download, Instances};
pub use objects::Objects;
pub use system::System;
pub use tokens::Tokens;
pub use users::Users;

/// Idle connections are closed after this long, sooner than the server closes them.
const IDLE: std::time::Duration = std::time::Duration::from_secs(30);

/// A connection to a cluster. Cheap to clone; connections are made when needed and kept alive.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    http: legacy::Client<Connector, upload::Body>,
    base: Uri,
    host: Host,
    authorization: Option<http::HeaderValue>,
}

impl Client {
    /// A client of the cluster that `HULL_HOST`, `HULL_TOKEN` and `HULL_CA` name; of this machine's
    /// daemon when they don't.
    pub fn from_env() -> Result<Self> {
        Self::connect(Config::from_env()?)
    }

    /// A client of the cluster that `config` names. Nothing is sent yet.
    ///
    /// Fails with `Invalid` when the token or the trust anchors cannot be used.
    pub fn connect(config: Config) -> Result<Self> {
        let connector = Connector::new(&config)?;
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let authorization = config.authorization()?;
        let base = config.host.base();
        Ok(Self { inner: Arc::new(Inner { http, base, host: config.host, authorization }) })
    }

    /// Where it connects to.
    pub fn host(&self) -> &Host {
        &self.inner.host
    }

    /// Instances of a project.
    pub fn instances(&self, project: &str) -> Instances {
        Instances::new(self.clone(), project)
    }

    /// Networks of a project.
    pub fn networks(&self, project: &str) -> Objects<NetworkNoun> {
        Objects::in_project(self.clone(), project)
    }

    /// Volumes of a project.
    pub fn volumes(&self, project: &str) -> Objects<VolumeNoun> {
        Objects::in_project(self.clone(), project)
    }

    /// Services of a project.
    pub fn services(&self, project: &str) -> Objects<ServiceNoun> {
        Objects::in_project(self.clone(), project)
    }

    /// Apps of a project.
    pub fn apps(&self, project: &str) -> Objects<AppNoun> {
        Objects::in_project(self.clone(), project)
    }

    /// Secrets of a project.
    pub fn secrets(&self, project: &str) -> Objects<SecretNoun> {
        Objects::in_project(self.clone(), project)
    }

    /// Configs of a project.
    pub fn configs(&self, project: &str) -> Objects<ConfigNoun> {
        Objects::in_project(self.clone(), project)
    }

    /// Snapshots of a project.
    pub fn snapshots(&self, project: &str) -> Objects<SnapshotNoun> {
        Objects::in_project(self.clone(), project)
    }

    /// Machines of the cluster.
    pub fn nodes(&self) -> Objects<NodeNoun> {
        Objects::of_cluster(self.clone())
    }

    /// Projects.
    pub fn projects(&self) -> Objects<ProjectNoun> {
        Objects::of_cluster(self.clone())
    }

    /// Long work, under way and done.
    pub fn operations(&self) -> Objects<OperationNoun> {
        Objects::of_cluster(self.clone())
    }

    /// Catalogs.
    pub fn catalogs(&self) -> Catalogs {
        Catalogs::new(self.clone())
    }

    /// Templates that are offered in a project.
    pub fn templates(&self, project: &str) -> Templates {
        Templates::new(self.clone(), project)
    }

    /// Credentials.
    pub fn tokens(&self) -> Tokens {
        Tokens::new(self.clone())
    }

    /// People.
    pub fn users(&self) -> Users {
        Users::new(self.clone())
    }

    /// Images.
    pub fn images(&self) -> Images {
        Images::new(self.clone())
    }

    /// What happened.
    pub fn events(&self) -> Events {
        Events::new(self.clone())
    }

    /// The platform itself.
    pub fn system(&self) -> System {
        System::new(self.clone())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("host", &self.inner.host).finish_non_exhaustive()
    }
}
