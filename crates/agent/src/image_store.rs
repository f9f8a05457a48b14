//! The node's images, as instances and calls use them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use images::{
    ContentStore, Images, Progress, PullOptions, Puller, Pusher, RegistriesSource, Settings,
};
use model::Result;
use model::image::{Image, Reference};
use model::instance::PullPolicy;

/// Images that are remembered parsed; the least of what a node of a hundred applications has.
const REMEMBERED: usize = 512;

/// The node's images.
pub struct ImageStore {
    content: Arc<dyn ContentStore>,
    /// The local verbs.
    pub local: Images,
    /// From registries.
    pub puller: Arc<Puller>,
    /// To registries.
    pub pusher: Arc<Pusher>,
    /// How registries are reached.
    pub registries: RegistriesSource,
    parsed: Mutex<HashMap<String, Arc<Image>>>,
}

impl ImageStore {
    /// The images of `content`.
    pub fn new(content: Arc<dyn ContentStore>, settings: Settings) -> Result<Self> {
        let local = Images::new(content.clone(), settings.limits.clone());
        Ok(Self {
            puller: Arc::new(Puller::of(local.clone(), settings.clone())?),
            local,
            registries: settings.registries.clone(),
            pusher: Arc::new(Pusher::new(content.clone(), settings)?),
            content,
            parsed: Mutex::default(),
        })
    }

    /// The image of that name, pulled if the policy says so. `pinned` is the digest or id that something
    /// was made from already: where it is here, the name does not matter. `progress` hears of the pull.
    pub async fn ensure(
        &self,
        name: &str,
        policy: PullPolicy,
        pinned: Option<&str>,
        progress: Progress,
    ) -> Result<Arc<Image>> {
        if let Some(digest) = pinned
            && let Some(image) = self.here(digest).await?
        {
            return Ok(image);
        }
        let id_like = Reference::parse(name).is_err() || is_hex(name);
        if id_like && let Some(image) = self.here(name).await? {
            return Ok(image);
        }
        let reference = Reference::parse(name)?;
        if policy != PullPolicy::Always
            && let Some(record) = self.content.image(&reference.to_string()).await?
            && let Some(image) = self.here(record.target.digest.as_str()).await?
        {
            return Ok(image);
        }
        self.pull(&reference, policy, progress).await
    }

    /// Pulls an image as the policy says.
    pub async fn pull(
        &self,
        reference: &Reference,
        policy: PullPolicy,
        progress: Progress,
    ) -> Result<Arc<Image>> {
        let policy = match policy {
            PullPolicy::Always => images::PullPolicy::Always,
            PullPolicy::Missing => images::PullPolicy::Missing,
            PullPolicy::Never => images::PullPolicy::Never,
        };
        let options = PullOptions { policy, progress, ..PullOptions::default() };
        let image = self.puller.pull(reference, options).await?;
        Ok(self.remember(image))
    }

    /// Forgets what was parsed, after images were removed or taken in.
    pub fn forget(&self) {
        self.lock().clear();
    }

    /// The image that is here under a digest or an id, unpacked. One that cannot be unpacked counts
    /// as not here: a pull makes it good, or says better why not.
    async fn here(&self, name: &str) -> Result<Option<Arc<Image>>> {
        if let Some(image) = self.lock().get(name).cloned() {
            return Ok(Some(image));
        }
        let Some(image) = self.local.find(name).await? else { return Ok(None) };
        match self.local.unpack(name).await {
            Ok(()) => Ok(Some(self.remember(image))),
            Err(error) => {
                tracing::warn!(image = name, cause = error.chain(), "image cannot be unpacked");
                Ok(None)
            }
        }
    }

    fn remember(&self, image: Image) -> Arc<Image> {
        let image = Arc::new(image);
        let mut parsed = self.lock();
        if parsed.len() >= REMEMBERED {
            parsed.clear();
        }
        for name in [&image.digest, &image.id] {
            parsed.insert(name.clone(), image.clone());
        }
        image
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Image>>> {
        self.parsed.lock().expect("nobody panics with it")
    }
}

fn is_hex(name: &str) -> bool {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    digits.len() >= 6 && digits.bytes().all(|c| c.is_ascii_hexdigit())
}
