//! What a content store must do. The verbs are containerd's content, images, leases, snapshots and
//! diff services, as far as images need them; [`crate::conformance`] holds every store to this page.

use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use model::{Result, Time};
use serde::{Deserialize, Serialize};

use crate::descriptor::Descriptor;
use crate::digest::Digest;

/// Labels of a blob or an image.
pub type Labels = BTreeMap<String, String>;

/// Bytes as they come.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Prefix of the labels by which one blob keeps others from being collected; the value is a digest.
/// containerd's garbage collector follows the same labels (`docs/garbage-collection.md`).
pub const LABEL_REFERENCE: &str = "containerd.io/gc.ref.content";

/// Label of a layer that has passed the layer check; the value is its diff id. containerd knows it
/// under the same name and meaning.
pub const LABEL_UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// Label of a layer's blob: bytes of the files in it.
pub const LABEL_FILES: &str = "hull.files";

/// The labels by which a blob keeps `children`.
pub fn reference_labels<'a>(children: impl IntoIterator<Item = &'a Digest>) -> Labels {
    let label = |(index, digest): (usize, &Digest)| {
        (format!("{LABEL_REFERENCE}.{index}"), digest.to_string())
    };
    children.into_iter().enumerate().map(label).collect()
}

/// What is known of a blob that is complete.
#[derive(Debug, Clone, PartialEq)]
pub struct BlobInfo {
    /// Its digest.
    pub digest: Digest,
    /// Its number of bytes.
    pub size: u64,
    /// When it was committed.
    pub created: Time,
    /// Its labels.
    pub labels: Labels,
}

/// What is known of a blob that is being written, or was when a writer died.
#[derive(Debug, Clone, PartialEq)]
pub struct IngestInfo {
    /// The name it is written under.
    pub reference: String,
    /// Bytes so far.
    pub offset: u64,
}

/// What is asked of [`ContentStore::writer`].
#[derive(Debug, Clone, PartialEq)]
pub struct WriteRequest {
    /// Name of the ingest: letters, digits and `-_.:`, at most 128. The same name finds the same bytes again.
    pub reference: String,
    /// Number of bytes to come, if known.
    pub size: Option<u64>,
    /// Digest they will have, if known.
    pub digest: Option<Digest>,
}

/// What [`ContentStore::writer`] found.
pub enum Ingest {
    /// A blob of the expected digest is there already; the lease of this view now keeps it too.
    Present,
    /// Write here, from [`BlobWriter::offset`] on.
    Open(Box<dyn BlobWriter>),
}

/// Most bytes that a writer may gather before they reach its store.
pub const WRITER_KEEPS: u64 = 1 << 20;

/// Writes one blob. Nothing is visible before [`BlobWriter::commit`]. Dropped without commit, what
/// was appended stays under its name for a later writer to continue, but for the last
/// [`WRITER_KEEPS`] bytes, which may be lost.
#[async_trait]
pub trait BlobWriter: Send {
    /// Bytes already written, by this writer or an earlier one.
    fn offset(&self) -> u64;

    /// Adds bytes at the offset.
    async fn append(&mut self, data: Bytes) -> Result<()>;

    /// Forgets what was written: the offset is 0 again.
    async fn restart(&mut self) -> Result<()>;

    /// Makes the blob visible, durable and labelled in one step, if it has exactly this size and
    /// digest. Otherwise fails as `Invalid`, and the ingest is gone. A blob that exists by now is no failure.
    async fn commit(self: Box<Self>, size: u64, digest: &Digest, labels: Labels) -> Result<()>;
}

/// A name and what it points at.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// `docker.io/library/nginx:latest`, `docker.io/library/nginx@sha256:…`, or a bare `sha256:…` for
    /// an image without a name.
    pub name: String,
    /// An index or a manifest.
    pub target: Descriptor,
    /// Labels.
    pub labels: Labels,
    /// When the name was first given.
    pub created: Time,
    /// When it was last changed.
    pub updated: Time,
}

