//! How long to wait before the next try.

use std::time::Duration;

use super::failure::{Again, Failure};
use crate::settings::Transfer;

/// Counts failures in a row, and waits longer after each.
pub(crate) struct Backoff {
    left: u32,
    next: Duration,
    first: Duration,
    longest: Duration,
    attempts: u32,
}

impl Backoff {
    /// No failure yet.
    pub fn new(transfer: &Transfer) -> Self {
        Self::with_attempts(transfer, transfer.attempts)
    }

    /// No failure yet, and fewer tries.
    pub fn with_attempts(transfer: &Transfer, attempts: u32) -> Self {
        let (first, longest) = (transfer.first_wait, transfer.longest_wait);
        Self { left: attempts, next: first, first, longest, attempts }
    }

    /// There was progress: the count begins again.
    pub fn reset(&mut self) {
        (self.left, self.next) = (self.attempts, self.first);
    }

    /// Waits before the next try, or gives the error back when there is none to be made: trying again is
    /// no use, there were enough tries, or the registry wants a longer wait than allowed.
    pub async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        let Again::After(asked) = failure.again else { return Err(failure) };
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || asked.is_some_and(|asked| asked > self.longest) {
            return Err(failure);
        }
        let wait = asked.unwrap_or(self.next);
        self.next = (self.next * 2).min(self.longest);
        let cause = failure.error.chain();
        tracing::info!(
            wait_ms = wait.as_millis() as u64,
            cause,
            "registry asked again after a wait"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::Error;
    use tokio::time::Instant;

    use super::*;

    fn failure(again: Again) -> Failure {
        Failure { error: Error::unavailable("x"), again, unreachable: false }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_and_end() {
        let transfer = Transfer {
            attempts: 4,
            first_wait: Duration::from_secs(10),
            longest_wait: Duration::from_secs(30),
            ..Transfer::default()
        };
        let mut backoff = Backoff::new(&transfer);
        let mut waits = Vec::new();
        loop {
            let start = Instant::now();
            if backoff.wait(failure(Again::After(None))).await.is_err() {
                break;
            }
            waits.push(start.elapsed().as_secs());
        }
        assert_eq!(waits, [10, 20, 30]);
        backoff.reset();
        let start = Instant::now();
        backoff.wait(failure(Again::After(Some(Duration::from_secs(25))))).await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 25);
        let longer = Again::After(Some(Duration::from_secs(31)));
        assert!(backoff.wait(failure(longer)).await.is_err());
        assert!(backoff.wait(failure(Again::No)).await.is_err());
    }
}
