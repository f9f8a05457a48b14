//! An image as the model knows it.

use model::Bytes;
use model::image::{Image, ImageHistory};

use super::Opened;

/// All names of one image.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub opened: Opened,
    /// Names with tags, in full.
    pub names: Vec<String>,
    /// Names with digests, in full.
    pub digests: Vec<String>,
    /// All records, those without a name too.
    pub records: Vec<String>,
}

impl Group {
    /// Its id: the digest of its configuration.
    pub fn id(&self) -> &str {
        self.opened.manifest.config.digest.as_str()
    }

    /// No tag points at it.
    pub fn dangling(&self) -> bool {
        self.names.is_empty()
    }

    /// What the model knows of it.
    pub fn summary(&self) -> Image {
        let Opened { target, manifest_at: _, manifest, config, config_data: _ } = &self.opened;
        let platform = config.platform().unwrap_or_default();
        Image {
            id: self.id().to_owned(),
            digest: target.digest.to_string(),
            names: self.names.clone(),
            digests: self.digests.clone(),
            created: config.created(),
            size: Bytes(manifest.layers.iter().map(|layer| layer.size).sum()),
            architecture: platform.architecture,
            os: platform.os,
            config: config.config.to_model(),
            layers: config.rootfs.diff_ids.iter().map(ToString::to_string).collect(),
            history: self.history(),
        }
    }

    /// The history with the size of each layer at the entry that made it.
    fn history(&self) -> Vec<ImageHistory> {
        let mut history = self.opened.config.history();
        let made = history.iter_mut().filter(|entry| !entry.empty_layer);
        for (entry, layer) in made.zip(&self.opened.manifest.layers) {
            entry.size = Bytes(layer.size);
        }
        history
    }
}
