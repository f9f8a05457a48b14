//! What happened lately: a bounded log in memory, written down a little later.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::event::Event;
use model::{Error, Result};
use store::{RangeRequest, Store};
use tasks::Wake;
use tokio::sync::watch;

use crate::{failure, keys};

/// Events kept, in memory and in the store.
pub(crate) const KEPT_EVENTS: usize = 4096;
/// Events written into one record.
const BATCH: usize = 256;

/// What happened lately.
pub(crate) struct EventLog {
    log: Mutex<Log>,
    next: watch::Sender<u64>,
    /// Asks for events to be written down.
    pub(crate) dirty: Wake,
}

#[derive(Default)]
struct Log {
    events: VecDeque<Event>,
    /// The number of the first one in `events`.
    first: u64,
    /// The number of the first one that is not written down.
    unwritten: u64,
    /// The numbers of the first events of the records in the store.
    records: VecDeque<u64>,
}

/// Events to be written down, and records to be deleted.
pub(crate) struct Flush {
    pub(crate) first: u64,
    pub(crate) events: Vec<Event>,
    pub(crate) expired: Vec<u64>,
}

impl EventLog {
    /// Reads what was written down.
    pub(crate) async fn load(store: &dyn Store) -> Result<Self> {
        let reply = store.range(RangeRequest::prefix(keys::EVENTS)).await;
        let mut log = Log::default();
        for record in reply.map_err(failure::of_store)?.records {
            let first = record.key.rsplit('/').next().and_then(|digits| digits.parse().ok());
            let events = serde_json::from_slice::<Vec<Event>>(&record.value);
            let (Some(first), Ok(events)) = (first, events) else {
                tracing::warn!(key = record.key, "a record of events cannot be read");
                continue;
            };
            log.take_record(first, events);
        }
        let next = watch::Sender::new(log.next());
        Ok(Self { log: Mutex::new(log), next, dirty: Wake::new() })
    }

    /// Adds an event.
    pub(crate) fn push(&self, event: Event) {
        let mut log = self.lock();
        log.events.push_back(event);
        if log.events.len() > KEPT_EVENTS {
            log.events.pop_front();
            log.first += 1;
        }
        let next = log.next();
        drop(log);
        self.next.send_replace(next);
        self.dirty.wake();
    }

    /// The events from a number on, at most so many, and the number behind them.
    ///
    /// # Errors
    /// `Conflict` when some of them are forgotten.
    pub(crate) fn since(&self, position: u64, most: usize) -> Result<(Vec<Event>, u64)> {
        let log = self.lock();
        let Some(skip) = position.checked_sub(log.first) else {
            return Err(Error::conflict("events were read too slowly, and some are forgotten")
                .next("ask again, with `since` for the time of the last one read"));
        };
        let events: Vec<_> = log.events.iter().skip(skip as usize).take(most).cloned().collect();
        let after = position + events.len() as u64;
        Ok((events, after))
    }

    /// The numbers of the first event and of the next one.
    pub(crate) fn bounds(&self) -> (u64, u64) {
        let log = self.lock();
        (log.first, log.next())
    }

    /// Hears of events.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.next.subscribe()
    }

    /// What is to be written down next.
    pub(crate) fn to_flush(&self) -> Option<Flush> {
        let log = self.lock();
        let first = log.unwritten.max(log.first);
        let skip = (first - log.first) as usize;
        let events: Vec<_> = log.events.iter().skip(skip).take(BATCH).cloned().collect();
        let keep = log.next().saturating_sub(KEPT_EVENTS as u64);
        let ends = log.records.iter().skip(1).copied().chain([log.unwritten]);
        let expired = log.records.iter().zip(ends).filter(|(_, end)| *end <= keep);
        let expired = expired.map(|(first, _)| *first).collect();
        (!events.is_empty()).then_some(Flush { first, events, expired })
    }

    /// Takes in that it is written down.
    pub(crate) fn flushed(&self, flush: &Flush) {
        let mut log = self.lock();
        log.unwritten = flush.first + flush.events.len() as u64;
        log.records.retain(|first| !flush.expired.contains(first));
        log.records.push_back(flush.first);
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    fn take_record(&mut self, first: u64, events: Vec<Event>) {
        if first != self.next() {
            self.events.clear();
            self.first = first;
        }
        self.events.extend(events);
        self.unwritten = self.next();
        self.records.push_back(first);
        while self.events.len() > KEPT_EVENTS {
            self.events.pop_front();
            self.first += 1;
        }
    }
}
