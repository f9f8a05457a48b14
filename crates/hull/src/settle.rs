//! What a process does when its start, or a piece of work, is over.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::sleep;

/// After this time the start is over.
const SETTLED: Duration = Duration::from_secs(5);
/// How often it is looked whether work ended.
const LOOK: Duration = Duration::from_secs(10);
/// Who used less of the processors than this between two looks is idle: a hundredth of one.
const QUIET: Duration = Duration::from_millis(100);
/// Less work than this, since memory was last given back, left nothing behind that is worth it.
const WORTH: Duration = Duration::from_millis(100);

/// Gives back the memory that a start needed, and after each burst of work what the work needed.
/// Never ends.
///
/// Under load nothing is given back: what is used would only be fetched again.
pub async fn settle() -> Infallible {
    sleep(SETTLED).await;
    let mut given = give_back().await;
    let mut last = given;
    loop {
        sleep(LOOK).await;
        let now = host::memory::processor_time();
        if is_over(given, last, now) {
            given = give_back().await;
        }
        last = now;
    }
}

/// Whether a burst of work ended: all were read from the same clock, when memory was last given back,
/// at the last look, and now.
fn is_over(given: Duration, last: Duration, now: Duration) -> bool {
    now.saturating_sub(last) < QUIET && now.saturating_sub(given) >= WORTH
}

/// Gives memory back and says what the processors did for this process until then.
async fn give_back() -> Duration {
    // It reads a file and takes locks of the allocator's.
    let _ = tokio::task::spawn_blocking(host::memory::give_back).await;
    host::memory::processor_time()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_over_when_nothing_more_is_done() {
        let ms = Duration::from_millis;
        for (given, last, now, over) in [
            (0, 0, 0, false),
            (1000, 1000, 1099, false),
            (1000, 1000, 1100, false),
            (1000, 1050, 1099, false),
            (1000, 1050, 1100, true),
            (1000, 9000, 9001, true),
            (9001, 9001, 9010, false),
        ] {
            assert_eq!(is_over(ms(given), ms(last), ms(now)), over, "{given} {last} {now}");
        }
    }
}
