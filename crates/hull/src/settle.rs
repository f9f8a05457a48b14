//! What a process does when its start is over.

use std::convert::Infallible;
use std::time::Duration;

/// After this time the start is over.
const SETTLED: Duration = Duration::from_secs(5);
/// Work leaves behind what idling does not need; so often that is given back.
const AGAIN: Duration = Duration::from_secs(600);

/// Gives back the memory that a start needed, and later on what work needed. Never ends.
pub async fn settle() -> Infallible {
    let mut wait = SETTLED;
    loop {
        tokio::time::sleep(wait).await;
        // It reads a file and takes locks of the allocator's.
        let _ = tokio::task::spawn_blocking(host::memory::give_back).await;
        wait = AGAIN;
    }
}
