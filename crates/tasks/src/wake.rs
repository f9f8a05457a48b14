//! Asking for a pass.

use std::sync::Arc;

use tokio::sync::Notify;

/// Asks for a pass. Any number of calls before the pass begins ask for one pass; a call while it
/// runs asks for another one after it.
#[derive(Clone, Debug, Default)]
pub struct Wake(Arc<Notify>);

impl Wake {
    /// A wake that no pass listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a pass. Never waits.
    pub fn wake(&self) {
        self.0.notify_one();
    }

    /// Waits until a pass is asked for.
    pub(crate) async fn asked(&self) {
        self.0.notified().await;
    }
}
