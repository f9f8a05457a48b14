//! Mounts that a plugin could not be told to take back are taken back once it listens.

use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;

/// First and longest wait for a plugin that is away.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Waits for mounts that are left over, and takes them back.
pub async fn settle_mounts(context: Arc<Context>) {
    let plugins = context.volumes.plugins();
    loop {
        plugins.unsettled().await;
        let mut wait = FIRST_WAIT;
        while !plugins.settle().await {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}
