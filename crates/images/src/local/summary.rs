//! An image as the model knows it.

use std::collections::BTreeSet;

use model::Bytes;
use model::image::{Image, ImageHistory};

use super::{InUse, Opened};
use crate::content::ImageRecord;

/// All names of one image. They may point at different manifests of it: the same layers packed
/// otherwise, or an index that leads to it.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    /// What the name asked for points at; without one, what the first tag does.
    pub opened: Opened,
    /// Names with tags, in full.
    pub names: Vec<String>,
    /// Names with digests, in full.
    pub digests: Vec<String>,
    /// All records, those without a name too.
    pub records: Vec<ImageRecord>,
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
        let Opened { target, manifest_at: _, manifest, config, config_data: _, disk } =
            &self.opened;
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
            machine: config.machine(disk.as_ref()),
            history: self.history(),
        }
    }

    /// Who uses it by any of the digests it is known under.
    pub fn user(&self, in_use: InUse<'_>) -> Option<String> {
        let targets = self.records.iter().map(|record| record.target.digest.to_string());
        let digests: BTreeSet<String> =
            targets.chain([self.opened.target.digest.to_string()]).collect();
        let image = self.summary();
        digests.into_iter().find_map(|digest| in_use(&Image { digest, ..image.clone() }))
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
