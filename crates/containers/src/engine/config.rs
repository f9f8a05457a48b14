//! What a container is made from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use model::image::ImageConfig;
use model::instance::{ContainerSpec, Propagation, UserMapping};
use serde::{Deserialize, Serialize};

use super::ContainerId;

/// A container as the agent resolved it: nothing is left to look up but what lies in its image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerConfig {
    /// Its name in the engine.
    pub id: ContainerId,
    /// Kept with it and given back by [`Observed`](super::Observed).
    pub labels: BTreeMap<String, String>,
    /// The image's name, for people.
    pub image: String,
    /// The unpacked image: chain id of its topmost layer. Empty for an image of no layers.
    pub chain: String,
    /// What the image says about how to run it.
    pub image_config: ImageConfig,
    /// What was asked. Of its mounts only tmpfs ones are taken from here; volumes and bind mounts
    /// come resolved, in `binds`. Its image, pull policy and health check are not looked at.
    pub spec: ContainerSpec,
    /// Host name inside; unset with the host's UTS namespace.
    pub hostname: String,
    /// NIS domain name inside.
    pub domainname: String,
    /// Whose network it uses.
    pub network: Namespace,
    /// Whose processes it sees.
    pub pid: Namespace,
    /// Whose System V and POSIX IPC it uses; with a path, `/dev/shm` must be among `binds`.
    pub ipc: Namespace,
    /// Whose host name it has.
    pub uts: Namespace,
    /// Whose cgroup tree it sees.
    pub cgroup: Namespace,
    /// Whose users it has.
    pub user: UserNamespace,
    /// Host paths mounted inside, in this order.
    pub binds: Vec<Bind>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Cgroup its own is made in, below the root of each hierarchy: `/hull-1a2b3c`. Its own is
    /// called by its id.
    pub cgroup_parent: String,
    /// Directory its output is kept in; `None` drops it.
    pub log: Option<PathBuf>,
}

impl ContainerConfig {
    /// A container with private namespaces, no mounts and dropped output; for tests, and to fill in.
    pub fn new(id: ContainerId, chain: impl Into<String>, spec: ContainerSpec) -> Self {
        Self {
            hostname: id.to_string(),
            image: spec.image.clone(),
            id,
            labels: BTreeMap::new(),
            chain: chain.into(),
            image_config: ImageConfig::default(),
            spec,
            domainname: String::new(),
            network: Namespace::New,
            pid: Namespace::New,
            ipc: Namespace::New,
            uts: Namespace::New,
            cgroup: Namespace::New,
            user: UserNamespace::Host,
            binds: Vec::new(),
            sysctls: BTreeMap::new(),
            cgroup_parent: "/hull".to_owned(),
            log: None,
        }
    }
}

/// Which namespace of a kind (namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// One of its own.
    New,
    /// The host's.
    Host,
    /// The one at this path: `/proc/<pid>/ns/<kind>`, `/run/netns/<name>`.
    Path(PathBuf),
}

/// Which user namespace (user_namespaces(7)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserNamespace {
    /// The host's: root inside is root outside.
    Host,
    /// One of its own with these ids; the image's files are given to them.
    Mapped(UserMapping),
    /// The one at this path, whose mapping is this.
    Path {
        /// `/proc/<pid>/ns/user`.
        path: PathBuf,
        /// Its mapping.
        mapping: UserMapping,
    },
}

impl UserNamespace {
    /// The mapping, unless it is the host's namespace.
    pub fn mapping(&self) -> Option<&UserMapping> {
        match self {
            UserNamespace::Host => None,
            UserNamespace::Mapped(mapping) | UserNamespace::Path { path: _, mapping } => {
                Some(mapping)
            }
        }
    }
}

/// A host path mounted inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Absolute path on the host; it must exist.
    pub source: PathBuf,
    /// Absolute path inside; made if it is not there.
    pub target: String,
    /// It cannot be written through this mount.
    pub read_only: bool,
    /// Whether mounts made later are seen on the other side.
    pub propagation: Propagation,
    /// With the mounts below it.
    pub recursive: bool,
}

impl Bind {
    /// A private, recursive, writable bind mount.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            read_only: false,
            propagation: Propagation::Rprivate,
            recursive: true,
        }
    }

    /// The same, not writable.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }
}
