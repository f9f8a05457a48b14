//! A content store in a directory: an OCI image layout (OCI image specification, `image-layout.md`)
//! with a little beside it. One process at a time may have it open.
//!
//! ```text
//! oci-layout, index.json     names, as annotations
//! blobs/sha256/<hex>         complete blobs
//! meta/<hex>.json            labels of a blob
//! ingest/<reference>         bytes of blobs in the making
//! leases/<id>.json           what is kept until released
//! unpacked/<hex>.json        layers that passed as unpacked: this store extracts nothing
//! ```

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind as IoKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use model::error::Context;
use model::{Error, ErrorKind, Result, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::content::{
    BlobInfo, ByteStream, ContentStore, ImageRecord, Ingest, IngestInfo, LABEL_UNCOMPRESSED,
    Labels, Layer, WriteRequest, chain_id,
};
use crate::descriptor::Descriptor;
use crate::digest::Digest;

mod collect;
mod lease;
mod names;
mod writer;

use lease::Lease;

/// Bytes of one piece of a reader.
const PIECE: usize = 256 << 10;
/// Label by which a configuration keeps what is unpacked of its image.
const LABEL_UNPACKED: &str = "hull.unpacked";

/// The store. Clones are the same store.
#[derive(Clone)]
pub struct DirStore {
    inner: Arc<Inner>,
    lease: Option<String>,
}

struct Inner {
    root: PathBuf,
    /// Ingests that have a writer. Held while files that belong together change.
    open: Mutex<HashSet<String>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Meta {
    labels: Labels,
}

#[derive(Debug, Serialize, Deserialize)]
struct Unpacked {
    parent: Option<Digest>,
    diff_id: Digest,
}

impl DirStore {
    /// Opens the store at `root`, and makes it if it is not there.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        for name in ["blobs/sha256", "meta", "ingest", "leases", "unpacked"] {
            fs::create_dir_all(root.join(name)).map_err(|error| disk(&root, error))?;
        }
        let inner = Inner { root, open: Mutex::default() };
        if !inner.root.join("index.json").exists() {
            names::write(&inner, &[])?;
        }
        replace(&inner.root.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        Ok(Self { inner: Arc::new(inner), lease: None })
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// Runs `work` where it may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, Option<&str>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (inner, lease) = (self.inner.clone(), self.lease.clone());
        tokio::task::spawn_blocking(move || work(&inner, lease.as_deref()))
            .await
            .context(ErrorKind::Internal, || "a task of the image directory died".to_owned())?
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        // What it guards is on the disk and changes in single steps: a panic breaks nothing.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    fn meta(&self, digest: &Digest) -> PathBuf {
        self.root.join("meta").join(format!("{}.json", digest.hex()))
    }

    fn unpacked(&self, chain: &Digest) -> PathBuf {
        self.root.join("unpacked").join(format!("{}.json", chain.hex()))
    }

    fn info(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        let path = self.blob(digest);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == IoKind::NotFound => return Ok(None),
            Err(error) => return Err(disk(&path, error)),
        };
        let created =
            metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
        let meta: Meta = read_json(&self.meta(digest))?.unwrap_or_default();
        Ok(Some(BlobInfo {
            digest: digest.clone(),
            size: metadata.len(),
            created: Time(created.unwrap_or_default()),
            labels: meta.labels,
        }))
    }

    fn set_labels(&self, digest: &Digest, labels: Labels) -> Result<()> {
        let _held = self.lock();
        let mut info = self.info(digest)?.ok_or_else(|| no_blob(digest))?;
        info.labels.extend(labels);
        info.labels.retain(|_, value| !value.is_empty());
        write_json(&self.meta(digest), &Meta { labels: info.labels })
    }

    fn list(&self) -> Result<Vec<BlobInfo>> {
        let digests = file_names(&self.root.join("blobs/sha256"))?.into_iter();
        let digests = digests.filter_map(|name| Digest::parse(&format!("sha256:{name}")).ok());
        digests.filter_map(|digest| self.info(&digest).transpose()).collect()
    }

    fn delete(&self, digest: &Digest) -> Result<()> {
        remove(&self.blob(digest))?;
        remove(&self.meta(digest))
    }

    fn unpack(
        &self,
        parent: Option<&Digest>,
        layer: &Layer,
        lease: Option<&str>,
    ) -> Result<Digest> {
        let chain = chain_id(parent.into_iter().chain([&layer.diff_id]));
        let chain = chain.ok_or_else(|| Error::internal("a chain of one layer has no id"))?;
        let _held = self.lock();
        if let Some(lease) = lease {
            Lease::change(self, lease, |lease| lease.unpacked.insert(chain.clone()))?;
        }
        if self.unpacked(&chain).exists() {
            return Ok(chain);
        }
        if let Some(parent) = parent.filter(|parent| !self.unpacked(parent).exists()) {
            return Err(Error::not_found(format!("what is unpacked as {parent} does not exist")));
        }
        let digest = &layer.descriptor.digest;
        let info = self.info(digest)?.ok_or_else(|| no_blob(digest))?;
        if info.labels.get(LABEL_UNCOMPRESSED).map(String::as_str) != Some(layer.diff_id.as_str()) {
            let why = format!("layer {} was not checked to unpack to {}", digest, layer.diff_id);
            return Err(Error::invalid(why));
        }
        let unpacked = Unpacked { parent: parent.cloned(), diff_id: layer.diff_id.clone() };
        write_json(&self.unpacked(&chain), &unpacked)?;
        Ok(chain)
    }
}

