//! The newest changes, and who waits for them.
//!
//! The feed holds a bounded window of batches and a small entry for each watch. A watch pulls:
//! nothing is queued for it, so a slow one costs neither memory nor the writer's time. What has
//! left the window it reads from the file.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::{Event, Revision, WatchBatch};

/// Batches the window holds at most, whatever their size, so that searching it stays short.
const WINDOW_BATCHES: usize = 4096;

/// Names a watch.
pub(super) type WatchId = u64;

/// The newest changes, and who waits for them.
#[derive(Debug)]
pub(super) struct Feed {
    window_bytes: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The newest revision that may be shown.
    published: Revision,
    /// The window holds everything after this revision.
    floor: Revision,
    window: VecDeque<WatchBatch>,
    bytes: usize,
    watches: HashMap<WatchId, Watch>,
    next_id: WatchId,
    closed: bool,
}

/// How far a watch is.
#[derive(Debug)]
struct Watch {
    prefix: String,
    /// It has seen everything up to here.
    seen: Revision,
    /// Whether there may be something for it after `seen`. When not, `seen` stands for `published`.
    behind: bool,
    wake: Arc<Notify>,
}

/// What a watch has to do next.
#[derive(Debug)]
pub(super) enum Next {
    /// Deliver this.
    Deliver(WatchBatch),
    /// Read from the file what came after this revision.
    ReadAfter(Revision),
    /// Wait to be woken.
    Wait,
    /// End, for the store was closed.
    Closed,
}

impl Feed {
    pub(super) fn new(window_bytes: usize, published: Revision) -> Self {
        let state = State {
            published,
            floor: published,
            window: VecDeque::new(),
            bytes: 0,
            watches: HashMap::new(),
            next_id: 0,
            closed: false,
        };
        Self { window_bytes, state: Mutex::new(state) }
    }

    /// The newest revision that may be shown.
    pub(super) fn published(&self) -> Revision {
        self.lock().published
    }

    /// Shows what was committed, and wakes those it concerns.
    pub(super) fn publish(&self, batches: Vec<WatchBatch>) {
        let mut state = self.lock();
        for batch in batches {
            state.publish(batch);
        }
        state.trim(self.window_bytes);
    }

    /// Adds a watch that has seen everything up to `seen`.
    pub(super) fn subscribe(&self, prefix: &str, seen: Revision) -> (WatchId, Arc<Notify>) {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        let wake = Arc::new(Notify::new());
        let watch = Watch { prefix: prefix.to_owned(), seen, behind: false, wake: wake.clone() };
        state.watches.insert(id, watch);
        state.advance(id, seen);
        (id, wake)
    }

    /// Removes a watch.
    pub(super) fn unsubscribe(&self, id: WatchId) {
        self.lock().watches.remove(&id);
    }

    /// What a watch has to do next. What is delivered counts as seen.
    pub(super) fn next(&self, id: WatchId) -> Next {
        self.lock().next(id)
    }

    /// Notes that a watch has seen everything up to `seen`, from the file.
    pub(super) fn advance(&self, id: WatchId, seen: Revision) {
        self.lock().advance(id, seen);
    }

    /// Ends all watches.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.window.clear();
        state.watches.values().for_each(|watch| watch.wake.notify_one());
    }

    /// How many watches there are, and how many of them have something waiting.
    pub(super) fn watches(&self) -> (u64, u64) {
        let state = self.lock();
        let behind = state.watches.values().filter(|watch| watch.behind).count();
        (state.watches.len() as u64, behind as u64)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that panics runs under the lock, so the state is whole even then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn publish(&mut self, batch: WatchBatch) {
        self.published = batch.revision;
        for watch in self.watches.values_mut().filter(|watch| !watch.behind) {
            if batch.revision > watch.seen && concerns(&batch, &watch.prefix) {
                watch.behind = true;
                watch.seen = batch.revision.previous();
                watch.wake.notify_one();
            }
        }
        self.bytes += weight(&batch);
        self.window.push_back(batch);
    }

    /// Drops the oldest batches until the window has its size.
    fn trim(&mut self, bytes: usize) {
        while self.bytes > bytes || self.window.len() > WINDOW_BATCHES {
            let Some(batch) = self.window.pop_front() else { break };
            self.bytes -= weight(&batch);
            self.floor = batch.revision;
        }
    }

    fn next(&mut self, id: WatchId) -> Next {
        let Some(watch) = self.watches.get(&id).filter(|_| !self.closed) else {
            return Next::Closed;
        };
        if !watch.behind {
            return Next::Wait;
        }
        if watch.seen < self.floor {
            return Next::ReadAfter(watch.seen);
        }
        match self.first_after(watch.seen, &watch.prefix) {
            Some(batch) => {
                let batch = select(batch, &watch.prefix);
                self.advance(id, batch.revision);
                Next::Deliver(batch)
            }
            None => {
                self.advance(id, self.published);
                Next::Wait
            }
        }
    }

    /// Moves a watch on. When nothing more concerns it, it is noted at once that it is not behind,
    /// not when it asks again: until then the window and the history may move past it.
    fn advance(&mut self, id: WatchId, seen: Revision) {
        let Some(watch) = self.watches.get(&id) else { return };
        let seen = watch.seen.max(seen);
        let behind = seen < self.floor || self.first_after(seen, &watch.prefix).is_some();
        if let Some(watch) = self.watches.get_mut(&id) {
            watch.seen = seen;
            watch.behind = behind;
        }
    }

    /// The first batch in the window after `seen` that concerns `prefix`.
    fn first_after(&self, seen: Revision, prefix: &str) -> Option<&WatchBatch> {
        let first = self.window.partition_point(|batch| batch.revision <= seen);
        self.window.range(first..).find(|batch| concerns(batch, prefix))
    }
}

