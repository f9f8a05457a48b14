//! One at a time for each thing named by a digest. For a blob: two images with a common layer fetch
//! it once. For what works under a lease of one name: none lets go of it under another's hands.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::digest::Digest;

#[derive(Default)]
pub(crate) struct Locks(Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>);

impl Locks {
    /// Waits until nobody else holds the lock of `digest`.
    pub async fn lock(&self, digest: &Digest) -> OwnedMutexGuard<()> {
        self.of(digest).lock_owned().await
    }

    /// The lock of `digest`, unless somebody holds it.
    pub fn try_lock(&self, digest: &Digest) -> Option<OwnedMutexGuard<()>> {
        self.of(digest).try_lock_owned().ok()
    }

    fn of(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = all.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        all.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        all.insert(digest.clone(), Arc::downgrade(&lock));
        lock
    }
}
