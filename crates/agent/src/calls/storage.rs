//! What the node tells of storage that others provide.

use async_trait::async_trait;
use link::StorageCalls;
use link::storage::{Plugin, PluginVolume, PluginVolumes};
use model::{Result, Uid};
use volumes::VolumeId;
use volumes::plugin::{Scope, SeenVolume};

use super::Calls;

#[async_trait]
impl StorageCalls for Calls {
    async fn plugin_names(&self) -> Result<Vec<String>> {
        Ok(self.context.volumes.plugins().names())
    }

    async fn plugins(&self) -> Result<Vec<Plugin>> {
        let kinds = self.context.volumes.plugins().kinds().await.into_iter();
        Ok(kinds.map(|it| Plugin { name: it.name, implements: it.implements }).collect())
    }

    async fn plugin_volumes(&self) -> Result<PluginVolumes> {
        let seen = self.context.volumes.plugins().seen().await;
        Ok(PluginVolumes {
            volumes: seen.volumes.into_iter().map(told).collect(),
            warnings: seen.faults.iter().map(model::Error::chain).collect(),
        })
    }

    async fn plugin_volume(&self, storage: &str, name: &str) -> Result<Option<PluginVolume>> {
        Ok(self.context.volumes.plugins().look(storage, name).await?.map(told))
    }

    async fn forget_volume(&self, volume: &Uid) -> Result<()> {
        self.context.volumes.plugins().forget(&VolumeId::from(volume)).await
    }
}

fn told(volume: SeenVolume) -> PluginVolume {
    let SeenVolume { plugin, name, path, created, scope, status } = volume;
    PluginVolume {
        storage: plugin,
        name,
        path,
        created,
        global: scope == Scope::Global,
        status: status.map(|status| status.into_iter().collect()),
    }
}
