//! One pull, from the name to the image.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, try_join, try_join_all};
use futures::{FutureExt, TryFutureExt};
use model::image::{Image, Reference};
use model::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::Shared;
use super::artifact::{Artifact, LABEL_ARTIFACT};
use super::blob::LayerJob;
use super::flight::Key;
use super::sources::{Sources, Top};
use crate::content::{BlobInfo, ContentStore, Labels, Layer};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::failure;
use crate::image_config::ConfigFile;
use crate::local::{put_document, put_small};
use crate::manifest::{Document, Manifest};
use crate::media;
use crate::platform::Platform;
use crate::progress::{LayerProgress, Phase, Progress};
use crate::registry::Found;

/// How long what a broken pull fetched is kept for the next one.
const KEEP: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Job {
    shared: Arc<Shared>,
    key: Key,
    progress: Progress,
}

/// A document as it came, and read.
struct Read {
    descriptor: Descriptor,
    data: Bytes,
    document: Document,
}

/// All documents of an image: what is left are its layers.
struct Plan {
    top: Read,
    /// What the index `top` led to.
    chosen: Option<Read>,
    manifest: Manifest,
    config: Bytes,
    layers: Vec<Layer>,
}

impl Job {
    pub fn new(shared: Arc<Shared>, key: Key, progress: Progress) -> Self {
        Self { shared, key, progress }
    }

    pub async fn run(self) -> Result<Image> {
        let familiar = self.key.reference.familiar();
        self.pull().await.map_err(|error| failure::about(format!("image {familiar}"), error))
    }

    async fn pull(&self) -> Result<Image> {
        let Key { reference, platform, credentials } = &self.key;
        let limits = &self.shared.registries.settings.limits;
        let remotes = self.shared.registries.remotes(reference, credentials.as_ref())?;
        let transfer = self.shared.registries.settings.transfer.clone();
        let mut sources = Sources { remotes, transfer };
        let known = self.shared.images.whole(reference, platform).await?;
        let known = match known {
            Some(opened) => Some(self.origin(&opened.target.digest).await?),
            None => None,
        };
        let found = match (sources.top(reference, known.as_ref(), limits).await?, known) {
            (Top::Found(found), Some(known)) if found.digest == known => return self.show().await,
            (Top::Same, _) => return self.show().await,
            (Top::Found(found), _) => found,
        };
        self.fetch(&sources, found).await
    }

    /// Fetches under a lease. It is let go when all is well, and when what came is refused; what a
    /// broken connection left is kept under it for the next try.
    async fn fetch(&self, sources: &Sources, top: Found) -> Result<Image> {
        let store = &self.shared.store;
        let name = self.lease_name();
        // Those who show other credentials make a pull of their own, under the same lease.
        let _mine = self.shared.leases.lock(&name).await;
        let id = format!("hull-pull-{}", name.short());
        let leased = store.lease(&id, KEEP).await?;
        let outcome = self.fetch_into(&*leased, sources, top).await;
        match &outcome {
            Ok(_) => store.release(&id).await?,
            Err(error) if is_refusal(error) => {
                store.release(&id).await?;
                store.collect().await?;
            }
            Err(_) => {}
        }
        outcome
    }

    /// The same for each try to pull this, so that one goes on where another broke off.
    fn lease_name(&self) -> Digest {
        Digest::of(format!("{} {}", self.key.reference, self.key.platform).as_bytes())
    }

    async fn fetch_into(
        &self,
        store: &dyn ContentStore,
        sources: &Sources,
        top: Found,
    ) -> Result<Image> {
        if let Some(artifact) = Artifact::of(&top.data) {
            return self.fetch_artifact(store, sources, &top, artifact).await;
        }
        let plan = self.plan(sources, top).await?;
        self.announce(store, &plan).await?;
        let chain = self.layers(store, sources, &plan.layers).await?;
        put_small(store, &plan.manifest.config.digest, plan.config.clone(), Labels::new()).await?;
        for read in plan.chosen.iter().chain([&plan.top]) {
            put_document(store, &read.descriptor.digest, read.data.clone(), &read.document).await?;
        }
        if let Some(top) = chain {
            store.bind_unpacked(&plan.manifest.config.digest, &top).await?;
        }
        self.put_names(&plan.top.descriptor, None).await?;
        self.show().await
    }