/// One layer to be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// The blob.
    pub descriptor: Descriptor,
    /// Digest of its tar, uncompressed.
    pub diff_id: Digest,
}

/// The chain id of layers that lie on each other, lowest first: the name of the unpacked result
/// (OCI image specification, `config.md`, "Layer ChainID"). `None` for no layers.
pub fn chain_id<'a>(diff_ids: impl IntoIterator<Item = &'a Digest>) -> Option<Digest> {
    diff_ids.into_iter().fold(None, |parent: Option<Digest>, diff_id| {
        Some(match parent {
            Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
            None => diff_id.clone(),
        })
    })
}

/// A store of blobs, names and unpacked layers. All verbs are safe to repeat. Errors: `NotFound` for
/// a blob or name that is not there, `Exhausted` for a full disk, `Unavailable` for a store that does
/// not answer.
#[async_trait]
pub trait ContentStore: Send + Sync {
    /// What is known of a blob; `None` if it is not there.
    async fn info(&self, digest: &Digest) -> Result<Option<BlobInfo>>;

    /// Opens a new ingest or continues the one of this name. `Conflict` while another writer holds it.
    async fn writer(&self, request: &WriteRequest) -> Result<Ingest>;

    /// Ingests that are not committed.
    async fn ingests(&self) -> Result<Vec<IngestInfo>>;

    /// Forgets an ingest; one that does not exist is no failure.
    async fn abort(&self, reference: &str) -> Result<()>;

    /// The bytes of a blob; those of `range` if given, whose end may lie behind the blob's.
    async fn reader(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream>;

    /// Adds and replaces labels of a blob; an empty value removes the label.
    async fn set_labels(&self, digest: &Digest, labels: Labels) -> Result<()>;

    /// All complete blobs.
    async fn list(&self) -> Result<Vec<BlobInfo>>;

    /// Removes a blob now; one that does not exist is no failure.
    async fn delete(&self, digest: &Digest) -> Result<()>;

    /// The record of this exact name.
    async fn image(&self, name: &str) -> Result<Option<ImageRecord>>;

    /// All records, sorted by name.
    async fn images(&self) -> Result<Vec<ImageRecord>>;

    /// Gives `name` to `target`, whatever it named before. `created` stays as it was.
    async fn put_image(&self, name: &str, target: &Descriptor, labels: Labels) -> Result<()>;

    /// Takes a name away; one that does not exist is no failure. What it pointed at goes with [`ContentStore::collect`].
    async fn remove_image(&self, name: &str) -> Result<()>;

    /// A view of the same store under the lease `id`: whatever is written, opened for writing or
    /// unpacked through it is not collected until the lease is released or `expires` from now.
    /// Taking a lease that exists renews it.
    async fn lease(&self, id: &str, expires: Duration) -> Result<Arc<dyn ContentStore>>;

    /// Ends a lease; one that does not exist is no failure.
    async fn release(&self, id: &str) -> Result<()>;

    /// Removes, before it returns, what neither a name nor a lease keeps: blobs follow the labels
    /// [`LABEL_REFERENCE`], unpacked layers what [`ContentStore::bind_unpacked`] said.
    async fn collect(&self) -> Result<()>;

    /// Unpacks one checked layer onto `parent` (a chain id) and returns its own chain id. What is
    /// unpacked already costs a look-up. Nothing half unpacked is ever visible.
    async fn unpack(&self, parent: Option<&Digest>, layer: &Layer) -> Result<Digest>;

    /// Bytes that the unpacked layer `chain` takes by itself, without those below it.
    async fn unpacked_size(&self, chain: &Digest) -> Result<u64>;

    /// Keeps the unpacked `top` for as long as the configuration blob `config` is kept.
    async fn bind_unpacked(&self, config: &Digest, top: &Digest) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_of_one_is_its_diff_and_of_two_their_hash() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        assert_eq!(chain_id([]), None);
        assert_eq!(chain_id([&a]), Some(a.clone()));
        let both = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(chain_id([&a, &b]), Some(both));
    }
}
