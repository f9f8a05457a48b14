//! What plugins tell of themselves and their volumes, also of those that nobody here has made.

use std::time::Duration;

use model::Error;
use serde_json::{Map, Value};

use super::client::Failure;
use super::driver::PluginVolumes;
use super::known::VOLUMES;
use super::protocol::{Plugin, Scope, Told};

/// Who looks at a list is not kept waiting by a plugin that is slow.
const PATIENCE: Duration = Duration::from_secs(4);

/// A plugin and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Its name.
    pub name: String,
    /// What it implements: `VolumeDriver`, `NetworkDriver`, ….
    pub implements: Vec<String>,
}

/// A volume as its plugin tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenVolume {
    /// The plugin.
    pub plugin: String,
    /// Its name.
    pub name: String,
    /// Where it is mounted; empty while it is not, with most plugins.
    pub path: String,
    /// When it was made, as the plugin writes it.
    pub created: String,
    /// Who can reach it.
    pub scope: Scope,
    /// Whatever the plugin says of it.
    pub status: Option<Map<String, Value>>,
}

/// All that plugins told.
#[derive(Debug, Default)]
pub struct Seen {
    /// Their volumes.
    pub volumes: Vec<SeenVolume>,
    /// Why some told nothing.
    pub faults: Vec<Error>,
}

impl PluginVolumes {
    /// The names of all plugins that are found. Nobody is asked whether they are there.
    pub fn names(&self) -> Vec<String> {
        self.plugins().names()
    }

    /// All plugins that answer soon.
    pub async fn kinds(&self) -> Vec<Kind> {
        let ask = |name: String| async move {
            let asked = tokio::time::timeout(PATIENCE, self.plugins().ask(&name, PATIENCE)).await;
            let (_, implements) = asked.ok()?.ok()?;
            Some(Kind { name, implements })
        };
        let kinds = futures::future::join_all(self.names().into_iter().map(ask)).await;
        kinds.into_iter().flatten().collect()
    }

    /// All volumes of all plugins that answer soon.
    pub async fn seen(&self) -> Seen {
        let lists = futures::future::join_all(self.names().into_iter().map(|name| self.list(name)));
        let mut seen = Seen::default();
        for list in lists.await {
            match list {
                Ok(volumes) => seen.volumes.extend(volumes),
                Err(error) => seen.faults.push(error),
            }
        }
        seen
    }

    async fn list(&self, name: String) -> Result<Vec<SeenVolume>, Error> {
        let list = async {
            let (plugin, implements) = self.plugins().ask(&name, PATIENCE).await?;
            if !implements.iter().any(|it| it == VOLUMES) {
                return Ok(Vec::new());
            }
            let volumes = plugin.list(PATIENCE).await?;
            let scope = self.plugins().scope(&plugin, PATIENCE).await?;
            Ok(volumes.into_iter().map(|told| shown(&plugin, told, scope)).collect())
        };
        soon(&name, "VolumeDriver.List", list).await
    }

    /// A volume as its plugin tells of it now; `None` when it has none of that name.
    ///
    /// # Errors
    /// `NotFound` when there is no such plugin; `Unavailable` when it does not answer soon.
    pub async fn look(&self, plugin: &str, volume: &str) -> Result<Option<SeenVolume>, Error> {
        let look = async {
            let plugin = self.plugins().with_volumes(plugin, PATIENCE).await?;
            let Some(mut told) = plugin.get(volume, PATIENCE).await? else { return Ok(None) };
            if told.mountpoint.as_deref().unwrap_or_default().is_empty() {
                told.mountpoint = Some(plugin.path(volume, PATIENCE).await?);
            }
            let scope = self.plugins().scope(&plugin, PATIENCE).await?;
            Ok(Some(SeenVolume { name: volume.to_owned(), ..shown(&plugin, told, scope) }))
        };
        soon(plugin, "VolumeDriver.Get", look).await
    }
}

async fn soon<T>(
    plugin: &str,
    method: &str,
    call: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Error> {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(done) => done.map_err(|failure| failure.error(plugin, method)),
        Err(_) => Err(Error::unavailable(format!(
            "plugin {plugin:?} did not answer {method} within {} s",
            PATIENCE.as_secs()
        ))),
    }
}

fn shown(plugin: &Plugin, told: Told, scope: Scope) -> SeenVolume {
    SeenVolume {
        plugin: plugin.name.clone(),
        name: told.name,
        path: told.mountpoint.unwrap_or_default(),
        created: told.created_at.unwrap_or_default(),
        scope,
        status: told.status,
    }
}
