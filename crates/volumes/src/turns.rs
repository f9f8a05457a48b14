//! One verb at a time on each volume.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as Gate, OwnedMutexGuard};

use crate::driver::VolumeId;

/// Whose turn it is, by volume.
#[derive(Debug, Default)]
pub struct Turns {
    gates: Mutex<HashMap<VolumeId, Arc<Gate<()>>>>,
}

/// A turn; over when it is dropped.
#[derive(Debug)]
pub struct Turn {
    _held: Vec<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn of all `ids`, always in the same order, so that two who want the same ones
    /// cannot wait for each other.
    pub async fn wait(&self, ids: &[&VolumeId]) -> Turn {
        let mut ids: Vec<&VolumeId> = ids.to_vec();
        ids.sort();
        ids.dedup();
        let mut held = Vec::with_capacity(ids.len());
        for id in ids {
            let gate = self.gate(id);
            held.push(gate.lock_owned().await);
        }
        Turn { _held: held }
    }

    fn gate(&self, id: &VolumeId) -> Arc<Gate<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        // Gates nobody holds or waits for are forgotten, so that the map does not grow for ever.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        Arc::clone(gates.entry(id.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_on_each_and_no_deadlock() {
        let turns = Turns::default();
        let (a, b): (VolumeId, VolumeId) = ("a".parse().unwrap(), "b".parse().unwrap());
        let first = turns.wait(&[&a, &b, &a]).await;
        let both = [&b, &a];
        let second = turns.wait(&both);
        tokio::pin!(second);
        assert!(futures_are_pending(&mut second).await);
        drop(first);
        second.await;
        assert!(turns.gates.lock().unwrap().len() <= 2);
    }

    async fn futures_are_pending(future: &mut (impl Future<Output = Turn> + Unpin)) -> bool {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_pending())
        })
        .await
    }
}