#[async_trait]
impl ContentStore for DirStore {
    async fn info(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        let digest = digest.clone();
        self.blocking(move |inner, _| inner.info(&digest)).await
    }

    async fn writer(&self, request: &WriteRequest) -> Result<Ingest> {
        let (inner, request) = (self.inner.clone(), request.clone());
        self.blocking(move |_, lease| writer::open(inner, lease, request)).await
    }

    async fn ingests(&self) -> Result<Vec<IngestInfo>> {
        self.blocking(|inner, _| writer::list(inner)).await
    }

    async fn abort(&self, reference: &str) -> Result<()> {
        let reference = reference.to_owned();
        self.blocking(move |inner, _| writer::abort(inner, &reference)).await
    }

    async fn reader(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream> {
        let owned = digest.clone();
        let mut file = self
            .blocking(move |inner, _| {
                let path = inner.blob(&owned);
                fs::File::open(&path).map_err(|error| match error.kind() {
                    IoKind::NotFound => no_blob(&owned),
                    _ => disk(&path, error),
                })
            })
            .await?;
        let range = range.unwrap_or(0..u64::MAX);
        let (sender, mut receiver) = mpsc::channel(2);
        tokio::task::spawn_blocking(move || {
            let sent = send_pieces(&mut file, range, &sender);
            if let Err(error) = sent {
                // Nobody listens any more if this fails.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Ok(Box::pin(futures::stream::poll_fn(move |context| receiver.poll_recv(context))))
    }

    async fn set_labels(&self, digest: &Digest, labels: Labels) -> Result<()> {
        let digest = digest.clone();
        self.blocking(move |inner, _| inner.set_labels(&digest, labels)).await
    }

    async fn list(&self) -> Result<Vec<BlobInfo>> {
        self.blocking(|inner, _| inner.list()).await
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        let digest = digest.clone();
        self.blocking(move |inner, _| inner.delete(&digest)).await
    }

    async fn image(&self, name: &str) -> Result<Option<ImageRecord>> {
        Ok(self.images().await?.into_iter().find(|record| record.name == name))
    }

    async fn images(&self) -> Result<Vec<ImageRecord>> {
        self.blocking(|inner, _| names::read(inner)).await
    }

    async fn put_image(&self, name: &str, target: &Descriptor, labels: Labels) -> Result<()> {
        let (name, target) = (name.to_owned(), target.clone());
        self.blocking(move |inner, _| names::put(inner, name, target, labels)).await
    }

    async fn remove_image(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.blocking(move |inner, _| names::remove(inner, &name)).await
    }

    async fn lease(&self, id: &str, expires: Duration) -> Result<Arc<dyn ContentStore>> {
        let owned = id.to_owned();
        self.blocking(move |inner, _| Lease::take(inner, &owned, expires)).await?;
        Ok(Arc::new(Self { inner: self.inner.clone(), lease: Some(id.to_owned()) }))
    }

    async fn release(&self, id: &str) -> Result<()> {
        let id = id.to_owned();
        self.blocking(move |inner, _| Lease::release(inner, &id)).await
    }

    async fn collect(&self) -> Result<()> {
        self.blocking(|inner, _| collect::collect(inner)).await
    }

    async fn unpack(&self, parent: Option<&Digest>, layer: &Layer) -> Result<Digest> {
        let (parent, layer) = (parent.cloned(), layer.clone());
        self.blocking(move |inner, lease| inner.unpack(parent.as_ref(), &layer, lease)).await
    }

    async fn unpacked_size(&self, _: &Digest) -> Result<u64> {
        // It extracts nothing.
        Ok(0)
    }

    async fn bind_unpacked(&self, config: &Digest, top: &Digest) -> Result<()> {
        let labels = [(LABEL_UNPACKED.to_owned(), top.to_string())].into();
        self.set_labels(config, labels).await
    }
}

fn send_pieces(
    file: &mut fs::File,
    range: Range<u64>,
    sender: &mpsc::Sender<Result<Bytes>>,
) -> Result<()> {
    let unreadable = |error: std::io::Error| disk(Path::new("a blob"), error);
    file.seek(SeekFrom::Start(range.start)).map_err(unreadable)?;
    let mut rest = file.take(range.end.saturating_sub(range.start));
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        rest.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(unreadable)?;
        if piece.is_empty() || sender.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
}

fn no_blob(digest: &Digest) -> Error {
    Error::not_found(format!("blob {digest} does not exist"))
}

fn disk(path: &Path, error: std::io::Error) -> Error {
    match error.kind() {
        IoKind::StorageFull | IoKind::QuotaExceeded => {
            Error::exhausted(format!("the disk of {} is full", path.display()))
                .next("free space, for instance with: hull image prune")
                .caused_by(error)
        }
        _ => Error::internal(format!("{} cannot be used", path.display())).caused_by(error),
    }
}

/// How the names of drafts begin: files that a killed writer never gave their name.
const DRAFT: &str = ".new.";

/// Names of the files in a directory, without drafts.
fn file_names(directory: &Path) -> Result<Vec<String>> {
    let read = || -> std::io::Result<Vec<String>> {
        let entries = fs::read_dir(directory)?;
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let names = read().map_err(|error| disk(directory, error))?;
    Ok(names.into_iter().filter(|name| !name.starts_with(DRAFT)).collect())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != IoKind::NotFound => Err(disk(path, error)),
        _ => Ok(()),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(data) => serde_json::from_slice(&data)
            .map(Some)
            .context(ErrorKind::Internal, || format!("{} is damaged", path.display())),
        Err(error) if error.kind() == IoKind::NotFound => Ok(None),
        Err(error) => Err(disk(path, error)),
    }
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let data = serde_json::to_vec(value)
        .context(ErrorKind::Internal, || format!("{} cannot be written", path.display()))?;
    replace(path, &data)
}

/// Writes beside, syncs, and renames over: the old content or the new, never half of it.
fn replace(path: &Path, data: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(DRAFT).tempfile_in(directory)?;
        std::io::Write::write_all(&mut file, data)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|error| disk(path, error))
}
