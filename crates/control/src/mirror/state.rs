//! Everything control remembers, at one revision.

use std::collections::HashMap;
use std::sync::Arc;

use model::app::AppNoun;
use model::catalog::CatalogNoun;
use model::config::ConfigNoun;
use model::instance::InstanceNoun;
use model::network::NetworkNoun;
use model::node::NodeNoun;
use model::operation::OperationNoun;
use model::project::ProjectNoun;
use model::secret::SecretNoun;
use model::service::ServiceNoun;
use model::token::TokenNoun;
use model::user::UserNoun;
use model::volume::{SnapshotNoun, VolumeNoun};
use model::{Kind, Noun, Object, Result, Uid};

use super::table::Table;
use crate::keys;

/// Everything control remembers, at one revision.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) revision: u64,
    pub(crate) cluster: Option<Uid>,
    pub(crate) guards: HashMap<String, u64>,
    pub(crate) apps: Table<AppNoun>,
    pub(crate) catalogs: Table<CatalogNoun>,
    pub(crate) configs: Table<ConfigNoun>,
    pub(crate) instances: Table<InstanceNoun>,
    pub(crate) networks: Table<NetworkNoun>,
    pub(crate) nodes: Table<NodeNoun>,
    pub(crate) operations: Table<OperationNoun>,
    pub(crate) projects: Table<ProjectNoun>,
    pub(crate) secrets: Table<SecretNoun>,
    pub(crate) services: Table<ServiceNoun>,
    pub(crate) snapshots: Table<SnapshotNoun>,
    pub(crate) tokens: Table<TokenNoun>,
    pub(crate) users: Table<UserNoun>,
    pub(crate) volumes: Table<VolumeNoun>,
}

/// A noun whose objects are in the mirror.
pub trait Mirrored: Noun + Copy + PartialEq + std::fmt::Debug {
    /// Its objects.
    fn table(state: &State) -> &Table<Self>;
    /// The same, to be changed.
    fn table_mut(state: &mut State) -> &mut Table<Self>;
}

/// A change of a record, read and ready to be taken in.
pub(crate) enum Decoded {
    App(Arc<Object<AppNoun>>),
    Catalog(Arc<Object<CatalogNoun>>),
    Config(Arc<Object<ConfigNoun>>),
    Instance(Arc<Object<InstanceNoun>>),
    Network(Arc<Object<NetworkNoun>>),
    Node(Arc<Object<NodeNoun>>),
    Operation(Arc<Object<OperationNoun>>),
    Project(Arc<Object<ProjectNoun>>),
    Secret(Arc<Object<SecretNoun>>),
    Service(Arc<Object<ServiceNoun>>),
    Snapshot(Arc<Object<SnapshotNoun>>),
    Token(Arc<Object<TokenNoun>>),
    User(Arc<Object<UserNoun>>),
    Volume(Arc<Object<VolumeNoun>>),
    Gone(Kind, Uid),
    Cluster(Uid),
    Guard(String),
    /// A record the mirror has no use for: a name, a batch of events.
    Other,
}

