//! What files want: services, networks, volumes, secrets and configs in the words of [`model`].
//!
//! Things are called by their *keys* here, as the files call them: a mount's volume, an attachment's
//! network, a secret's source, a dependency. Who makes objects of them gives them names.

use std::collections::BTreeMap;
use std::fmt;

use model::data::Data;
use model::meta::Labels;
use model::network::NetworkSpec;
use model::service::ServiceSpec;
use model::volume::VolumeSpec;
use serde::{Deserialize, Serialize};

use crate::told::Note;

/// What files want.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wanted {
    /// What the files call the app; empty when they don't.
    pub name: String,
    /// The services, in the order of the files.
    pub services: Vec<WantedService>,
    /// The networks that services are on.
    pub networks: Vec<WantedNetwork>,
    /// The volumes.
    pub volumes: Vec<WantedVolume>,
    /// The secrets.
    pub secrets: Vec<WantedSecret>,
    /// The configs: those of the files, and files that are mounted.
    pub configs: Vec<WantedConfig>,
    /// What the files say that is left out of account, and why.
    pub ignored: Vec<Note>,
}

/// What something is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    /// What the files call it.
    pub key: String,
    /// What it shall be called, whatever the app's name; empty: whoever makes it gives it a name.
    pub name: String,
    /// Its labels.
    pub labels: Labels,
    /// It has to be there already; the app neither makes nor removes it.
    pub external: bool,
}

/// A service that is wanted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WantedService {
    /// What it is called, and the labels of the service itself.
    pub object: Named,
    /// What it is. The first container of its template is called as the service is; those behind it, and
    /// initial ones, are its sidekicks. It answers to its key on all its networks.
    pub spec: ServiceSpec,
    /// Data for the metadata service, by container.
    pub metadata: BTreeMap<String, serde_json::Value>,
    /// What it links to, by container: `service` or `app/service`, and what each is called there.
    pub links: BTreeMap<String, BTreeMap<String, String>>,
    /// How images are built that it runs, by container. They are built before, by whoever has the files.
    pub builds: BTreeMap<String, Build>,
    /// Where it stands.
    pub file: String,
    /// Its line.
    pub line: u32,
}

/// How an image is built.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Build {
    /// A directory below the root, or what the builder takes instead: a git address.
    pub context: String,
    /// The Dockerfile, below the context.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dockerfile: String,
    /// The Dockerfile's text, instead.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dockerfile_inline: String,
    /// Build arguments.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<String, String>,
    /// The stage that is built.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Labels of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Take no step from the cache.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_cache: bool,
    /// Ask registries what names of base images mean now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pull: bool,
    /// For which platforms; the node's own when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<String>,
    /// `host` or `none`; what instances reach when empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// `name:address` for `/etc/hosts` of its steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<String>,
    /// Bytes of `/dev/shm`; the usual when 0.
    pub shm_size: u64,
    /// `name=soft:hard`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ulimits: Vec<String>,
    /// Further names of the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What its steps are handed, by the id that they ask with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, BuildSecret>,
    /// Also when the image is here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub always: bool,
    /// What it cannot be built with, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unserved: Vec<Note>,
}

/// A secret that steps of a build are handed. Who builds looks for its value; reading does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildSecret {
    /// Its key at the top of the file.
    pub key: String,
    /// Where its value comes from.
    pub from: SecretSource,
    /// Its value, where that is a variable's; never written.
    #[serde(skip)]
    pub value: Option<Data>,
    /// Where it is asked for.
    pub place: Note,
}

/// Where the value of a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SecretSource {
    /// A file: its path below the root.
    File(String),
    /// A variable of that name.
    Environment(String),
    /// The platform: it has a secret of that name.
    Platform(String),
}

/// A network that is wanted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WantedNetwork {
    /// What it is called; the key `default` is the app's own network.
    pub object: Named,
    /// What it is.
    pub spec: NetworkSpec,
}

/// A volume that is wanted.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WantedVolume {
    /// What it is called.
    pub object: Named,
    /// What it is.
    pub spec: VolumeSpec,
}

/// A secret that is wanted.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct WantedSecret {
    /// What it is called.
    pub object: Named,
    /// Its value; nothing when it is external.
    pub value: Vec<u8>,
}

impl fmt::Debug for WantedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WantedSecret({:?}, {} bytes)", self.object.key, self.value.len())
    }
}

/// A config that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WantedConfig {
    /// What it is called.
    pub object: Named,
    /// What stands in it; nothing when it is external.
    pub value: Vec<u8>,
}
