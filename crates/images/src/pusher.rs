//! From the store to a registry.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use model::image::Reference;
use model::{Error, Result};

use crate::content::{ContentStore, Labels};
use crate::credentials::Credentials;
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::failure;
use crate::local::{Group, Images, Opened, read_small};
use crate::manifest::{Document, Manifest};
use crate::platform::Platform;
use crate::progress::{LayerProgress, Phase, Progress};
use crate::registry::{Backoff, Begun, Failure, Registries, Remote};
use crate::settings::Settings;

/// How an image is pushed.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Only this platform's manifest; the whole index unless given, if all of it is here.
    pub platform: Option<Platform>,
    /// Shown to the registry; those of the credentials file unless given.
    pub credentials: Option<Credentials>,
    /// Told how far it is.
    pub progress: Progress,
}

/// Pushes images. Cheap to clone.
#[derive(Clone)]
pub struct Pusher {
    images: Images,
    registries: Arc<Registries>,
}

/// One push.
struct Push<'a> {
    store: &'a dyn ContentStore,
    remote: Remote,
    settings: &'a Settings,
    progress: &'a Progress,
    /// Repositories of the same registry that may have the blobs already.
    siblings: Vec<String>,
}

/// What is sent: blobs first, then documents, the top last.
struct Cargo {
    blobs: Vec<Descriptor>,
    documents: Vec<(Descriptor, Bytes)>,
}

impl Pusher {
    /// A pusher out of `store`.
    pub fn new(store: Arc<dyn ContentStore>, settings: Settings) -> Result<Self> {
        settings.registries.now().validate()?;
        let images = Images::new(store, settings.limits.clone());
        Ok(Self { images, registries: Registries::new(settings) })
    }

    /// Sends the image `source` (a name or an id) to where `target` says. Returns the digest
    /// `target` now means, and the bytes of the document.
    pub async fn push(
        &self,
        source: &str,
        target: &Reference,
        options: PushOptions,
    ) -> Result<(Digest, u64)> {
        let PushOptions { platform, credentials, progress } = options;
        let group = self.images.group(source).await?;
        let cargo = self.cargo(&group.opened, platform).await?;
        let known = group.names.iter().chain(&group.digests);
        let known = known.filter_map(|name| Reference::parse(name).ok());
        let siblings = known.filter(|known| known.registry == target.registry);
        let siblings = siblings.map(|known| known.repository);
        let push = Push {
            store: &*self.images.store,
            remote: self.registries.target(target, credentials.as_ref())?,
            settings: &self.registries.settings,
            progress: &progress,
            siblings: siblings.filter(|repository| *repository != target.repository).collect(),
        };
        let pushed = push.run(&cargo, target).await;
        let (digest, size) = pushed
            .map_err(|error| failure::about(format!("push of {}", target.familiar()), error))?;
        if let Err(error) = self.name_by_digest(&group, target, &digest).await {
            // The registry has it all the same.
            let (name, error) = (target.familiar().to_string(), error.chain());
            tracing::warn!(name, error, "what was pushed is not known by its digest here");
        }
        Ok((digest, size))
    }

    /// What a registry has is known here by its digest as well, as if it came from there.
    async fn name_by_digest(
        &self,
        group: &Group,
        target: &Reference,
        digest: &Digest,
    ) -> Result<()> {
        let top = &group.opened.target;
        if top.digest != *digest || !group.names.contains(&target.to_string()) {
            return Ok(());
        }
        let name = format!("{}@{digest}", target.name());
        self.images.store.put_image(&name, top, Labels::new()).await
    }

    async fn cargo(&self, opened: &Opened, platform: Option<Platform>) -> Result<Cargo> {
        if let (None, Some(Document::Index(index))) =
            (&platform, self.images.document(&opened.target).await?)
        {
            let mut cargo = Cargo { blobs: Vec::new(), documents: Vec::new() };
            let mut whole = true;
            for child in &index.manifests {
                whole &= self.load(&mut cargo, child).await?;
            }
            if whole {
                cargo.documents.push((opened.target.clone(), self.data(&opened.target).await?));
                return Ok(cargo);
            }
        }
        let platform = platform.unwrap_or_else(Platform::host);
        let opened = self.images.open(&opened.target, &platform).await?;
        let opened = opened.filter(|opened| opened.fits(&platform));
        let absent = || Error::not_found(format!("its image for {platform} is not here"));
        let Opened { manifest_at, manifest, .. } = opened.ok_or_else(absent)?;
        let data = self.data(&manifest_at).await?;
        Ok(Cargo { blobs: blobs_of(&manifest), documents: vec![(manifest_at, data)] })
    }

