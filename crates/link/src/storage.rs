//! What is asked of a node about storage that others provide: Docker's plugins.

use std::collections::BTreeMap;

use async_trait::async_trait;
use model::{Result, Uid};
use serde::{Deserialize, Serialize};

/// A plugin that a node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plugin {
    /// Its name.
    pub name: String,
    /// What it implements, in its own words: `VolumeDriver`, `NetworkDriver`, ….
    pub implements: Vec<String>,
}

/// A volume as a plugin tells of it, which the platform may not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginVolume {
    /// The plugin: the volume's storage.
    pub storage: String,
    /// The volume's name.
    pub name: String,
    /// Where it is mounted; empty while it is not, with most plugins.
    pub path: String,
    /// When it was made, as the plugin writes it.
    pub created: String,
    /// All nodes that have the plugin can reach it.
    pub global: bool,
    /// Whatever the plugin says of it.
    pub status: Option<BTreeMap<String, serde_json::Value>>,
}

/// All volumes that plugins tell of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginVolumes {
    /// The volumes.
    pub volumes: Vec<PluginVolume>,
    /// Why some plugins told of none.
    pub warnings: Vec<String>,
}

/// What is asked of a node about storage that others provide. Each answer comes within seconds, whatever
/// a plugin does.
#[async_trait]
pub trait StorageCalls: Send + Sync {
    /// The names of its plugins. None of them is asked whether it is there.
    async fn plugin_names(&self) -> Result<Vec<String>>;

    /// Its plugins that answer.
    async fn plugins(&self) -> Result<Vec<Plugin>>;

    /// All volumes that its plugins tell of.
    async fn plugin_volumes(&self) -> Result<PluginVolumes>;

    /// The volume of that name, as its plugin tells of it now; `None` when it has none.
    ///
    /// # Errors
    /// `NotFound` when there is no such plugin; `Unavailable` when it does not answer.
    async fn plugin_volume(&self, storage: &str, name: &str) -> Result<Option<PluginVolume>>;

    /// Has the node forget a plugin's volume, whatever the plugin would say; what it holds stays there.
    ///
    /// # Errors
    /// `Conflict` while the volume is used.
    async fn forget_volume(&self, volume: &Uid) -> Result<()>;
}
