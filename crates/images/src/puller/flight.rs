//! One pull for all who ask for the same at the same time.
//!
//! The work is a task of its own; each caller holds the flight, and the last to let go ends it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use model::image::{Image, Reference};
use model::{Error, Result};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::credentials::Credentials;
use crate::failure;
use crate::platform::Platform;
use crate::progress::{Progress, PullState};

/// What must be equal for a pull to be shared. Who shows other credentials may be answered otherwise.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub reference: Reference,
    pub platform: Platform,
    pub credentials: Option<Credentials>,
}

type Outcome = Option<Result<Image, Arc<Error>>>;

struct Flight {
    state: watch::Receiver<PullState>,
    outcome: watch::Receiver<Outcome>,
    task: JoinHandle<()>,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Pulls that are under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Key, Weak<Flight>>>);

impl Flights {
    /// Joins the pull of `key`, or begins it with `work`; tells `progress` how far it is.
    pub async fn join<W: Future<Output = Result<Image>> + Send + 'static>(
        &self,
        key: Key,
        progress: &Progress,
        work: impl FnOnce(Key, Progress) -> W,
    ) -> Result<Image> {
        let flight = self.board(key, work);
        let (mut state, mut outcome) = (flight.state.clone(), flight.outcome.clone());
        loop {
            progress.update(|seen| seen.clone_from(&state.borrow_and_update()));
            if let Some(outcome) = &*outcome.borrow() {
                return outcome.clone().map_err(|error| failure::again(&error));
            }
            tokio::select! {
                changed = outcome.changed() => if changed.is_err() && outcome.borrow().is_none() {
                    return Err(Error::internal("the pull died"));
                },
                // Closed when the work has ended; its outcome follows at once.
                Ok(()) = state.changed() => {}
            }
        }
    }

    fn board<W: Future<Output = Result<Image>> + Send + 'static>(
        &self,
        key: Key,
        work: impl FnOnce(Key, Progress) -> W,
    ) -> Arc<Flight> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = flights.get(&key).and_then(Weak::upgrade);
        if let Some(flight) = under_way.filter(|flight| flight.outcome.borrow().is_none()) {
            return flight;
        }
        flights.retain(|_, flight| flight.strong_count() > 0);
        let (progress, state) = Progress::channel();
        let (told, outcome) = watch::channel(None);
        let work = work(key.clone(), progress);
        let task = tokio::spawn(async move {
            let outcome = work.await.map_err(Arc::new);
            told.send_replace(Some(outcome));
        });
        let flight = Arc::new(Flight { state, outcome, task });
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }
}
