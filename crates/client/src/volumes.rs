//! Verbs of volumes beside those all nouns have.

use model::Result;
use model::volume::VolumeNoun;

use crate::objects::Objects;
use crate::wire::{PruneVolumesRequest, PrunedVolumes};

impl Objects<VolumeNoun> {
    /// Removes the volumes that no instance uses: anonymous ones, or with `all` every one.
    pub async fn prune(&self, all: bool, plan: bool) -> Result<PrunedVolumes> {
        let call = self.client().post(format!("{}/prune", self.collection_path()));
        call.plan(plan).json(&PruneVolumesRequest { all }).value().await
    }

    /// Removes a volume whose plugin will not, or is gone; what it holds stays there.
    pub async fn forget(&self, name: &str) -> Result<()> {
        self.client().post(format!("{}/forget", self.object_path(name))).done().await
    }
}
