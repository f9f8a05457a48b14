//! Opening control, and the way to each noun's verbs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use link::NodePort;
use model::name::check_name;
use model::{Error, Result};
use store::Store;
use tasks::{Clock, Tasks};

use crate::catalogs::Librarian;
use crate::core::{Core, Random};
use crate::event_log::EventLog;
use crate::events::Events;
use crate::failure;
use crate::images::Images;
use crate::mirror::{Mirror, State};
use crate::reconcile;
use crate::service::Service;
use crate::{
    Apps, Catalogs, Configs, Instances, Keyring, Networks, Nodes, Operations, Projects, Secrets,
    Services, Snapshots, Tokens, Users, Volumes,
};

/// How control is set up.
#[derive(Clone)]
pub struct Config {
    /// Where records are kept.
    pub store: Arc<dyn Store>,
    /// The name of the node this process is.
    pub node: String,
    /// What tells the time.
    pub clock: Clock,
    /// What makes identities and secrets.
    pub random: Random,
    /// Networks that are given no subnet get a /24 of this.
    pub pool: ipnet::Ipv4Net,
    /// A node whose agent is not connected for so long is not ready.
    pub node_grace: Duration,
    /// Keeps the admin token's secret, before the first start makes the token: who dies in between
    /// leaves a secret that is good for nothing, and the next start makes another.
    pub keep_secret: KeepSecret,
    /// What secrets are sealed with. The same is to be given at each start over the same store.
    pub keyring: Arc<Keyring>,
}

/// What keeps a secret.
pub type KeepSecret = Arc<dyn Fn(&str) -> Result<()> + Send + Sync>;

impl Config {
    /// The usual settings over a store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, node: &str) -> Self {
        let pool = ipnet::Ipv4Net::new(std::net::Ipv4Addr::new(10, 128, 0, 0), 9);
        Self {
            store,
            node: node.to_owned(),
            clock: Clock::default(),
            random: Random::default(),
            pool: pool.unwrap_or_default(),
            node_grace: Duration::from_secs(20),
            keep_secret: Arc::new(|_| Ok(())),
            keyring: Arc::new(Keyring::fresh(&Random::default())),
        }
    }
}

/// The control plane of this process.
pub struct Control {
    pub(crate) core: Arc<Core>,
    tasks: Tasks,
    admin_secret: Mutex<Option<String>>,
}

impl Control {
    /// Reads everything from the store, makes what a first start needs (the cluster's id, the
    /// default project, this node, the admin token), and starts the loops that reconcile.
    ///
    /// # Errors
    /// `Invalid` for a name that no node can have; those of the store; `Internal` for records that
    /// this version cannot read.
    pub async fn open(config: Config) -> Result<Arc<Self>> {
        check_name(&config.node).map_err(|error| error.at("node"))?;
        let mirror = Arc::new(Mirror::load(&*config.store).await?);
        let tasks = Tasks::new(config.clock.clone());
        tasks.spawn_plain(mirror.clone().follow(config.store.clone()));
        let events = EventLog::load(&*config.store).await?;
        let core = Arc::new(Core {
            store: config.store,
            mirror,
            events,
            clock: config.clock,
            random: config.random,
            passwords: crate::users::Passwords::default(),
            node: config.node,
            pool: config.pool,
            keyring: config.keyring,
            changing: tokio::sync::RwLock::default(),
            opened: crate::handed::Opened::default(),
            cursors: Mutex::default(),
            nodes: std::sync::RwLock::default(),
            librarian: std::sync::RwLock::default(),
            desired: reconcile::desired::Board::default(),
            wakes: reconcile::Wakes::default(),
            ongoing: crate::operations::Ongoings::default(),
            closing: tokio_util::sync::CancellationToken::new(),
        });
        let admin_secret =
            Mutex::new(crate::tokens::first_start(&core, &config.keep_secret).await?);
        crate::operations::fail_abandoned(&core).await?;
        crate::report::revive(&core, &core.node).await?;
        reconcile::start(&core, &tasks, config.node_grace);
        Ok(Arc::new(Self { core, tasks, admin_secret }))
    }

