//! From a registry into the store.

use std::sync::Arc;

use model::image::{Image, Reference};
use model::{Error, Result};
use tokio::sync::Semaphore;

use crate::content::ContentStore;
use crate::credentials::{CredentialFile, Credentials};
use crate::local::Images;
use crate::locks::Locks;
use crate::platform::Platform;
use crate::progress::{LayerProgress, Phase, Progress};
use crate::registry::{Registries, SearchHit};
use crate::settings::Settings;

mod artifact;
mod blob;
mod flight;
mod job;
mod listing;
mod sources;

use flight::{Flights, Key};
use job::Job;
pub use listing::Listing;

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
    shared: Arc<Shared>,
}

/// What all pulls share.
struct Shared {
    store: Arc<dyn ContentStore>,
    images: Images,
    registries: Arc<Registries>,
    permits: Semaphore,
    /// By layer.
    layers: Locks,
    /// By name and platform.
    leases: Locks,
    flights: Flights,
}

impl Puller {
    /// A puller into `store`.
    pub fn new(store: Arc<dyn ContentStore>, settings: Settings) -> Result<Self> {
        Self::of(Images::new(store, settings.limits.clone()), settings)
    }

    /// A puller into the store of `images`, with whom it works hand in hand: one store has one.
    pub fn of(images: Images, settings: Settings) -> Result<Self> {
        settings.registries.now().validate()?;
        let store = images.store.clone();
        let permits = Semaphore::new(settings.transfer.parallel.max(1));
        let registries = Registries::new(settings);
        let (layers, leases, flights) = (Locks::default(), Locks::default(), Flights::default());
        let shared = Shared { store, images, registries, permits, layers, leases, flights };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes `reference` available: all its blobs in the store, checked, its layers unpacked, its
    /// names put. Callers that ask for the same at the same time share one download; it ends when
    /// the last of them is dropped, and what was fetched by then is continued by the next pull.
    pub async fn pull(&self, reference: &Reference, options: PullOptions) -> Result<Image> {
        let PullOptions { platform, credentials, policy, progress } = options;
        let platform = platform.unwrap_or_else(Platform::host);
        if policy != PullPolicy::Always
            && let Some(image) = self.here(reference, &platform).await?
        {
            tell_present(&image, &progress);
            return Ok(image);
        }
        if policy == PullPolicy::Never {
            return Err(Error::not_found(format!("image {} is not here", reference.familiar()))
                .next("pull it first, or allow it to be pulled"));
        }
        let key = Key { reference: reference.clone(), platform, credentials };
        let shared = self.shared.clone();
        self.shared
            .flights
            .join(key, &progress, |key, progress| Job::new(shared, key, progress).run())
            .await
    }

    /// Checks `credentials` with `registry` and keeps them in the credentials file, as an identity
    /// token if the registry gives one.
    pub async fn login(&self, registry: &str, credentials: Credentials) -> Result<()> {
        let file = self.file()?;
        let kept = self.shared.registries.verify(registry, credentials).await?;
        file.put(registry, &kept)
    }

    /// Checks `credentials` with `registry` and keeps nothing. Gives back an identity token in their
    /// place if the registry gives one.
    ///
    /// # Errors
    /// `Unauthenticated` when the registry refuses them.
    pub async fn check_login(
        &self,
        registry: &str,
        credentials: Credentials,
    ) -> Result<Credentials> {
        self.shared.registries.verify(registry, credentials).await
    }

    /// What `reference` means at its registry, without fetching it.
    ///
    /// # Errors
    /// `NotFound`, and those of the way there.
    pub async fn look_up(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Listing> {
        listing::look_up(&self.shared, reference, credentials).await
    }

    /// All tags of a repository.
    ///
    /// # Errors
    /// `NotFound`, and those of the way there.
    pub async fn tags(
        &self,
        reference: &Reference,
        credentials: Option<&Credentials>,
    ) -> Result<Vec<String>> {
        listing::tags(&self.shared, reference, credentials).await
    }

    /// Repositories whose names or descriptions have `term` in them, by the registry's own search.
    ///
    /// # Errors
    /// `Unsupported` for a registry that has none.
    pub async fn search(
        &self,
        registry: &str,
        term: &str,
        limit: u32,
        credentials: Option<Credentials>,
    ) -> Result<Vec<SearchHit>> {
        self.shared.registries.search(registry, term, limit, credentials).await
    }

    /// Forgets the credentials of `registry`; says whether there were any.
    pub async fn logout(&self, registry: &str) -> Result<bool> {
        self.file()?.remove(registry)
    }

    fn file(&self) -> Result<CredentialFile> {
        let path = self.shared.registries.settings.credentials.as_ref();
        path.map(CredentialFile::new).ok_or_else(|| {
            Error::unsupported("there is no credentials file to keep credentials in")
                .next("set a credentials file")
        })
    }

    /// The image, if all of it is here and unpacked.
    async fn here(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>> {
        match self.shared.images.whole(reference, platform).await? {
            Some(opened) => self.shared.images.show_opened(&opened).await.map(Some),
            None => Ok(None),
        }
    }
}

/// For a pull that found all of it here.
fn tell_present_if_silent(image: &Image, progress: &Progress) {
    let mut silent = false;
    progress.update(|state| silent = state.target.is_none());
    if silent {
        tell_present(image, progress);
    }
}

fn tell_present(image: &Image, progress: &Progress) {
    progress.update(|state| {
        state.target = image.digest.parse().ok();
        let layer = |digest: &String| {
            let digest = digest.parse().ok()?;
            Some(LayerProgress { digest, phase: Phase::Exists, done: 0, total: 0 })
        };
        state.layers = image.layers.iter().filter_map(layer).collect();
    });
}
