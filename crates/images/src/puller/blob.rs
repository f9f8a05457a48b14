//! One layer: fetched, continued where it broke off, checked as it passes, committed.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use model::{Error, ErrorKind, Result};

use super::Shared;
use super::sources::{Sources, wrong_digest};
use crate::archive::layer::{Checked, LayerCheck};
use crate::content::{BlobWriter, ContentStore, Ingest, LABEL_UNCOMPRESSED, Layer, WriteRequest};
use crate::descriptor::Descriptor;
use crate::failure;
use crate::limits::Limits;
use crate::local::open_ingest;
use crate::progress::{Phase, Progress};
use crate::registry::{Backoff, Failure, Remote};

/// One layer of one pull.
pub(super) struct LayerJob<'a> {
    pub shared: &'a Shared,
    /// Under the pull's lease.
    pub store: &'a dyn ContentStore,
    pub sources: &'a Sources,
    pub layer: &'a Layer,
    pub index: usize,
    pub progress: &'a Progress,
}

/// A blob in the making and the check beside it, if that saw all of its bytes.
struct Making {
    writer: Box<dyn BlobWriter>,
    check: Option<LayerCheck>,
}

/// Why bytes stopped coming.
enum Broke {
    /// Another try, or another place, may help.
    There(Failure),
    /// It is our own store.
    Here(Error),
}

impl Making {
    fn new(writer: Box<dyn BlobWriter>, limits: &Limits) -> Self {
        let check = (writer.offset() == 0).then(|| LayerCheck::start(limits));
        Self { writer, check }
    }

    async fn append(&mut self, piece: Bytes) -> Result<()> {
        if let Some(check) = &self.check {
            // A verdict before the end waits: wrong bytes look like a bad layer until the digest is known.
            check.push(piece.clone()).await;
        }
        self.writer.append(piece).await
    }
}