fn concerns(batch: &WatchBatch, prefix: &str) -> bool {
    batch.events.iter().any(|event| event.key().starts_with(prefix))
}

/// The events of keys with `prefix`.
fn select(batch: &WatchBatch, prefix: &str) -> WatchBatch {
    let wanted = batch.events.iter().filter(|event| event.key().starts_with(prefix));
    WatchBatch { revision: batch.revision, events: wanted.cloned().collect() }
}

fn weight(batch: &WatchBatch) -> usize {
    size_of::<WatchBatch>() + batch.events.iter().map(Event::weight).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    fn batch(revision: u64, key: &str) -> WatchBatch {
        let record = Record {
            key: key.into(),
            value: "v".into(),
            created: Revision(revision),
            modified: Revision(revision),
            version: 1,
        };
        let events = vec![Event::Put { record, prev: None }];
        WatchBatch { revision: Revision(revision), events }
    }

    /// What a watch does until it has to wait or to read: revisions, then the last step.
    fn drain(feed: &Feed, id: WatchId) -> (Vec<u64>, String) {
        let mut seen = Vec::new();
        loop {
            match feed.next(id) {
                Next::Deliver(batch) => seen.push(batch.revision.0),
                step => return (seen, format!("{step:?}")),
            }
        }
    }

    #[test]
    fn a_watch_gets_what_concerns_it_and_only_that_wakes_it() {
        let feed = Feed::new(1 << 20, Revision(10));
        let (id, _) = feed.subscribe("a/", Revision(10));
        feed.publish(vec![batch(11, "b/1"), batch(12, "b/2")]);
        assert_eq!(feed.watches(), (1, 0));
        feed.publish(vec![batch(13, "a/1"), batch(14, "b/1"), batch(15, "a/1")]);
        assert_eq!(feed.watches(), (1, 1));
        assert_eq!(drain(&feed, id), (vec![13, 15], "Wait".into()));
        assert_eq!(feed.watches(), (1, 0));
    }

    #[test]
    fn what_has_left_the_window_is_read_from_the_file() {
        let feed = Feed::new(2 * weight(&batch(1, "a")), Revision(10));
        let (slow, _) = feed.subscribe("a", Revision(10));
        let (quiet, _) = feed.subscribe("z", Revision(10));
        feed.publish((11..=15).map(|revision| batch(revision, "a")).collect());
        assert_eq!(drain(&feed, slow), (vec![], "ReadAfter(Revision(10))".into()));
        feed.advance(slow, Revision(13));
        assert_eq!(drain(&feed, slow), (vec![14, 15], "Wait".into()));
        assert_eq!(drain(&feed, quiet), (vec![], "Wait".into()));
    }

    #[test]
    fn a_watch_that_has_taken_everything_does_not_fall_behind() {
        let feed = Feed::new(2 * weight(&batch(1, "a")), Revision(10));
        let (id, _) = feed.subscribe("a", Revision(10));
        feed.publish(vec![batch(11, "a")]);
        let Next::Deliver(_) = feed.next(id) else { panic!("nothing is delivered") };
        // It does not ask again while others fill the window.
        feed.publish((12..=20).map(|revision| batch(revision, "b")).collect());
        assert_eq!(feed.watches(), (1, 0));
        assert_eq!(drain(&feed, id), (vec![], "Wait".into()));
    }

    #[test]
    fn a_watch_from_ahead_of_the_feed_sees_nothing_twice() {
        let feed = Feed::new(1 << 20, Revision(10));
        // A read saw revision 12 in the file before the feed showed it.
        let (id, _) = feed.subscribe("", Revision(12));
        feed.publish(vec![batch(11, "a"), batch(12, "a"), batch(13, "a")]);
        assert_eq!(drain(&feed, id), (vec![13], "Wait".into()));
    }

    #[test]
    fn closing_ends_watches() {
        let feed = Feed::new(1 << 20, Revision(10));
        let (id, _) = feed.subscribe("", Revision(5));
        assert_eq!(drain(&feed, id).1, "ReadAfter(Revision(5))");
        feed.close();
        assert_eq!(drain(&feed, id).1, "Closed");
    }
}
