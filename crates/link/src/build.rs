//! What is asked of a node about building images.

use std::collections::BTreeMap;

use async_trait::async_trait;
use model::data::Data;
use model::{Bytes, Error, Result, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::image::Login;
use crate::{ByteStream, ResultStream};

/// What is built. Its context comes beside it, as a tar archive.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildRequest {
    /// Names the image gets.
    pub names: Vec<String>,
    /// Path of the Dockerfile in the context; `Dockerfile` when empty.
    pub dockerfile: String,
    /// A git repository or an archive on the network, in place of a context that comes.
    pub remote: String,
    /// Stage that is built; the last when empty.
    pub target: String,
    /// Values of `ARG`; without one, the name is taken away.
    pub arguments: Vec<(String, Option<String>)>,
    /// Labels of the image.
    pub labels: Vec<(String, String)>,
    /// `linux/amd64`; the node's own when empty.
    pub platform: String,
    /// Take no step from the cache.
    pub no_cache: bool,
    /// Ask registries what names of base images mean now.
    pub pull: bool,
    /// One layer in place of those of the steps.
    pub squash: bool,
    /// What `RUN` reaches.
    pub reach: BuildReach,
    /// `name:address` for `/etc/hosts` of `RUN`.
    pub extra_hosts: Vec<String>,
    /// Bytes of `/dev/shm`; the usual when 0.
    pub shm_size: u64,
    /// `name=soft:hard`.
    pub ulimits: Vec<String>,
    /// Bounds on the build.
    pub limits: BuildLimits,
    /// Who asks registries; the node's stored logins beside.
    pub logins: Vec<Login>,
    /// It is BuildKit that builds, and asks this session of a client; nobody's when it is empty.
    pub session: Option<String>,
    /// Whichever builder is here builds, and tells of it in lines of text.
    pub plain: bool,
    /// It is for somebody who must not have the host: steps of buildah see the host's devices.
    #[serde(default)]
    pub contained: bool,
}

/// What the steps of a build reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BuildReach {
    /// The world, as an instance does.
    #[default]
    World,
    /// What the host reaches, its loopback with it.
    Host,
    /// Nothing.
    Nothing,
}

/// Bounds on all processes of a build together; 0 for none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildLimits {
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of memory and swap.
    pub memory_swap: u64,
    /// Docker's weight of processor time; 1024 is usual.
    pub cpu_shares: u64,
    /// Microseconds of processor time in a period.
    pub cpu_quota: u64,
    /// Microseconds of a period.
    pub cpu_period: u64,
    /// Processors, `0-1,3`; all when empty.
    pub cpus: String,
}

/// What the steps of a build are handed as files that no layer keeps (`RUN --mount=type=secret`), by id.
pub type BuildSecrets = BTreeMap<String, Data>;

/// What the steps of a build are handed.
#[derive(Debug, Clone, Default)]
pub struct BuildHanded {
    /// The project that named secrets are of.
    pub project: String,
    /// Secrets, by the id that steps ask for them with.
    pub secrets: BTreeMap<String, BuildSecret>,
}

/// A secret of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildSecret {
    /// Its value.
    Value(Data),
    /// One of the platform's, by its name.
    Named(String),
}

/// How far a build is. The last item of a stream that ended well is [`BuildStep::Built`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub enum BuildStep {
    /// What it prints.
    #[serde(rename_all = "camelCase")]
    Text {
        /// A line or a part of one, with its end.
        text: String,
    },
    /// What BuildKit tells of its progress (`StatusResponse` of its API).
    #[serde(rename_all = "camelCase")]
    Trace {
        /// The message.
        message: Vec<u8>,
    },
    /// It failed; nothing comes after this.
    #[serde(rename_all = "camelCase")]
    Failed {
        /// The sentence.
        message: String,
        /// Exit code of the `RUN` that failed, if one did.
        code: Option<i32>,
    },
    /// The image is there.
    #[serde(rename_all = "camelCase")]
    Built {
        /// Its id.
        id: String,
        /// Names it has got now, in full.
        names: Vec<String>,
    },
}

/// Something that is kept between builds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildCache {
    /// Its id.
    pub id: String,
    /// A name, if it has one.
    pub name: String,
    /// When it was made.
    pub created: Option<Time>,
    /// Bytes it takes with all it stands on.
    pub size: Bytes,
}

/// What pruning took away.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BuildPruned {
    /// Ids of what is gone.
    pub removed: Vec<String>,
    /// Bytes given back.
    pub freed: Bytes,
}

/// A client's connection to the node's BuildKit: bytes of HTTP/2 that the node reads. Dropping either end
/// ends it, and what was asked for over it.
pub struct BuildWire {
    /// From the client. Bounded.
    pub input: mpsc::Sender<bytes::Bytes>,
    /// To the client.
    pub output: ByteStream,
}

/// Who asks whom over a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildWireKind {
    /// The client asks BuildKit.
    Control,
    /// BuildKit asks the client, which told of itself in these headers.
    Session {
        /// Names in lower case, and values.
        headers: Vec<(String, String)>,
    },
}

/// What is asked of a node about building images. A node without a builder refuses with `Unsupported`.
#[async_trait]
pub trait BuildCalls: Send + Sync {
    /// Builds an image. The build ends when nobody reads what it says.
    async fn build(
        &self,
        request: BuildRequest,
        context: ByteStream,
    ) -> Result<ResultStream<BuildStep>>;

    /// Builds an image, and hands its steps secrets: to those that ask for them, in memory.
    async fn build_handed(
        &self,
        request: BuildRequest,
        secrets: BuildSecrets,
        context: ByteStream,
    ) -> Result<ResultStream<BuildStep>> {
        match secrets.is_empty() {
            true => self.build(request, context).await,
            false => Err(Error::unsupported("builds of this node are handed no secrets")),
        }
    }

    /// What is kept between builds; nothing where none is installed.
    async fn build_cache(&self) -> Result<Vec<BuildCache>>;

    /// Removes what is kept: with `all` everything, else what no built image needs.
    async fn build_prune(&self, all: bool) -> Result<BuildPruned>;

    /// Whether BuildKit is here, without fetching it.
    async fn build_kit(&self) -> Result<bool>;

    /// Connects a client with BuildKit, which is started if it does not run.
    async fn build_wire(&self, kind: BuildWireKind) -> Result<BuildWire>;
}
