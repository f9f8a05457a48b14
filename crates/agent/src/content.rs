//! The engine's store of content, as images want a store to be.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use containers::containerd::{self, Containerd, Lease, Target};
use faults::may_die;
use images::{
    BlobInfo, BlobWriter, ByteStream, ContentStore, Descriptor, Digest, ImageRecord, Ingest,
    IngestInfo, Labels, Layer, WriteRequest,
};
use model::error::Context;
use model::{ErrorKind, Result, Time};

/// How long what is unpacked without a lease of the caller's is kept by itself.
const BRIEFLY: Duration = Duration::from_secs(600);

/// The engine's content, names and unpacked layers.
#[derive(Clone)]
pub struct ContainerdContent {
    engine: Containerd,
    /// Leases that are held, by the names the callers gave them, the newest last. One that a killed
    /// process held is taken up by the next that asks for its name, or ends by itself.
    leases: Arc<Mutex<HashMap<String, Vec<Held>>>>,
    lease: Option<Lease>,
}

/// A lease under a caller's name.
struct Held {
    lease: Lease,
    /// Before this time it lasts long enough for another piece of work.
    fresh: Instant,
}

impl ContainerdContent {
    /// The content of an engine.
    pub fn new(engine: Containerd) -> Self {
        Self { engine, leases: Arc::default(), lease: None }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Vec<Held>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ContentStore for ContainerdContent {
    async fn info(&self, digest: &Digest) -> Result<Option<BlobInfo>> {
        self.engine.blob(&digest.to_string()).await?.map(info).transpose()
    }

    async fn writer(&self, request: &WriteRequest) -> Result<Ingest> {
        let digest = request.digest.as_ref().map(ToString::to_string).unwrap_or_default();
        let total = request.size.unwrap_or(0);
        let opened =
            self.engine.write_blob(&request.reference, total, &digest, self.lease.as_ref());
        match opened.await {
            Ok(writer) => {
                let (engine, reference) = (self.engine.clone(), request.reference.clone());
                let lease = self.lease.clone();
                Ok(Ingest::Open(Box::new(Writer { engine, reference, writer, lease })))
            }
            Err(error) if error.kind() == ErrorKind::Exists => Ok(Ingest::Present),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                Err(model::Error::conflict(format!("{} is being written", request.reference))
                    .caused_by(error))
            }
            Err(error) => Err(error),
        }
    }

    async fn ingests(&self) -> Result<Vec<IngestInfo>> {
        let ingests = self.engine.ingests().await?.into_iter();
        let told =
            ingests.map(|ingest| IngestInfo { reference: ingest.name, offset: ingest.offset });
        Ok(told.collect())
    }

    async fn abort(&self, reference: &str) -> Result<()> {
        self.engine.abort_ingest(reference).await
    }

    async fn reader(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<ByteStream> {
        let range = range.unwrap_or(0..u64::MAX);
        let size = match range.end {
            u64::MAX => 0,
            end => end.saturating_sub(range.start),
        };
        if range.end != u64::MAX && size == 0 {
            return Ok(Box::pin(futures::stream::empty()));
        }
        self.engine.read_blob(&digest.to_string(), range.start, size).await
    }

    async fn set_labels(&self, digest: &Digest, labels: Labels) -> Result<()> {
        self.engine.label_blob(&digest.to_string(), labels).await
    }

    async fn list(&self) -> Result<Vec<BlobInfo>> {
        self.engine.blobs().await?.into_iter().map(info).collect()
    }

    async fn delete(&self, digest: &Digest) -> Result<()> {
        self.engine.delete_blob(&digest.to_string()).await
    }

    async fn image(&self, name: &str) -> Result<Option<ImageRecord>> {
        self.engine.image(name).await?.map(record).transpose()
    }

    async fn images(&self) -> Result<Vec<ImageRecord>> {
        let records = self.engine.images().await?.into_iter().map(record);
        let mut records = records.collect::<Result<Vec<_>>>()?;
        records.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(records)
    }

    async fn put_image(&self, name: &str, target: &Descriptor, labels: Labels) -> Result<()> {
        let target = Target {
            media_type: target.media_type.clone(),
            digest: target.digest.to_string(),
            size: target.size,
        };
        self.engine.put_image(name, &target, labels, self.lease.as_ref()).await?;
        may_die("image.named");
        Ok(())
    }

    async fn remove_image(&self, name: &str) -> Result<()> {
        self.engine.delete_image(name, false).await
    }

    async fn lease(&self, id: &str, expires: Duration) -> Result<Arc<dyn ContentStore>> {
        let now = Instant::now();
        let fresh = self.held().get(id).and_then(|held| {
            held.last().filter(|held| now < held.fresh).map(|held| held.lease.clone())
        });
        let lease = match fresh {
            Some(lease) => lease,
            None => {
                // containerd's leases cannot be made longer: a further one holds what is found.
                let lease = self.engine.lease_of(id, expires).await?;
                let held = Held { lease: lease.clone(), fresh: now + expires / 2 };
                self.held().entry(id.to_owned()).or_default().push(held);
                lease
            }
        };
        let (engine, leases) = (self.engine.clone(), self.leases.clone());
        Ok(Arc::new(Self { engine, leases, lease: Some(lease) }))
    }

    async fn release(&self, id: &str) -> Result<()> {
        let held = self.held().remove(id).unwrap_or_default();
        for held in held {
            self.engine.release(&held.lease).await?;
        }
        Ok(())
    }

    async fn collect(&self) -> Result<()> {
        self.engine.collect().await
    }

    async fn unpack(&self, parent: Option<&Digest>, layer: &Layer) -> Result<Digest> {
        let below = parent.map(ToString::to_string).unwrap_or_default();
        let layer = containerd::Layer {
            digest: layer.descriptor.digest.to_string(),
            diff_id: layer.diff_id.to_string(),
            media_type: layer.descriptor.media_type.clone(),
            size: layer.descriptor.size,
        };
        let chain = match &self.lease {
            Some(lease) => self.engine.unpack_layer(&below, &layer, lease).await?,
            None => {
                // It ends by itself: the caller has so long to bind what was unpacked.
                let lease = self.engine.lease(BRIEFLY).await?;
                self.engine.unpack_layer(&below, &layer, &lease).await?
            }
        };
        may_die("image.layer");
        chain.parse()
    }

    async fn unpacked_size(&self, chain: &Digest) -> Result<u64> {
        Ok(self.engine.snapshot_usage(&chain.to_string()).await?.size.0)
    }

    async fn bind_unpacked(&self, config: &Digest, top: &Digest) -> Result<()> {
        may_die("image.bound");
        self.engine.keep_chain(&config.to_string(), &top.to_string()).await
    }
}

fn info(blob: containerd::Blob) -> Result<BlobInfo> {
    Ok(BlobInfo {
        digest: blob.digest.parse()?,
        size: blob.size,
        created: blob.created.unwrap_or(Time::from_unix(0, 0)),
        labels: blob.labels,
    })
}

fn record(record: containerd::ImageRecord) -> Result<ImageRecord> {
    let digest = record.target.digest.parse().context(ErrorKind::Internal, || {
        format!("image {} points at what is no digest", record.name)
    })?;
    let target = Descriptor::new(&record.target.media_type, digest, record.target.size);
    Ok(ImageRecord {
        name: record.name,
        target,
        labels: record.labels,
        created: record.created.unwrap_or(Time::from_unix(0, 0)),
        updated: record.updated.unwrap_or(Time::from_unix(0, 0)),
    })
}

struct Writer {
    engine: Containerd,
    reference: String,
    writer: containerd::BlobWriter,
    lease: Option<Lease>,
}

#[async_trait]
impl BlobWriter for Writer {
    fn offset(&self) -> u64 {
        self.writer.offset()
    }

    async fn append(&mut self, data: Bytes) -> Result<()> {
        self.writer.write(&data).await
    }

    async fn restart(&mut self) -> Result<()> {
        self.writer.restart().await
    }

    async fn commit(self: Box<Self>, size: u64, digest: &Digest, labels: Labels) -> Result<()> {
        let Self { engine, reference, writer, lease } = *self;
        let name = digest.to_string();
        if let Some(lease) = &lease {
            // containerd puts under the lease what is written, but not what it finds there at the end: an
            // image with the same bytes that is being removed would take them along.
            engine.hold_blob(lease, &name).await?;
        }
        match writer.commit(size, &name, labels.clone()).await {
            // Somebody else was faster with the same bytes.
            Err(error) if error.kind() == ErrorKind::Exists && labels.is_empty() => Ok(()),
            Err(error) if error.kind() == ErrorKind::Exists => {
                engine.label_blob(&name, labels).await
            }
            Err(error) if error.kind() == ErrorKind::Invalid => {
                // containerd keeps wrong bytes, and the next writer would go on behind them.
                engine.abort_ingest(&reference).await?;
                Err(error)
            }
            other => other,
        }
    }
}