    /// What the registry has under the name of what is here: the same, or the artifact it was made of.
    async fn origin(&self, target: &Digest) -> Result<Digest> {
        let record = self.shared.images.record(&self.key.reference).await?;
        let label = record.and_then(|record| record.labels.get(LABEL_ARTIFACT).cloned());
        label.map_or(Ok(target.clone()), |label| Digest::parse(&label))
    }

    async fn fetch_artifact(
        &self,
        store: &dyn ContentStore,
        sources: &Sources,
        top: &Found,
        artifact: Artifact,
    ) -> Result<Image> {
        let blob = artifact.blob();
        self.progress.update(|state| {
            state.target = Some(top.digest.clone());
            let (digest, total) = (blob.digest.clone(), blob.size);
            state.layers =
                vec![LayerProgress { digest, phase: Phase::Downloading, done: 0, total }];
        });
        let arrived = |bytes| self.progress.layer(0, |layer| layer.done = bytes);
        let limits = &self.shared.registries.settings.limits;
        let target = artifact.fetch(store, sources, limits, &self.key.platform, &arrived).await?;
        self.progress.phase(0, Phase::Done);
        self.put_names(&target, Some(&top.digest)).await?;
        self.show().await
    }

    /// Fetches and reads all documents.
    async fn plan(&self, sources: &Sources, top: Found) -> Result<Plan> {
        let limits = &self.shared.registries.settings.limits;
        let top = self.read(top)?;
        let chosen = match &top.document {
            Document::Manifest(_) => None,
            Document::Index(index) => {
                let descriptor = index.choose(&self.key.platform)?;
                Some(self.read(sources.manifest(descriptor, limits).await?)?)
            }
        };
        let manifest = match &chosen.as_ref().unwrap_or(&top).document {
            Document::Manifest(manifest) => manifest.clone(),
            Document::Index(_) => {
                return Err(Error::unsupported("its index leads to a further index"));
            }
        };
        let config = sources.small_blob(&manifest.config).await?;
        let layers = layers_of(&config, &manifest, &self.key.platform)?;
        Ok(Plan { top, chosen, manifest, config, layers })
    }

    fn read(&self, found: Found) -> Result<Read> {
        let limits = &self.shared.registries.settings.limits;
        let document = Document::parse(&found.media_type, &found.data, limits)?;
        let media_type = match found.media_type.as_str() {
            known if media::is_index(known) || media::is_manifest(known) => known,
            _ => document.default_type(),
        };
        let size = found.data.len() as u64;
        let descriptor = Descriptor::new(media_type, found.digest, size);
        Ok(Read { descriptor, data: found.data, document })
    }

    async fn announce(&self, store: &dyn ContentStore, plan: &Plan) -> Result<()> {
        let infos = plan.layers.iter().map(|layer| store.info(&layer.descriptor.digest));
        let here = try_join_all(infos).await?;
        self.progress.update(|state| {
            state.target = Some(plan.top.descriptor.digest.clone());
            let layer = |(layer, here): (&Layer, &Option<BlobInfo>)| LayerProgress {
                digest: layer.descriptor.digest.clone(),
                phase: if here.is_some() { Phase::Exists } else { Phase::Waiting },
                done: 0,
                total: layer.descriptor.size,
            };
            state.layers = plan.layers.iter().zip(&here).map(layer).collect();
        });
        Ok(())
    }