    /// Adds a manifest and its blobs, if all of them are here.
    async fn load(&self, cargo: &mut Cargo, child: &Descriptor) -> Result<bool> {
        let Ok(Some(Document::Manifest(manifest))) = self.images.document(child).await else {
            return Ok(false);
        };
        let blobs = blobs_of(&manifest);
        for blob in &blobs {
            if self.images.store.info(&blob.digest).await?.is_none() {
                return Ok(false);
            }
        }
        cargo.blobs.extend(blobs);
        cargo.documents.push((child.clone(), self.data(child).await?));
        Ok(true)
    }

    async fn data(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let limit = self.registries.settings.limits.manifest.0;
        let data = read_small(&*self.images.store, descriptor, limit).await?;
        data.ok_or_else(|| Error::not_found(format!("manifest {} is not here", descriptor.digest)))
    }
}

fn blobs_of(manifest: &Manifest) -> Vec<Descriptor> {
    manifest.layers.iter().chain([&manifest.config]).cloned().collect()
}

impl Push<'_> {
    async fn run(&self, cargo: &Cargo, target: &Reference) -> Result<(Digest, u64)> {
        let mut blobs: Vec<Descriptor> = Vec::new();
        for blob in &cargo.blobs {
            if !blobs.iter().any(|known| known.digest == blob.digest) {
                blobs.push(blob.clone());
            }
        }
        self.announce(&blobs, cargo.documents.last().map(|(top, _)| top));
        let sends = blobs.iter().enumerate().map(|(index, blob)| self.blob(index, blob));
        let parallel = self.settings.transfer.parallel.max(1);
        let sends: Vec<_> = sends.collect();
        futures::stream::iter(sends).buffer_unordered(parallel).try_collect::<()>().await?;
        let Some(((top, data), others)) = cargo.documents.split_last() else {
            return Err(Error::internal("a push has no manifest"));
        };
        for (descriptor, data) in others {
            self.document(descriptor.digest.as_str(), descriptor, data).await?;
        }
        let version = target.tag.as_deref().unwrap_or(top.digest.as_str());
        self.document(version, top, data).await?;
        Ok((top.digest.clone(), top.size))
    }

    fn announce(&self, blobs: &[Descriptor], top: Option<&Descriptor>) {
        let layer = |blob: &Descriptor| LayerProgress {
            digest: blob.digest.clone(),
            phase: Phase::Waiting,
            done: 0,
            total: blob.size,
        };
        self.progress.update(|state| {
            state.target = top.map(|top| top.digest.clone());
            state.layers = blobs.iter().map(layer).collect();
        });
    }

    async fn document(&self, version: &str, at: &Descriptor, data: &Bytes) -> Result<()> {
        let mut backoff = Backoff::new(&self.settings.transfer);
        loop {
            let put = self.remote.put_manifest(version, &at.media_type, data.clone()).await;
            let Err(failure) = put else { return Ok(()) };
            backoff.wait(failure).await.map_err(|failure| failure.error)?;
        }
    }

    async fn blob(&self, index: usize, blob: &Descriptor) -> Result<()> {
        let mut backoff = Backoff::new(&self.settings.transfer);
        loop {
            let Err(failure) = self.send(index, blob).await else {
                self.progress.phase(index, Phase::Done);
                return Ok(());
            };
            backoff.wait(failure).await.map_err(|failure| failure.error)?;
        }
    }

    async fn send(&self, index: usize, blob: &Descriptor) -> Result<(), Failure> {
        if self.remote.has_blob(&blob.digest).await? {
            self.progress.phase(index, Phase::Exists);
            return Ok(());
        }
        let sibling = self.siblings.first().map(String::as_str);
        let url = match self.remote.begin_upload(&blob.digest, sibling).await? {
            Begun::Mounted => return Ok(()),
            Begun::At(url) => url,
        };
        let pieces = self.store.reader(&blob.digest, None).await.map_err(Failure::lasting)?;
        let progress = self.progress.clone();
        let mut sent = 0;
        let counted = pieces.inspect_ok(move |piece| {
            sent += piece.len() as u64;
            progress.layer(index, |layer| (layer.phase, layer.done) = (Phase::Uploading, sent));
        });
        let body = reqwest::Body::wrap_stream(counted);
        self.remote.upload(url, &blob.digest, blob.size, body).await
    }
}