impl LayerJob<'_> {
    /// Brings the layer into the store, checked.
    pub async fn run(&self) -> Result<()> {
        let digest = &self.layer.descriptor.digest;
        let _mine = self.shared.layers.lock(digest).await;
        let permit = self.shared.permits.acquire().await;
        let _permit = permit.map_err(|_| Error::internal("downloads are closed"))?;
        let outcome = match self.open().await? {
            Ingest::Present => self.found().await,
            Ingest::Open(writer) => self.fetch(writer).await,
        };
        outcome.map_err(|error| failure::about(format!("layer {}", digest.short()), error))
    }

    /// Throws away what is half here of it, unless another pull is at it.
    pub async fn forget(&self) {
        let Some(_mine) = self.shared.layers.try_lock(&self.layer.descriptor.digest) else {
            return;
        };
        let reference = self.reference();
        if let Err(error) = self.store.abort(&reference).await {
            let cause = error.chain();
            tracing::warn!(reference, cause, "an ingest could not be aborted");
        }
    }

    /// Names what is half here of it.
    fn reference(&self) -> String {
        format!("hull-{}", self.layer.descriptor.digest.hex())
    }

    async fn open(&self) -> Result<Ingest> {
        let descriptor = &self.layer.descriptor;
        let request = WriteRequest {
            reference: self.reference(),
            size: Some(descriptor.size),
            digest: Some(descriptor.digest.clone()),
        };
        open_ingest(self.store, &request).await
    }

    /// It was here before; checked too, unless a label says it is.
    async fn found(&self) -> Result<()> {
        self.progress.layer(self.index, |layer| {
            (layer.phase, layer.done) = (Phase::Exists, layer.total);
        });
        let info = self.store.info(&self.layer.descriptor.digest).await?;
        let label = info.and_then(|info| info.labels.get(LABEL_UNCOMPRESSED).cloned());
        match label {
            Some(label) if label == self.layer.diff_id.as_str() => Ok(()),
            Some(_) | None => self.check_stored().await,
        }
    }

    async fn fetch(&self, writer: Box<dyn BlobWriter>) -> Result<()> {
        let limits = &self.shared.registries.settings.limits;
        let mut inherited = writer.offset() > 0;
        let mut making = Making::new(writer, limits);
        let mut places: VecDeque<&Remote> = self.sources.remotes.iter().collect();
        let mut last = Error::internal("there is no registry to ask");
        while let Some(remote) = places.pop_front() {
            match self.arrive(&mut making, remote).await {
                Ok(()) => {}
                Err(Broke::Here(error)) => return Err(error),
                Err(Broke::There(failure)) => {
                    last = failure.error;
                    continue;
                }
            }
            if self.settle(making).await? {
                return Ok(());
            }
            last = wrong_digest(&remote.name(), &self.layer.descriptor.digest);
            if std::mem::take(&mut inherited) {
                // What an earlier pull left may have been wrong, not what came now.
                places.push_front(remote);
            }
            match self.open().await? {
                Ingest::Present => return self.found().await,
                Ingest::Open(writer) => making = Making::new(writer, limits),
            }
        }
        Err(last)
    }

    /// Fetches what is missing from one place, with as many tries as bring it on.
    async fn arrive(&self, making: &mut Making, remote: &Remote) -> Result<(), Broke> {
        let size = self.layer.descriptor.size;
        if making.writer.offset() > size {
            making.writer.restart().await.map_err(Broke::Here)?;
            making.check = Some(LayerCheck::start(&self.shared.registries.settings.limits));
        }
        self.arrived(making.writer.offset());
        let mut backoff = Backoff::new(&self.sources.transfer);
        while making.writer.offset() < size {
            match self.stream(making, remote, &mut backoff).await {
                Err(Broke::There(failure)) => {
                    backoff.wait(failure).await.map_err(Broke::There)?;
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// One request, as far as it brings bytes.
    async fn stream(
        &self,
        making: &mut Making,
        remote: &Remote,
        backoff: &mut Backoff,
    ) -> Result<(), Broke> {
        let Descriptor { digest, size, .. } = &self.layer.descriptor;
        let offset = making.writer.offset();
        let mut download = remote.blob(digest, offset).await.map_err(Broke::There)?;
        // A registry that will not continue begins anew: what is here already is let pass.
        let mut skip = offset - download.start;
        while let Some(piece) = download.bytes.next().await {
            let mut piece = piece.map_err(Broke::There)?;
            let known = skip.min(piece.len() as u64);
            skip -= known;
            piece.advance(known as usize);
            if piece.is_empty() {
                continue;
            }
            if making.writer.offset() + piece.len() as u64 > *size {
                return Err(Broke::There(Failure::lasting(self.too_long(remote))));
            }
            making.append(piece).await.map_err(Broke::Here)?;
            self.arrived(making.writer.offset());
            backoff.reset();
        }
        match making.writer.offset() {
            offset if offset < *size => Err(Broke::There(broke_off(remote, offset, *size))),
            _ => Ok(()),
        }
    }

    fn arrived(&self, bytes: u64) {
        self.progress.layer(self.index, |layer| {
            (layer.phase, layer.done) = (Phase::Downloading, bytes);
        });
    }

    fn too_long(&self, remote: &Remote) -> Error {
        let (host, size) = (remote.name(), self.layer.descriptor.size);
        Error::unavailable(format!("{host} sends more than the {size} bytes the manifest says"))
    }

    /// All bytes are here: are they the right ones? `false` if not; an error if they are, and are
    /// refused.
    async fn settle(&self, making: Making) -> Result<bool> {
        self.progress.phase(self.index, Phase::Verifying);
        let Descriptor { digest, size, .. } = &self.layer.descriptor;
        let verdict = match making.check {
            Some(check) => Some(check.finish().await),
            None => None,
        };
        let checked = verdict.as_ref().and_then(|verdict| verdict.as_ref().ok());
        let labels = checked.map(Checked::labels).unwrap_or_default();
        match making.writer.commit(*size, digest, labels).await {
            Err(error) if error.kind() == ErrorKind::Invalid => return Ok(false),
            outcome => outcome?,
        }
        match verdict {
            Some(verdict) => self.judge(&verdict?)?,
            None => self.check_stored().await?,
        }
        Ok(true)
    }

    /// Checks a blob the check has not seen pass.
    async fn check_stored(&self) -> Result<()> {
        self.progress.phase(self.index, Phase::Verifying);
        let digest = &self.layer.descriptor.digest;
        let limits = &self.shared.registries.settings.limits;
        let checked = LayerCheck::of_stored(self.store, digest, limits).await?;
        self.store.set_labels(digest, checked.labels()).await?;
        self.judge(&checked)
    }

    fn judge(&self, checked: &Checked) -> Result<()> {
        if checked.diff_id == self.layer.diff_id {
            return Ok(());
        }
        let (is, said) = (checked.diff_id.short(), self.layer.diff_id.short());
        Err(Error::invalid(format!("it unpacks to {is}, its image's configuration says {said}")))
    }
}

fn broke_off(remote: &Remote, offset: u64, size: u64) -> Failure {
    let host = remote.name();
    Failure::passing(Error::unavailable(format!("{host} broke off after {offset} of {size} bytes")))
}
