//! Documents of images that were read before. What a digest names never changes, so that listing a
//! hundred images asks the store for their records and for nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use model::Result;

use super::{Images, Opened};
use crate::descriptor::Descriptor;
use crate::digest::Digest;
use crate::platform::Platform;

/// Images kept at the most; with more, all are read anew.
const MOST: usize = 1024;

/// By what their names point at, and for which platform they were read. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept(Arc<Mutex<HashMap<(Digest, Platform), Opened>>>);

impl Kept {
    fn get(&self, key: &(Digest, Platform)) -> Option<Opened> {
        self.lock().get(key).cloned()
    }

    fn put(&self, key: (Digest, Platform), opened: &Opened) {
        let mut kept = self.lock();
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(key, opened.clone());
    }

    /// Forgets all, after something was removed from the store.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(Digest, Platform), Opened>> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Images {
    /// As [`Images::open`], from memory where that cannot differ.
    pub(super) async fn open_kept(
        &self,
        target: &Descriptor,
        platform: &Platform,
    ) -> Result<Option<Opened>> {
        let key = (target.digest.clone(), platform.clone());
        if let Some(mut opened) = self.kept.get(&key) {
            opened.target = target.clone();
            return Ok(Some(opened));
        }
        let opened = self.open(target, platform).await?;
        // An index may come to have a better fit when that is fetched.
        if let Some(opened) = opened.as_ref().filter(|opened| opened.fits(platform)) {
            self.kept.put(key, opened);
        }
        Ok(opened)
    }
}
