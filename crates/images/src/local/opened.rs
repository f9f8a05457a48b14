//! An image's documents, read from the store.

use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use model::error::Context;
use model::{ErrorKind, Result};

use super::{Images, read_small};
use crate::content::{ContentStore, Layer};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::image_config::ConfigFile;
use crate::machine::disk_of;
use crate::manifest::{Document, Index, Manifest};
use crate::platform::Platform;

/// How long an unpack cut short keeps what it made.
const KEEP: Duration = Duration::from_secs(3600);

/// One image of one platform.
#[derive(Debug, Clone)]
pub(crate) struct Opened {
    /// What its names point at.
    pub target: Descriptor,
    /// The manifest: `target` itself, or what the index there led to.
    pub manifest_at: Descriptor,
    pub manifest: Manifest,
    pub config: ConfigFile,
    pub config_data: Bytes,
    /// Path of the disk that its layers carry.
    pub disk: Option<String>,
}

impl Images {
    /// Reads what `target` points at: of an index the image for `platform`, or if that is not here,
    /// the first that is. `None` if no image of it is here.
    pub(crate) async fn open(
        &self,
        target: &Descriptor,
        platform: &Platform,
    ) -> Result<Option<Opened>> {
        match self.document(target).await? {
            None => Ok(None),
            Some(Document::Manifest(manifest)) => {
                self.open_manifest(target, target.clone(), manifest).await
            }
            Some(Document::Index(index)) => {
                for descriptor in by_preference(&index, platform) {
                    if let Some(Document::Manifest(manifest)) = self.document(&descriptor).await?
                        && let Some(opened) =
                            self.open_manifest(target, descriptor, manifest).await?
                    {
                        return Ok(Some(opened));
                    }
                }
                Ok(None)
            }
        }
    }

    pub(crate) async fn document(&self, descriptor: &Descriptor) -> Result<Option<Document>> {
        let data = read_small(&*self.store, descriptor, self.limits.manifest.0).await?;
        data.map(|data| Document::parse(&descriptor.media_type, &data, &self.limits)).transpose()
    }

    async fn open_manifest(
        &self,
        target: &Descriptor,
        manifest_at: Descriptor,
        manifest: Manifest,
    ) -> Result<Option<Opened>> {
        let limit = self.limits.config.0;
        let Some(config_data) = read_small(&*self.store, &manifest.config, limit).await? else {
            return Ok(None);
        };
        let config = ConfigFile::parse(&config_data)?;
        let (target, disk) = (target.clone(), self.disk_in(&manifest).await?);
        Ok(Some(Opened { target, manifest_at, manifest, config, config_data, disk }))
    }

    async fn disk_in(&self, manifest: &Manifest) -> Result<Option<String>> {
        let infos = manifest.layers.iter().map(|layer| self.store.info(&layer.digest));
        let infos = try_join_all(infos).await?;
        Ok(disk_of(infos.iter().flatten().map(|info| &info.labels)))
    }

    /// Unpacks all layers; those that are unpacked cost a look-up. A lease keeps them until the image
    /// does. It has one name for the image, so that one that a killed process held is taken up.
    pub(crate) async fn unpack_opened(&self, opened: &Opened) -> Result<()> {
        let layers = opened.layers()?;
        if layers.is_empty() {
            return Ok(());
        }
        let config = &opened.manifest.config.digest;
        let _alone = self.unpacking.lock(config).await;
        let id = format!("hull-unpack-{config}");
        let leased = self.store.lease(&id, KEEP).await?;
        let outcome = unpack(&*leased, config, &layers).await;
        self.store.release(&id).await?;
        outcome
    }
}

async fn unpack(store: &dyn ContentStore, config: &Digest, layers: &[Layer]) -> Result<()> {
    let mut chain = None;
    for layer in layers {
        chain = Some(store.unpack(chain.as_ref(), layer).await?);
    }
    match chain {
        Some(top) => store.bind_unpacked(config, &top).await,
        None => Ok(()),
    }
}

fn by_preference(index: &Index, platform: &Platform) -> Vec<Descriptor> {
    let best = index.choose(platform).ok();
    let others = index.images().filter(|other| best.is_none_or(|best| best.digest != other.digest));
    best.into_iter().chain(others).cloned().collect()
}

impl Opened {
    /// Its layers with their diff ids, lowest first.
    pub fn layers(&self) -> Result<Vec<Layer>> {
        let diff_ids = self.config.diff_ids(self.manifest.layers.len())?;
        let layer = |(descriptor, diff_id): (&Descriptor, _)| Layer {
            descriptor: descriptor.clone(),
            diff_id: Clone::clone(diff_id),
        };
        Ok(self.manifest.layers.iter().zip(diff_ids).map(layer).collect())
    }

    /// All its layers are here.
    pub async fn complete(&self, store: &dyn ContentStore) -> Result<bool> {
        for layer in &self.manifest.layers {
            if store.info(&layer.digest).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// It runs on `platform`, or does not say where it runs.
    pub fn fits(&self, platform: &Platform) -> bool {
        self.config.platform().is_none_or(|own| platform.distance(&own).is_some())
    }

    /// The configuration as it is stored.
    pub fn raw_config(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.config_data)
            .context(ErrorKind::Invalid, || "the image's configuration cannot be read".to_owned())
    }
}
