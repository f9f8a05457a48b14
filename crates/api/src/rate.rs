//! How often a caller may ask: a bucket of tokens each.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Callers that are remembered; beyond it those with a full bucket are forgotten.
const REMEMBERED: usize = 1024;

/// A bucket for each caller: it holds `burst` tokens and gains `rate` a second; a request takes one.
pub(crate) struct Rates {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<String, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Rates {
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        let (rate, burst) = (f64::from(rate.max(1)), f64::from(burst.max(1)));
        Self { rate, burst, buckets: Mutex::default() }
    }

    /// Takes a token of `caller`'s; otherwise says how long to wait for one.
    pub(crate) fn take(&self, caller: &str, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().expect("nothing panics while it counts");
        if !buckets.contains_key(caller) {
            self.forget(&mut buckets, now);
            buckets.insert(caller.to_owned(), Bucket { tokens: self.burst, at: now });
        }
        let bucket = buckets.get_mut(caller).expect("it was put there above");
        bucket.tokens = self.tokens(bucket, now);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.tokens) / self.rate));
        }
        bucket.tokens -= 1.0;
        Ok(())
    }

    fn tokens(&self, bucket: &Bucket, now: Instant) -> f64 {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
        (bucket.tokens + gained).min(self.burst)
    }

    fn forget(&self, buckets: &mut HashMap<String, Bucket>, now: Instant) {
        if buckets.len() >= REMEMBERED {
            buckets.retain(|_, bucket| self.tokens(bucket, now) < self.burst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_empties_and_fills() {
        let (rates, start) = (Rates::new(10, 3), Instant::now());
        for _ in 0..3 {
            assert!(rates.take("a", start).is_ok());
        }
        let wait = rates.take("a", start).unwrap_err();
        assert_eq!(wait.as_millis(), 100);
        assert!(rates.take("b", start).is_ok());
        assert!(rates.take("a", start + wait).is_ok());
        assert!(rates.take("a", start + wait).is_err());
    }

    #[test]
    fn callers_are_forgotten() {
        let (rates, start) = (Rates::new(10, 1), Instant::now());
        for i in 0..5000 {
            let later = start + Duration::from_secs(i);
            assert!(rates.take(&format!("caller {i}"), later).is_ok());
        }
        assert!(rates.buckets.lock().unwrap().len() <= REMEMBERED);
    }
}
