//! The store beside a model that is too simple to be wrong, through random commands.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use proptest::{collection::vec, option, prelude::*, sample::select};
use store::{
    Commit, Error, Event, Expect, Expected, RangeReply, RangeRequest, Record, Result, Revision,
    Store, WatchBatch, WatchRequest, Write,
    sqlite::{Config, History, SqliteStore},
};

/// Every state there ever was, and how it came to be.
struct Model {
    states: Vec<State>,
    batches: Vec<WatchBatch>,
    oldest: Revision,
}

type State = BTreeMap<String, Record>;

impl Model {
    fn new() -> Self {
        // No state at 0, an empty one at 1.
        Self { states: vec![State::new(); 2], batches: vec![], oldest: Revision::FIRST }
    }

    fn revision(&self) -> Revision {
        Revision(self.states.len() as u64 - 1)
    }

    fn now(&self) -> &State {
        &self.states[self.states.len() - 1]
    }

    fn commit(&mut self, commit: &Commit) -> Result<Revision> {
        for Expect { key, expected } in &commit.expect {
            let found = self.now().get(key).map(|record| record.modified);
            if !expected.holds(found) {
                return Err(Error::Conflict { key: key.clone(), found });
            }
        }
        let revision = self.revision().next();
        let mut state = self.now().clone();
        let events: Vec<Event> =
            commit.writes.iter().filter_map(|write| apply(&mut state, revision, write)).collect();
        if !events.is_empty() {
            self.states.push(state);
            self.batches.push(WatchBatch { revision, events });
        }
        Ok(self.revision())
    }

    fn range(&self, request: &RangeRequest) -> Result<RangeReply> {
        let revision = request.at.unwrap_or(self.revision());
        self.check(revision)?;
        let inside = |key: &String| {
            key.starts_with(&request.prefix)
                && *key >= request.start
                && request.end.as_ref().is_none_or(|end| key < end)
        };
        let all: Vec<Record> = self.states[usize::try_from(revision.0).unwrap()]
            .values()
            .filter(|record| inside(&record.key))
            .map(|record| match request.keys_only {
                true => Record { value: Bytes::new(), ..record.clone() },
                false => record.clone(),
            })
            .collect();
        let limit = request.limit.unwrap_or(usize::MAX);
        Ok(RangeReply {
            more: all.len() > limit,
            count: request.count.then_some(all.len() as u64),
            records: all.into_iter().take(limit).collect(),
            revision,
        })
    }

    /// What a watch delivers that begins now.
    fn watch(&self, request: &WatchRequest) -> Result<Vec<WatchBatch>> {
        self.check(request.after)?;
        let wanted = self.batches.iter().filter(|batch| batch.revision > request.after);
        let selected = wanted.map(|batch| {
            let events = batch.events.iter().filter(|e| e.key().starts_with(&request.prefix));
            WatchBatch { revision: batch.revision, events: events.cloned().collect() }
        });
        Ok(selected.filter(|batch| !batch.events.is_empty()).collect())
    }

    fn compact(&mut self, before: Revision) -> Result<()> {
        if before > self.revision() {
            return Err(Error::FutureRevision { asked: before, current: self.revision() });
        }
        self.oldest = self.oldest.max(before);
        Ok(())
    }

    fn check(&self, revision: Revision) -> Result<()> {
        if revision > self.revision() {
            return Err(Error::FutureRevision { asked: revision, current: self.revision() });
        }
        if revision.max(Revision::FIRST) < self.oldest {
            return Err(Error::Compacted { oldest: self.oldest });
        }
        Ok(())
    }
}

fn apply(state: &mut State, revision: Revision, write: &Write) -> Option<Event> {
    match write {
        Write::Put { key, value } => {
            let prev = state.get(key).cloned();
            let record = Record {
                key: key.clone(),
                value: value.clone(),
                created: prev.as_ref().map_or(revision, |record| record.created),
                modified: revision,
                version: prev.as_ref().map_or(1, |record| record.version + 1),
            };
            state.insert(key.clone(), record.clone());
            Some(Event::Put { record, prev })
        }
        Write::Delete { key } => {
            let prev = Some(state.remove(key)?);
            Some(Event::Delete { key: key.clone(), prev })
        }
    }
}

/// One random command. Revisions are back from the current one; -1 is in the future.
#[derive(Clone, Debug)]
enum Command {
    Commit(Vec<(String, Option<i64>, bool)>, Vec<(String, Option<usize>)>),
    Range(RangeRequest, Option<i64>),
    Watch(String, i64),
    Compact(i64),
    Reopen,
}

fn key() -> impl Strategy<Value = String> {
    select(vec!["a", "a/", "a/1", "a/2", "a/2/x", "a0", "b", "é", "\u{10ffff}", "a/\0"])
        .prop_map(str::to_owned)
}

fn bound() -> impl Strategy<Value = String> {
    prop_oneof![2 => Just(String::new()), 1 => key()]
}

fn back() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 0..6_i64, 4 => 0..40_i64, 1 => Just(-1_i64)]
}

fn commits() -> impl Strategy<Value = Command> {
    let expect = (key(), option::of(0..3_i64), any::<bool>());
    let write = (key(), option::weighted(0.7, 0..6000_usize));
    (vec(expect, 0..3), vec(write, 0..5)).prop_map(|(expect, mut writes)| {
        writes.sort_by(|a, b| a.0.cmp(&b.0));
        writes.dedup_by(|a, b| a.0 == b.0);
        Command::Commit(expect, writes)
    })
}

