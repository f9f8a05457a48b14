//! The real engine: containerd, through its API.
//!
//! One file a verb, or a few that belong together. Each verb is written to be cut short anywhere:
//! what it left behind is found by its name and taken up, or removed by [`Containerd::sweep`].
//!
//! What is kept where: the record of a container is containerd's, with the description it was made
//! from as an extension ([`record`]); its writable layer is a snapshot of the container's name,
//! marked as a root for the garbage collector because it exists before the record does; pipes and
//! the mark of a run begun are files below the run-time directory ([`files`]).

mod blobs;
mod bundle;
mod cgroup;
mod changes;
pub(crate) mod channel;
mod commit;
mod create;
mod ends;
mod engine;
mod events;
mod exec;
mod fifo;
mod files;
mod gate;
mod images;
mod leases;
mod mounts;
mod observe;
mod processes;
mod record;
mod remap;
mod snapshots;
mod stats;
mod status;
mod sweep;
mod task;
mod unpack;
mod update;
mod wire;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use containerd_client::Client;
use model::Result;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{IntoRequest, Request};

use crate::host::HostFacts;
use crate::spec::Init;
use crate::supervisor::{Places, Settings};

pub use blobs::{Blob, BlobWriter, Ingest};
pub use images::{ImageRecord, Target};
pub use leases::Lease;
pub use snapshots::Usage;
pub use status::is_away;
pub use unpack::{Layer, Progress};

/// The namespace of containerd that everything is in.
const NAMESPACE: &str = "hull";

/// The kind of snapshots used: overlay mounts.
const SNAPSHOTTER: &str = "overlayfs";

/// The shim of a container.
const RUNTIME: &str = "io.containerd.runc.v2";

/// For calls that only read or write containerd's records.
const QUICK: Duration = Duration::from_secs(30);

/// For calls in which the runtime starts, ends or changes a process.
const SLOW: Duration = Duration::from_secs(180);

/// For freezing. What is not frozen by then may be waited for by its shim for ever; given up, it goes on.
const FREEZE: Duration = Duration::from_secs(20);

/// containerd as an [`Engine`](crate::Engine), and its store of images. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct Containerd {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    channel: Channel,
    run: PathBuf,
    state: PathBuf,
    program: PathBuf,
    init: Option<Init>,
    host: HostFacts,
    execs: exec::Table,
    gates: gate::Gates,
    unpacking: unpack::Table,
    /// Held while a directory left by a killed containerd is removed.
    orphans: tokio::sync::Mutex<()>,
}

impl Containerd {
    /// An engine on the socket of `places`. Nothing is asked yet.
    pub(crate) fn connect(settings: &Settings, places: &Places) -> Result<Self> {
        let init = match &settings.init {
            Some(init) => Some(init.clone()),
            None => crate::init::find(&settings.program, &places.state)?,
        };
        let inner = Inner {
            channel: channel::connect(&places.socket),
            run: places.run.clone(),
            state: places.state.clone(),
            program: settings.program.clone(),
            init,
            host: HostFacts::read(),
            execs: exec::Table::default(),
            gates: gate::Gates::default(),
            unpacking: unpack::Table::default(),
            orphans: tokio::sync::Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What this machine can do, as found at the start.
    pub fn host(&self) -> &HostFacts {
        &self.inner.host
    }

    fn client(&self) -> Client {
        Client::from(self.inner.channel.clone())
    }
}

/// A call within our namespace that must be answered in time.
fn call<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = unbounded(message);
    request.set_timeout(deadline);
    request
}

/// A call within our namespace that may take for ever.
fn unbounded<T>(message: T) -> Request<T> {
    let mut request = message.into_request();
    request.metadata_mut().insert("containerd-namespace", MetadataValue::from_static(NAMESPACE));
    request
}
