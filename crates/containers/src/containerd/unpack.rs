//! Turns the layers of an image into snapshots, each on the one below.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::types::Descriptor;
use model::error::Context;
use model::{Error, ErrorKind, Result};

use super::create::blocking;
use super::leases::Lease;
use super::snapshots::{chain_id, check_digest};
use super::status::{self, Explain};
use super::{Containerd, SNAPSHOTTER, mounts, unbounded};

/// How long an unpack cut short keeps what it made.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// A layer of an image, whose blob is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Digest of the blob.
    pub digest: String,
    /// Digest of the archive in it, unpacked.
    pub diff_id: String,
    /// `application/vnd.oci.image.layer.v1.tar+gzip` and the like.
    pub media_type: String,
    /// Bytes of the blob.
    pub size: u64,
}

/// How far an unpack has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Layers there are now, from the lowest on.
    pub done: usize,
    /// Layers in all.
    pub of: usize,
}

/// Layers being unpacked: one lock for each chain, so that each is unpacked once however many ask.
#[derive(Debug, Default)]
pub(super) struct Table {
    chains: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl Table {
    pub(super) fn lock_of(&self, chain: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut chains = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        chains.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = chains.get(chain).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        chains.insert(chain.to_owned(), Arc::downgrade(&lock));
        lock
    }
}

impl Containerd {
    /// Unpacks `layers`, lowest first, where that has not been done, and returns the chain id of
    /// the topmost: what [`ContainerConfig::chain`](crate::ContainerConfig::chain) wants. The blob
    /// `configuration` is marked to keep the result from the garbage collector as long as it
    /// stays itself; nothing is marked when it is empty.
    ///
    /// # Errors
    /// `Invalid` for a layer that is not an archive or not of its digest, `NotFound` for one whose
    /// blob is not there, `Exhausted` for a full disk. Nothing of a failed layer is left.
    pub async fn unpack(
        &self,
        layers: &[Layer],
        configuration: &str,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<String> {
        let chains = chains(layers)?;
        let chain = chains.last().cloned().unwrap_or_default();
        // Marked first: what is there then cannot go any more.
        self.keep_chain(configuration, &chain).await?;
        if !layers.is_empty() && !self.has_snapshot(&chain).await? {
            let lease = self.lease(LONGEST).await?;
            let unpacked = self.unpack_under(layers, &chains, &lease, &progress).await;
            self.release_soon(lease);
            unpacked?;
        }
        progress(Progress { done: layers.len(), of: layers.len() });
        Ok(chain)
    }

    /// Unpacks one layer on the chain `below`, empty for the lowest, where that has not been done,
    /// and returns its own chain id. `lease` keeps it until [`Containerd::keep_chain`] has marked
    /// what shall. The agent's store of content needs it layer by layer.
    ///
    /// # Errors
    /// As [`Containerd::unpack`].
    pub async fn unpack_layer(&self, below: &str, layer: &Layer, lease: &Lease) -> Result<String> {
        check_digest(&layer.digest)?;
        check_digest(&layer.diff_id)?;
        let chain = match below {
            "" => chain_id(&[&layer.diff_id]),
            below => chain_id(&[below, &layer.diff_id]),
        };
        let lock = self.inner.unpacking.lock_of(&chain);
        let _alone = lock.lock().await;
        self.hold_snapshot(lease, &chain).await?;
        if !self.has_snapshot(&chain).await? {
            self.unpack_one(layer, below, &chain, lease).await?;
        }
        Ok(chain)
    }

    async fn unpack_under(
        &self,
        layers: &[Layer],
        chains: &[String],
        lease: &Lease,
        progress: &(impl Fn(Progress) + Send + Sync),
    ) -> Result<()> {
        for (i, layer) in layers.iter().enumerate() {
            progress(Progress { done: i, of: layers.len() });
            let below = if i == 0 { "" } else { &chains[i - 1] };
            let lock = self.inner.unpacking.lock_of(&chains[i]);
            let _alone = lock.lock().await;
            // Held before it is looked for: whoever made it may let go of it at any moment.
            self.hold_snapshot(lease, &chains[i]).await?;
            if !self.has_snapshot(&chains[i]).await? {
                self.unpack_one(layer, below, &chains[i], lease).await?;
            }
        }
        Ok(())
    }

    async fn unpack_one(
        &self,
        layer: &Layer,
        below: &str,
        chain: &str,
        lease: &Lease,
    ) -> Result<()> {
        let key = format!("unpack-{:016x}", mounts::fastrand());
        let filled = self.fill(layer, below, &key, lease).await;
        let kept = match filled {
            Ok(()) => self.commit_snapshot(&key, chain, lease).await,
            Err(error) => Err(error),
        };
        if !matches!(kept, Ok(true)) {
            // If even this fails, it goes with the lease.
            let _ = self.remove_snapshot(&key).await;
        }
        kept.map(drop)
    }

    /// Applies a layer to a new snapshot and checks what came out.
    async fn fill(&self, layer: &Layer, below: &str, key: &str, lease: &Lease) -> Result<()> {
        let failed = || format!("layer {} cannot be unpacked", layer.digest);
        let mounts = self.prepare(key, below, HashMap::new(), Some(lease)).await.explain(failed)?;
        let request = ApplyRequest {
            diff: Some(Descriptor {
                media_type: layer.media_type.clone(),
                digest: layer.digest.clone(),
                size: i64::try_from(layer.size).unwrap_or(i64::MAX),
                annotations: HashMap::new(),
            }),
            mounts,
            ..ApplyRequest::default()
        };
        let request = Lease::over(Some(lease), unbounded(request)).explain(failed)?;
        let applied = self.client().diff().apply(request).await.map_err(|s| refused(s, layer))?;
        let found = applied.into_inner().applied.map(|applied| applied.digest).unwrap_or_default();
        if found != layer.diff_id {
            return Err(Error::invalid(format!(
                "layer {} holds {found}, not {} as its image says",
                layer.digest, layer.diff_id
            ))
            .next("pull the image again; if that does not help, it is broken at its source"));
        }
        self.settle().await
    }

    /// Makes sure that the layer's files are on the disk before its record says that they are:
    /// containerd does so only since 2.0, and only when asked.
    async fn settle(&self) -> Result<()> {
        let state = self.inner.state.clone();
        blocking(move || {
            let failed = || format!("{} cannot be written back", state.display());
            let directory = std::fs::File::open(&state).context(ErrorKind::Internal, failed)?;
            rustix::fs::syncfs(&directory).context(ErrorKind::Exhausted, failed)
        })
        .await
    }

    /// Lets a blob keep a chain of snapshots for as long as it stays itself.
    pub async fn keep_chain(&self, blob: &str, chain: &str) -> Result<()> {
        if blob.is_empty() || chain.is_empty() {
            return Ok(());
        }
        let label = format!("containerd.io/gc.ref.snapshot.{SNAPSHOTTER}");
        let marked = self
            .blob(blob)
            .await?
            .is_some_and(|blob| blob.labels.get(&label).is_some_and(|kept| kept == chain));
        if marked {
            return Ok(());
        }
        self.label_blob(blob, [(label, chain.to_owned())]).await
    }
}

fn chains(layers: &[Layer]) -> Result<Vec<String>> {
    for layer in layers {
        check_digest(&layer.digest)?;
        check_digest(&layer.diff_id)?;
    }
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
    Ok((1..=diff_ids.len()).map(|n| chain_id(&diff_ids[..n])).collect())
}

/// What the archive says is its image's fault; the rest is containerd's or the machine's.
fn refused(status: tonic::Status, layer: &Layer) -> Error {
    let broken = [
        "tar: ",
        "archive/tar",
        "gzip: ",
        "flate: ",
        "unexpected EOF",
        "invalid ",
        "magic number mismatch",
        "failed to get stream processor",
        "wrong diff id",
    ];
    let error = status::error(status, format!("layer {} cannot be unpacked", layer.digest));
    if error.kind() == ErrorKind::Internal && broken.iter().any(|part| error.chain().contains(part))
    {
        return Error::invalid(format!("layer {} is not a sound archive", layer.digest))
            .next("pull the image again; if that does not help, it is broken at its source")
            .caused_by(error);
    }
    error
}