macro_rules! nouns {
    ($($noun:ident, $kind:ident, $field:ident;)*) => {
        $(impl Mirrored for $noun {
            fn table(state: &State) -> &Table<Self> {
                &state.$field
            }

            fn table_mut(state: &mut State) -> &mut Table<Self> {
                &mut state.$field
            }
        })*

        /// Reads a record that was put at `revision`.
        pub(crate) fn decode(key: &str, value: &[u8], revision: u64) -> Result<Decoded> {
            let Some((kind, _)) = keys::parse(key) else { return Ok(decode_other(key, value)) };
            match kind {
                $(Kind::$kind => {
                    let mut object = Object::<$noun>::decode(value)?;
                    object.meta.revision = revision;
                    Ok(Decoded::$kind(Arc::new(object)))
                })*
                Kind::Event | Kind::Image => Ok(Decoded::Other),
            }
        }

        impl State {
            /// Takes in one change.
            pub(crate) fn apply(&mut self, change: Decoded, revision: u64) {
                match change {
                    $(Decoded::$kind(object) => self.$field.put(object, revision),)*
                    $(Decoded::Gone(Kind::$kind, id) => self.$field.remove(&id, revision),)*
                    Decoded::Cluster(id) => self.cluster = Some(id),
                    Decoded::Guard(key) => {
                        self.guards.insert(key, revision);
                    }
                    Decoded::Gone(Kind::Event | Kind::Image, _) | Decoded::Other => {}
                }
            }

            /// Makes this the first state there is: nothing before it can be watched.
            pub(crate) fn begin(&mut self, revision: u64) {
                self.revision = revision;
                $(self.$field.begin(revision);)*
            }

            /// Tells watchers of what was taken in.
            pub(crate) fn announce(&self) {
                $(self.$field.announce();)*
            }

            /// The ids of everything, for telling what is gone after a reload.
            pub(crate) fn ids(&self) -> Vec<(Kind, Uid)> {
                let mut ids = Vec::new();
                $(ids.extend(self.$field.iter().map(|object| (Kind::$kind, object.meta.id.clone())));)*
                ids
            }

            /// The revision of an object.
            pub(crate) fn revision_of(&self, kind: Kind, id: &Uid) -> Option<u64> {
                match kind {
                    $(Kind::$kind => self.$field.by_id(id).map(|object| object.meta.revision),)*
                    Kind::Event | Kind::Image => None,
                }
            }
        }
    };
}

nouns! {
    AppNoun, App, apps;
    CatalogNoun, Catalog, catalogs;
    ConfigNoun, Config, configs;
    InstanceNoun, Instance, instances;
    NetworkNoun, Network, networks;
    NodeNoun, Node, nodes;
    OperationNoun, Operation, operations;
    ProjectNoun, Project, projects;
    SecretNoun, Secret, secrets;
    ServiceNoun, Service, services;
    SnapshotNoun, Snapshot, snapshots;
    TokenNoun, Token, tokens;
    UserNoun, User, users;
    VolumeNoun, Volume, volumes;
}

fn decode_other(key: &str, value: &[u8]) -> Decoded {
    if key.starts_with(keys::GUARDS) {
        return Decoded::Guard(key.to_owned());
    }
    let id = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    match id {
        Some(id) if key == keys::CLUSTER => Decoded::Cluster(id),
        _ => Decoded::Other,
    }
}

impl Decoded {
    /// The kind of object that changed.
    pub(crate) fn kind(&self) -> Option<Kind> {
        match self {
            Decoded::Gone(kind, _) => Some(*kind),
            _ => self.id().map(|(kind, _)| kind),
        }
    }

    /// The object that is there.
    pub(crate) fn id(&self) -> Option<(Kind, Uid)> {
        let (kind, meta) = match self {
            Decoded::App(object) => (object.kind, &object.meta),
            Decoded::Catalog(object) => (object.kind, &object.meta),
            Decoded::Config(object) => (object.kind, &object.meta),
            Decoded::Instance(object) => (object.kind, &object.meta),
            Decoded::Network(object) => (object.kind, &object.meta),
            Decoded::Node(object) => (object.kind, &object.meta),
            Decoded::Operation(object) => (object.kind, &object.meta),
            Decoded::Project(object) => (object.kind, &object.meta),
            Decoded::Secret(object) => (object.kind, &object.meta),
            Decoded::Service(object) => (object.kind, &object.meta),
            Decoded::Snapshot(object) => (object.kind, &object.meta),
            Decoded::Token(object) => (object.kind, &object.meta),
            Decoded::User(object) => (object.kind, &object.meta),
            Decoded::Volume(object) => (object.kind, &object.meta),
            Decoded::Gone(..) | Decoded::Cluster(_) | Decoded::Guard(_) | Decoded::Other => {
                return None;
            }
        };
        Some((kind, meta.id.clone()))
    }
}
