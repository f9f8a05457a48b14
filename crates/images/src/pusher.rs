//! From the store to a registry.

use std::sync::Arc;

use model::image::Reference;
use model::{Error, Result};

use crate::content::ContentStore;
use crate::credentials::Credentials;
use crate::digest::Digest;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::settings::Settings;

/// How an image is pushed.
#[derive(Debug, Clone, Default)]
pub struct PushOptions {
    /// Only this platform's manifest; the whole index unless given, as far as it is here.
    pub platform: Option<Platform>,
    /// Shown to the registry; those of the credentials file unless given.
    pub credentials: Option<Credentials>,
    /// Told how far it is.
    pub progress: Progress,
}

/// Pushes images. Cheap to clone.
#[derive(Clone)]
pub struct Pusher {
    store: Arc<dyn ContentStore>,
    settings: Arc<Settings>,
}

impl Pusher {
    /// A pusher out of `store`.
    pub fn new(store: Arc<dyn ContentStore>, settings: Settings) -> Result<Self> {
        settings.registries.validate()?;
        Ok(Self { store, settings: Arc::new(settings) })
    }

    /// Sends the image `source` (a name or an id) to where `target` says. Returns the digest `target` now means.
    pub async fn push(
        &self,
        source: &str,
        target: &Reference,
        options: PushOptions,
    ) -> Result<Digest> {
        let _ = (&self.store, &self.settings, source, target, options);
        Err(Error::unsupported("pushing is not built yet"))
    }
}
