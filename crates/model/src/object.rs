//! The frame all nouns share.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::meta::Meta;

/// The nouns that are kept as records. In alphabetical order.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// An installed set of objects with a history.
    App,
    /// Where templates come from.
    Catalog,
    /// A file handed to instances.
    Config,
    /// What happened, and who did it.
    Event,
    /// An OCI image known to a node.
    Image,
    /// A group of containers, or one machine.
    Instance,
    /// An overlay or node-local network.
    Network,
    /// A machine of the cluster.
    Node,
    /// Long work with progress.
    Operation,
    /// A tenancy boundary.
    Project,
    /// Data handed to instances that nobody else is shown.
    Secret,
    /// Instances kept of a template.
    Service,
    /// A copy of a volume at a point in time.
    Snapshot,
    /// A credential.
    Token,
    /// Somebody who signs in.
    User,
    /// Named storage.
    Volume,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 16] = [
        Kind::App,
        Kind::Catalog,
        Kind::Config,
        Kind::Event,
        Kind::Image,
        Kind::Instance,
        Kind::Network,
        Kind::Node,
        Kind::Operation,
        Kind::Project,
        Kind::Secret,
        Kind::Service,
        Kind::Snapshot,
        Kind::Token,
        Kind::User,
        Kind::Volume,
    ];

    /// The kind's word, as in store keys and messages, e.g. `instance`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::App => "app",
            Kind::Catalog => "catalog",
            Kind::Config => "config",
            Kind::Event => "event",
            Kind::Image => "image",
            Kind::Instance => "instance",
            Kind::Network => "network",
            Kind::Node => "node",
            Kind::Operation => "operation",
            Kind::Project => "project",
            Kind::Secret => "secret",
            Kind::Service => "service",
            Kind::Snapshot => "snapshot",
            Kind::Token => "token",
            Kind::User => "user",
            Kind::Volume => "volume",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A noun: the types of its spec and status, and the rules its spec must keep.
pub trait Noun: Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;
    /// Whether its objects belong to a project (else to the cluster).
    const IN_PROJECT: bool;
    /// What was asked; written by people and control.
    type Spec: Serialize
        + DeserializeOwned
        + Clone
        + fmt::Debug
        + PartialEq
        + Send
        + Sync
        + utoipa::ToSchema;
    /// What was seen; written by whoever has it.
    type Status: Serialize
        + DeserializeOwned
        + Clone
        + fmt::Debug
        + Default
        + PartialEq
        + Send
        + Sync
        + utoipa::ToSchema;

    /// Refuses a spec that could never work, naming the field. Looks at nothing but the spec.
    fn validate(spec: &Self::Spec) -> Result<()>;
}

/// A record of a noun: who it is, what was asked, what was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(bound = "")]
pub struct Object<N: Noun> {
    /// Its kind; always `N::KIND`.
    pub kind: Kind,
    /// Who it is.
    pub meta: Meta,
    /// What was asked.
    pub spec: N::Spec,
    /// What was seen.
    #[serde(default)]
    pub status: N::Status,
}

impl<N: Noun> Object<N> {
    /// A new object with nothing seen yet.
    pub fn new(meta: Meta, spec: N::Spec) -> Self {
        Self { kind: N::KIND, meta, spec, status: N::Status::default() }
    }

    /// Checks everything that people write.
    pub fn validate(&self) -> Result<()> {
        self.meta.validate()?;
        N::validate(&self.spec).map_err(|error| error.under("spec"))
    }

    /// The bytes that are stored.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("model types have string keys and cannot fail to encode")
    }

    /// Reads what [`Object::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| {
            Error::internal(format!("a stored {} cannot be read", N::KIND)).caused_by(error)
        })
    }

    /// `kind name`, for messages.
    pub fn title(&self) -> String {
        format!("{} {:?}", N::KIND, self.meta.name)
    }
}