    /// Ends streams and loops, each after the pass it is in, and writes down what is not written
    /// yet. The store stays open.
    pub async fn shutdown(&self) {
        self.core.closing.cancel();
        self.tasks.stop().await;
        if let Err(error) = reconcile::events::flush(&self.core).await {
            tracing::warn!(error = %error.chain(), "the last events were not written down");
        }
    }

    /// The secret of the admin token, once, after the start that made it; only a hash is kept here.
    /// `tokens().renew("admin")` makes another. See [`Config::keep_secret`].
    pub fn take_admin_secret(&self) -> Option<String> {
        self.admin_secret.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Tells control how a node is reached.
    pub fn connect_node(&self, name: &str, port: Arc<dyn NodePort>) {
        let mut nodes = self.core.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.insert(name.to_owned(), port);
        drop(nodes);
        self.core.wakes.liveness.wake();
    }

    /// Tells control that a node is no longer reached.
    pub fn disconnect_node(&self, name: &str) {
        let mut nodes = self.core.nodes.write().unwrap_or_else(PoisonError::into_inner);
        nodes.remove(name);
        drop(nodes);
        self.core.wakes.liveness.wake();
    }

    /// Tells control who reads the sources of catalogs.
    pub fn connect_librarian(&self, librarian: Arc<dyn Librarian>) {
        let mut place = self.core.librarian.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(librarian);
        drop(place);
        self.core.wakes.catalogs.wake();
    }

    /// Catalogs.
    #[must_use]
    pub fn catalogs(&self) -> Catalogs {
        Service::new(self.core.clone())
    }

    /// Instances and their verbs.
    #[must_use]
    pub fn instances(&self) -> Instances {
        Service::new(self.core.clone())
    }

    /// Networks.
    #[must_use]
    pub fn networks(&self) -> Networks {
        Service::new(self.core.clone())
    }

    /// Volumes.
    #[must_use]
    pub fn volumes(&self) -> Volumes {
        Service::new(self.core.clone())
    }

    /// Apps.
    #[must_use]
    pub fn apps(&self) -> Apps {
        Service::new(self.core.clone())
    }

    /// Secrets.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        Service::new(self.core.clone())
    }

    /// What is wrong with what it keeps, one sentence each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let unreadable = |state: &State| crate::secrets::unreadable(state, &self.core.keyring);
        self.core.read(unreadable).into_iter().collect()
    }

    /// Configs.
    #[must_use]
    pub fn configs(&self) -> Configs {
        Service::new(self.core.clone())
    }

    /// Services.
    #[must_use]
    pub fn services(&self) -> Services {
        Service::new(self.core.clone())
    }

    /// Snapshots of volumes.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        Service::new(self.core.clone())
    }

    /// Projects.
    #[must_use]
    pub fn projects(&self) -> Projects {
        Service::new(self.core.clone())
    }

    /// Nodes.
    #[must_use]
    pub fn nodes(&self) -> Nodes {
        Service::new(self.core.clone())
    }

    /// Tokens.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        Service::new(self.core.clone())
    }

    /// Users.
    #[must_use]
    pub fn users(&self) -> Users {
        Service::new(self.core.clone())
    }

    /// Operations.
    #[must_use]
    pub fn operations(&self) -> Operations {
        Service::new(self.core.clone())
    }

    /// What happened.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.core.clone())
    }

    /// Images of nodes.
    #[must_use]
    pub fn images(&self) -> Images {
        Images::new(self.core.clone())
    }

    /// This node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.core.node
    }

    /// What each reconcile loop did last.
    #[must_use]
    pub fn loops(&self) -> Vec<tasks::Report> {
        self.tasks.reports()
    }

    /// How the store is doing.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn store_stats(&self) -> Result<store::Stats> {
        self.core.store.stats().await.map_err(failure::of_store)
    }

    /// Writes a copy of the store to a new file while it is in use; returns its revision.
    ///
    /// # Errors
    /// `Invalid` when the file is there already or cannot be written.
    pub async fn backup(&self, path: &Path) -> Result<u64> {
        let revision = self.core.store.backup(path).await;
        revision.map(|revision| revision.0).map_err(|error| match error {
            error @ store::Error::Backup { .. } => {
                Error::invalid(format!("the backup {} could not be written", path.display()))
                    .next("give a path to a new file in a directory that exists")
                    .caused_by(error)
            }
            error => failure::of_store(error),
        })
    }
}
