//! The points between two durable steps of a verb, so that a test can end the process at any of them.

use std::fmt;
use std::sync::Arc;

/// Told the name of each step when it is complete.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<dyn Fn(&'static str) + Send + Sync>>);

impl Steps {
    /// Tells `watch`.
    pub fn watched(watch: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    /// The step `name` is complete.
    pub fn at(&self, name: &'static str) {
        if let Some(watch) = &self.0 {
            watch(name);
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Steps").field(&self.0.is_some()).finish()
    }
}