fn ranges() -> impl Strategy<Value = Command> {
    (
        bound(),
        bound(),
        option::of(key()),
        option::of(0..5_usize),
        any::<(bool, bool)>(),
        option::of(back()),
    )
        .prop_map(|(prefix, start, end, limit, (keys_only, count), back)| {
            let request =
                RangeRequest { prefix, start, end, limit, keys_only, count, ..Default::default() };
            Command::Range(request, back)
        })
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => commits(),
        8 => ranges(),
        4 => (bound(), back()).prop_map(|(prefix, back)| Command::Watch(prefix, back)),
        1 => back().prop_map(Command::Compact),
        1 => Just(Command::Reopen),
    ]
}

/// The store and the model, which have to agree.
struct Pair {
    dir: tempfile::TempDir,
    settings: Config,
    store: Option<SqliteStore>,
    model: Model,
    /// Watches from their beginning, and how many of the model's batches were before it.
    watches: Vec<(store::WatchStream, WatchRequest)>,
}

impl Pair {
    async fn new(window_bytes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = Config {
            window_bytes,
            history: History { keep_revisions: u64::MAX, ..History::default() },
            checkpoint_pages: 10,
            ..Config::new(dir.path().join("state.db"))
        };
        let store = Some(SqliteStore::open(settings.clone()).await.unwrap());
        Self { dir, settings, store, model: Model::new(), watches: vec![] }
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().unwrap()
    }

    fn at(&self, back: i64) -> Revision {
        let revision = self.model.revision().0.cast_signed() - back;
        Revision(revision.max(0).cast_unsigned())
    }

    async fn run(&mut self, command: Command) {
        match command {
            Command::Commit(expect, writes) => {
                let commit = self.commit_of(expect, writes);
                let expected = self.model.commit(&commit);
                same(self.store().commit(commit).await, expected);
            }
            Command::Range(mut request, back) => {
                request.at = back.map(|back| self.at(back));
                let expected = self.model.range(&request);
                same(self.store().range(request).await, expected);
            }
            Command::Watch(prefix, back) => {
                let request = WatchRequest::prefix(prefix, self.at(back));
                self.watch(request).await;
            }
            Command::Compact(back) => {
                self.catch_up().await;
                let before = self.at(back);
                let expected = self.model.compact(before);
                same(self.store().compact(before).await, expected);
            }
            Command::Reopen => {
                self.catch_up().await;
                self.watches.clear();
                self.store.take().unwrap().close().await;
                self.store = Some(SqliteStore::open(self.settings.clone()).await.unwrap());
            }
        }
        assert_eq!(self.store().current().await.unwrap(), self.model.revision());
    }

    fn commit_of(
        &self,
        expect: Vec<(String, Option<i64>, bool)>,
        writes: Vec<(String, Option<usize>)>,
    ) -> Commit {
        let expect = expect.into_iter().map(|(key, back, truth)| {
            let found = self.model.now().get(&key).map(|record| record.modified);
            let expected = match (truth, found, back) {
                (true, Some(at), Some(_)) => Expected::ModifiedAt(at),
                (true, Some(_), None) | (false, None, None) => Expected::Exists,
                (true, None, _) | (false, Some(_), None) => Expected::Absent,
                (false, _, Some(back)) => Expected::ModifiedAt(self.at(back)),
            };
            Expect { key, expected }
        });
        let number = self.model.revision().0;
        let writes = writes.into_iter().map(|(key, size)| match size {
            Some(size) => Write::Put { key, value: vec![(number % 251) as u8; size].into() },
            None => Write::Delete { key },
        });
        Commit { expect: expect.collect(), writes: writes.collect(), ..Commit::new() }
    }

    async fn watch(&mut self, request: WatchRequest) {
        match (self.store().watch(request.clone()).await, self.model.watch(&request)) {
            (Ok(stream), Ok(_)) => self.watches.push((stream, request)),
            (Err(got), Err(expected)) => same::<()>(Err(got), Err(expected)),
            (got, expected) => panic!("got {:?}, expected {expected:?}", got.map(drop)),
        }
    }

    /// All watches deliver what the model says, and no more.
    async fn catch_up(&mut self) {
        for (stream, request) in &mut self.watches {
            for expected in self.model.watch(request).unwrap() {
                assert_eq!(stream.next().await.unwrap().unwrap(), expected);
                request.after = expected.revision;
            }
            request.after = request.after.max(self.model.revision());
        }
        while self.watches.iter_mut().any(|(stream, _)| stream.next().now_or_never().is_some())
            || self.store().stats().await.unwrap().watches_behind > 0
        {
            tokio::task::yield_now().await;
        }
    }

    /// Every state that is not compacted can be read.
    async fn check_all(&mut self) {
        self.catch_up().await;
        for revision in 0..=self.model.revision().0 {
            let request = RangeRequest::all().at(Revision(revision));
            let expected = self.model.range(&request);
            same(self.store().range(request).await, expected);
        }
        assert!(self.dir.path().exists());
    }
}

fn same<T: PartialEq + std::fmt::Debug>(got: Result<T>, expected: Result<T>) {
    match (got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected),
        (Err(got), Err(expected)) => assert_eq!(format!("{got:?}"), format!("{expected:?}")),
        (got, expected) => panic!("got {got:?}, expected {expected:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(
        commands in vec(command(), 1..120),
        window in select(vec![0, 10_000, 4 << 20]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut pair = Pair::new(window).await;
            for command in commands {
                pair.run(command).await;
            }
            pair.check_all().await;
        });
    }
}
