//! What engines show of an image besides the model's words: its documents, and how large each layer
//! is once unpacked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::image::Image;
use model::{Bytes, Result, Time};

use super::summary::Group;
use super::{Images, Opened};
use crate::content::{LABEL_FILES, Labels, chain_id};
use crate::digest::Digest;

/// Layers whose sizes are remembered; with more, all are asked anew.
const MOST: usize = 16 << 10;

/// An image with its documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// What the model knows of it.
    pub image: Image,
    /// Its configuration as it is stored, unknown fields included.
    pub file: serde_json::Value,
    /// Bytes of each layer once unpacked, lowest first.
    pub layers: Vec<Bytes>,
    /// Type of what its name points at.
    pub media_type: String,
    /// Bytes of that document.
    pub size: Bytes,
    /// When it was last given a name.
    pub tagged: Option<Time>,
}

/// Sizes of unpacked layers by their chain ids. They never change. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Sizes(Arc<Mutex<HashMap<Digest, u64>>>);

impl Sizes {
    fn get(&self, chain: &Digest) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(chain).copied()
    }

    fn put(&self, chain: Digest, size: u64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(chain, size);
    }
}

impl Images {
    /// The image called `name` with its documents.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn detail(&self, name: &str) -> Result<Detail> {
        let group = self.group(name).await?;
        Ok(Detail {
            image: group.summary(),
            file: group.opened.raw_config()?,
            layers: self.layer_sizes(&group.opened).await?,
            media_type: group.opened.target.media_type.clone(),
            size: Bytes(group.opened.target.size),
            tagged: tagged(&group),
        })
    }

    /// All images with the bytes of each of their layers once unpacked, lowest first.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn sizes(&self) -> Result<Vec<(Image, Vec<Bytes>)>> {
        let mut sized = Vec::new();
        for group in self.all().await? {
            let layers = self.layer_sizes(&group.opened).await?;
            sized.push((group.summary(), layers));
        }
        Ok(sized)
    }

    /// Takes a name away and keeps the image, nameless if it was its last.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn untag(&self, name: &str) -> Result<Image> {
        let group = self.group(name).await?;
        let own = |record: &&crate::ImageRecord| group.is_called(name, &record.name);
        let Some(record) = group.records.iter().find(own) else {
            return Err(model::Error::not_found(format!("there is no name {name}")));
        };
        let digest = &record.target.digest;
        // A name that is only a digest keeps the image.
        self.store.put_image(digest.as_str(), &record.target, Labels::new()).await?;
        self.store.remove_image(&record.name).await?;
        Ok(group.summary())
    }

    async fn layer_sizes(&self, opened: &Opened) -> Result<Vec<Bytes>> {
        let diff_ids = &opened.config.rootfs.diff_ids;
        let mut sizes = Vec::with_capacity(diff_ids.len());
        for (at, layer) in opened.manifest.layers.iter().enumerate().take(diff_ids.len()) {
            let Some(chain) = chain_id(&diff_ids[..=at]) else { continue };
            let size = match self.sizes.get(&chain) {
                Some(size) => size,
                None => self.find_size(&layer.digest, chain).await?,
            };
            sizes.push(Bytes(size));
        }
        Ok(sizes)
    }

    /// What the layer's check counted; for layers that were made elsewhere, what the store says.
    async fn find_size(&self, blob: &Digest, chain: Digest) -> Result<u64> {
        let info = self.store.info(blob).await?;
        let counted = info.and_then(|info| info.labels.get(LABEL_FILES)?.parse().ok());
        let size = match counted {
            Some(size) => size,
            None => match self.store.unpacked_size(&chain).await {
                // It was lost, and is not known until it is unpacked again.
                Err(error) if error.kind() == model::ErrorKind::NotFound => return Ok(0),
                size => size?,
            },
        };
        self.sizes.put(chain, size);
        Ok(size)
    }
}

fn tagged(group: &Group) -> Option<Time> {
    let named = group.records.iter().filter(|record| group.names.contains(&record.name));
    named.map(|record| record.updated).max()
}
