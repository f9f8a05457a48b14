//! Writes events down, a little later than they happen.

use std::sync::Arc;

use model::Result;
use store::Commit;
use tasks::Pass;

use crate::core::Core;
use crate::keys;

/// The loop.
pub(crate) struct Events(pub(crate) Arc<Core>);

impl Pass for Events {
    const NAME: &'static str = "events";

    async fn pass(&mut self) -> Result<String> {
        let written = flush(&self.0).await?;
        Ok(if written == 0 { String::new() } else { format!("{written} events written down") })
    }
}

/// Writes all events down that are not yet; returns how many.
pub(crate) async fn flush(core: &Core) -> Result<usize> {
    let mut written = 0;
    while let Some(flush) = core.events.to_flush() {
        let value = serde_json::to_vec(&flush.events).map_err(|error| {
            model::Error::internal("events cannot be written as JSON").caused_by(error)
        })?;
        let mut commit = Commit::new().put(keys::events(flush.first), value);
        for expired in &flush.expired {
            commit = commit.delete(keys::events(*expired));
        }
        core.commit_plain(commit).await?;
        core.events.flushed(&flush);
        written += flush.events.len();
    }
    Ok(written)
}
