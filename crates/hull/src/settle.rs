//! What a process does when its start, or a piece of work, is over.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

/// After this time the start is over. Little more than the time at which the daemon asks for the first time what it
/// asks every ten seconds: what that touches is given back soon, each time.
const SETTLED: Duration = Duration::from_secs(2);
/// How often it is looked whether work ended.
const LOOK: Duration = Duration::from_secs(10);
/// Who used less of the processors than this between two looks is idle: a hundredth of one.
const QUIET: Duration = Duration::from_millis(100);
/// So much more memory than when it was last given back is worth it, bytes.
const WORTH: u64 = 4 << 20;

/// Gives back the memory that a start needed, and after each burst of work what the work needed.
/// Never ends.
///
/// Under load nothing is given back: what is used would only be fetched again.
pub async fn settle() -> Infallible {
    sleep(SETTLED).await;
    let mut kept = give_back().await;
    let mut last = host::memory::processor_time();
    loop {
        sleep(LOOK).await;
        let now = host::memory::processor_time();
        if now.saturating_sub(last) < QUIET && is_worth_it(kept, host::memory::resident()) {
            kept = give_back().await;
        }
        last = now;
    }
}

/// Whether there is more by now than what was kept when memory was last given back.
fn is_worth_it(kept: u64, now: u64) -> bool {
    now.saturating_sub(kept) >= WORTH
}

/// Gives memory back; says what was kept.
async fn give_back() -> u64 {
    // It reads a file and takes locks of the allocator's.
    let _ = tokio::task::spawn_blocking(host::memory::give_back).await;
    host::memory::resident()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_when_there_is_more_of_it() {
        let mib = |count: u64| count << 20;
        for (kept, now, worth) in [(10, 13, false), (10, 14, true), (10, 9, false), (0, 0, false)] {
            assert_eq!(is_worth_it(mib(kept), mib(now)), worth, "{kept} {now}");
        }
    }
}
