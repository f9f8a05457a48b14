//! From a registry into the store.

use std::sync::Arc;

use model::image::{Image, Reference};
use model::{Error, Result};

use crate::content::ContentStore;
use crate::credentials::Credentials;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::settings::Settings;

/// When a registry is asked.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "camelCase")]
pub enum PullPolicy {
    /// Each time; nothing is fetched if the name still means the same.
    Always,
    /// If the image is not here.
    #[default]
    Missing,
    /// Not at all.
    Never,
}

/// How an image is pulled.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// For which machine; this one unless given.
    pub platform: Option<Platform>,
    /// Shown to the registry itself, not to its mirrors; those of the credentials file unless given.
    pub credentials: Option<Credentials>,
    /// When the registry is asked.
    pub policy: PullPolicy,
    /// Told how far it is.
    pub progress: Progress,
}

/// Pulls images. Cheap to clone; clones share downloads, connections and tokens.
#[derive(Clone)]
pub struct Puller {
    store: Arc<dyn ContentStore>,
    settings: Arc<Settings>,
}

impl Puller {
    /// A puller into `store`.
    pub fn new(store: Arc<dyn ContentStore>, settings: Settings) -> Result<Self> {
        settings.registries.validate()?;
        Ok(Self { store, settings: Arc::new(settings) })
    }

    /// Makes `reference` available: all its blobs in the store, checked, its layers unpacked, its
    /// names put. Callers that ask for the same at the same time share one download; it ends when the last
    /// of them is dropped, and what was fetched by then is continued by the next pull.
    pub async fn pull(&self, reference: &Reference, options: PullOptions) -> Result<Image> {
        let _ = (&self.store, &self.settings, reference, options);
        Err(Error::unsupported("pulling is not built yet"))
    }

    /// Checks `credentials` with `registry` and keeps them in the credentials file, as an identity
    /// token if the registry gives one.
    pub async fn login(&self, registry: &str, credentials: Credentials) -> Result<()> {
        let _ = (registry, credentials);
        Err(Error::unsupported("login is not built yet"))
    }

    /// Forgets the credentials of `registry`; says whether there were any.
    pub async fn logout(&self, registry: &str) -> Result<bool> {
        let _ = registry;
        Err(Error::unsupported("logout is not built yet"))
    }
}
