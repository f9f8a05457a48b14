//! Stores, pullers, and what is left behind.

use std::sync::Arc;
use std::time::Duration;

use images::{
    ContentStore, DirStore, Images, Limits, PullOptions, PullPolicy, Puller, RegistriesConfig,
    RegistryConfig, Settings, Transfer,
};
use model::image::{Image, Reference};
use tempfile::TempDir;

pub struct Fixture {
    pub directory: TempDir,
    pub store: Arc<dyn ContentStore>,
    pub puller: Puller,
    pub images: Images,
}

/// Waits short enough for tests.
pub fn quick() -> Transfer {
    Transfer {
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_secs(2),
        stall_timeout: Duration::from_millis(700),
        ..Transfer::default()
    }
}

pub fn settings() -> Settings {
    Settings { transfer: quick(), ..Settings::default() }
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(settings())
    }

    pub fn with(settings: Settings) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn ContentStore> =
            Arc::new(DirStore::open(directory.path().join("store")).unwrap());
        let images = Images::new(store.clone(), settings.limits.clone());
        let puller = Puller::new(store.clone(), settings).unwrap();
        Self { directory, store, puller, images }
    }

    pub fn with_limits(limits: Limits) -> Self {
        Self::with(Settings { limits, ..settings() })
    }

    pub async fn pull(&self, name: &str) -> model::Result<Image> {
        self.puller.pull(&Reference::parse(name).unwrap(), always()).await
    }

    /// Nothing is visible and nothing is kept.
    pub async fn assert_empty(&self, what: &str) {
        assert!(self.store.images().await.unwrap().is_empty(), "{what}: names are left");
        assert!(self.store.list().await.unwrap().is_empty(), "{what}: blobs are left");
        assert!(self.store.ingests().await.unwrap().is_empty(), "{what}: ingests are left");
        for name in ["leases", "unpacked", "meta"] {
            let path = self.directory.path().join("store").join(name);
            let left = std::fs::read_dir(path).unwrap().count();
            assert_eq!(left, 0, "{what}: {name} are left");
        }
    }
}

pub fn always() -> PullOptions {
    PullOptions { policy: PullPolicy::Always, ..PullOptions::default() }
}

/// `registry` by way of `mirrors`.
pub fn mirrored(registry: &str, mirrors: &[String]) -> RegistriesConfig {
    let config = RegistryConfig { mirrors: mirrors.to_vec(), ..RegistryConfig::default() };
    RegistriesConfig([(registry.to_owned(), config)].into())
}

/// Polls until `condition` holds, or fails.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !condition().await {
        assert!(start.elapsed() < Duration::from_secs(20), "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
