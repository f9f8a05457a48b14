//! The plugins of a node, and what is known of them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{Error, Result};

use super::client::Failure;
use super::places::{Found, Places};
use super::protocol::{Plugin, Scope};

/// What a plugin implements that has volumes.
pub const VOLUMES: &str = "VolumeDriver";

/// The plugins of a node. A plugin is asked once what it is, and again when another file stands in its
/// place.
#[derive(Debug)]
pub struct Plugins {
    places: Places,
    known: Mutex<HashMap<String, Known>>,
}

#[derive(Debug, Clone)]
struct Known {
    found: Found,
    implements: Vec<String>,
    scope: Option<Scope>,
}

impl Plugins {
    pub fn new(places: Places) -> Self {
        Self { places, known: Mutex::default() }
    }

    /// The names of all that are found.
    pub fn names(&self) -> Vec<String> {
        self.places.names().into_iter().collect()
    }

    /// Where they are found.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The plugin of that name, which has volumes.
    ///
    /// # Errors
    /// `NotFound` when there is none; `Unsupported` when it has no volumes; those of a call.
    pub async fn with_volumes(&self, name: &str, patience: Duration) -> Result<Plugin, Failure> {
        let (plugin, implements) = self.ask(name, patience).await?;
        if implements.iter().any(|it| it == VOLUMES) {
            return Ok(plugin);
        }
        let what = implements.join(", ");
        Err(Failure::Unheard(
            Error::unsupported(format!("plugin {name:?} has no volumes: it implements {what:?}"))
                .next("name a plugin for volumes"),
        ))
    }

    /// The plugin of that name, and what it implements.
    ///
    /// # Errors
    /// As [`Plugins::with_volumes`].
    pub async fn ask(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<(Plugin, Vec<String>), Failure> {
        let found = self.places.find(name).map_err(Failure::Unheard)?;
        let found = found.ok_or_else(|| Failure::Unheard(self.absent(name)))?;
        let plugin = Plugin { name: name.to_owned(), address: found.address.clone() };
        if let Some(known) = self.known().get(name).filter(|known| known.found == found) {
            return Ok((plugin, known.implements.clone()));
        }
        let implements = plugin.activate(patience).await?;
        let known = Known { found, implements: implements.clone(), scope: None };
        self.known().insert(name.to_owned(), known);
        Ok((plugin, implements))
    }

    /// Who can reach the volumes of a plugin that was asked before.
    ///
    /// # Errors
    /// Those of a call.
    pub async fn scope(&self, plugin: &Plugin, patience: Duration) -> Result<Scope, Failure> {
        if let Some(scope) = self.known().get(&plugin.name).and_then(|known| known.scope) {
            return Ok(scope);
        }
        let scope = plugin.scope(patience).await?;
        if let Some(known) = self.known().get_mut(&plugin.name) {
            known.scope = Some(scope);
        }
        Ok(scope)
    }

    fn absent(&self, name: &str) -> Error {
        let socket = self.places.socket(name);
        Error::not_found(format!("there is no storage plugin {name:?}")).next(format!(
            "start the plugin, whose socket is to be {}, or leave the storage out",
            socket.display()
        ))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