    /// Fetches all layers at once, as far as there are permits, and unpacks each as soon as it and those
    /// below it are here. Returns the chain id of the whole.
    async fn layers(
        &self,
        store: &dyn ContentStore,
        sources: &Sources,
        layers: &[Layer],
    ) -> Result<Option<Digest>> {
        let (shared, progress) = (&*self.shared, &self.progress);
        let job = |(index, layer)| LayerJob { shared, store, sources, layer, index, progress };
        let jobs: Vec<LayerJob<'_>> = layers.iter().enumerate().map(job).collect();
        let mut arrivals = Vec::with_capacity(layers.len());
        let mut fetches: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(layers.len());
        for job in &jobs {
            let (here, arrival) = oneshot::channel();
            // Nobody waits for it any more if another layer failed.
            fetches.push(job.run().map_ok(|()| _ = here.send(())).boxed());
            arrivals.push(arrival);
        }
        let outcome = try_join(try_join_all(fetches), self.unpack(store, layers, arrivals)).await;
        if outcome.as_ref().is_err_and(is_refusal) {
            // The next pull of it would be refused too: there is nothing to go on with.
            for job in &jobs {
                job.forget().await;
            }
        }
        outcome.map(|(_, top)| top)
    }

    async fn unpack(
        &self,
        store: &dyn ContentStore,
        layers: &[Layer],
        arrivals: Vec<oneshot::Receiver<()>>,
    ) -> Result<Option<Digest>> {
        let mut chain = None;
        for (index, (layer, arrival)) in layers.iter().zip(arrivals).enumerate() {
            if arrival.await.is_err() {
                // Its fetch failed: that error ends the pull, this one must not come first.
                return std::future::pending().await;
            }
            self.progress.phase(index, Phase::Unpacking);
            chain = Some(store.unpack(chain.as_ref(), layer).await?);
            self.progress.phase(index, Phase::Done);
        }
        Ok(chain)
    }

    /// The name with its digest stays when the tag moves on: what runs by it is not lost.
    async fn put_names(&self, target: &Descriptor, artifact: Option<&Digest>) -> Result<()> {
        let Reference { tag, digest, .. } = &self.key.reference;
        let name = self.key.reference.name();
        let store = &self.shared.store;
        let label = |artifact: &Digest| (LABEL_ARTIFACT.to_owned(), artifact.to_string());
        let labels: Labels = artifact.map(label).into_iter().collect();
        for digest in [&target.digest].into_iter().chain(artifact) {
            store.put_image(&format!("{name}@{digest}"), target, labels.clone()).await?;
        }
        match (tag, digest) {
            (Some(tag), None) => store.put_image(&format!("{name}:{tag}"), target, labels).await,
            _ => Ok(()),
        }
    }

    async fn show(&self) -> Result<Image> {
        let images = &self.shared.images;
        let gone = || Error::conflict("it was removed while it was pulled").next("pull it again");
        let target = images.target(&self.key.reference).await?.ok_or_else(gone)?;
        let opened = images.open(&target, &self.key.platform).await?.ok_or_else(gone)?;
        let image = images.show_opened(&opened).await?;
        super::tell_present_if_silent(&image, &self.progress);
        Ok(image)
    }
}

/// What came is not taken, however often it comes.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported)
}

/// The layers with their diff ids, if the configuration fits manifest and platform.
fn layers_of(config: &[u8], manifest: &Manifest, platform: &Platform) -> Result<Vec<Layer>> {
    let config = ConfigFile::parse(config)?;
    if let Some(made_for) = config.platform().filter(|own| platform.distance(own).is_none()) {
        return Err(Error::unsupported(format!("it is made for {made_for}, not for {platform}"))
            .coded(model::error::Code::PlatformMissing)
            .next(format!("ask for --platform {made_for} if this machine can run it")));
    }
    let diff_ids = config.diff_ids(manifest.layers.len())?;
    let layer = |(descriptor, diff_id): (&Descriptor, &Digest)| Layer {
        descriptor: descriptor.clone(),
        diff_id: diff_id.clone(),
    };
    Ok(manifest.layers.iter().zip(diff_ids).map(layer).collect())
}
