//! Processes that are killed while they commit.
//!
//! A child process commits with several tasks at once and tells each acknowledgement over a pipe;
//! the parent kills it with SIGKILL somewhere, and looks at what is left: everything acknowledged
//! is there, nothing is there by halves, and no revision goes back.
//!
//! `HULL_CRASH_ROUNDS` sets how many processes are killed (default 150), `HULL_CRASH_SEED` repeats
//! a run's choices.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use store::{
    Commit, Error, Event, Expect, RangeRequest, Record, Revision, Store, WatchRequest,
    sqlite::{Config, History, SqliteStore},
};

/// Committers in the child.
const TASKS: usize = 4;

/// Log records each of them keeps.
const LOGGED: u64 = 30;

/// Set for the child: where its store is.
const STORE: &str = "HULL_CRASH_STORE";

/// Set for the child: how often the log is merged.
const CHECKPOINT: &str = "HULL_CRASH_CHECKPOINT";

fn config(path: PathBuf, checkpoint_pages: u32) -> Config {
    let history = History { keep_revisions: 200, ..History::default() };
    Config { history, checkpoint_pages, window_bytes: 64 << 10, ..Config::new(path) }
}

/// The value of the `n`th commit of a task: known to both sides, of all sizes up to three pages.
fn payload(task: usize, n: u64) -> Bytes {
    let size = (n * 7919 + task as u64 * 104_729) % 12_000;
    let byte = |i: u64| ((i * 31 + n * 17 + task as u64) % 256) as u8;
    (0..size).map(byte).collect::<Vec<u8>>().into()
}

/// The `n`th commit of a task: a counter, two values, a log record in, an old one out.
fn commit(task: usize, n: u64, head: Expect) -> Commit {
    let value = payload(task, n);
    let commit = Commit::new()
        .expect(head)
        .put(format!("head/{task}"), n.to_string())
        .put(format!("a/{task}"), value.clone())
        .put(format!("b/{task}"), value.clone())
        .put(format!("log/{task}/{n:09}"), value);
    // The death of the process takes no deferred commit along.
    let commit = if n.is_multiple_of(3) { commit.deferred() } else { commit };
    match n.checked_sub(LOGGED).filter(|old| *old > 0) {
        Some(old) => commit.delete(format!("log/{task}/{old:09}")),
        None => commit,
    }
}

// ---- the child ----

#[test]
#[ignore = "the process that is killed; the other tests start it"]
fn the_process_that_is_killed() {
    let (Some(path), Ok(pages)) = (env::var_os(STORE), env::var(CHECKPOINT)) else { return };
    let config = config(path.into(), pages.parse().unwrap());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Arc::new(SqliteStore::open(config).await.unwrap());
        say(&format!("open {}", store.current().await.unwrap()));
        let tasks = (0..TASKS).map(|task| tokio::spawn(commit_for_ever(store.clone(), task)));
        futures::future::join_all(tasks).await.into_iter().for_each(|task| task.unwrap());
    });
}

async fn commit_for_ever(store: Arc<SqliteStore>, task: usize) {
    let key = format!("head/{task}");
    let (mut n, mut expect) = match store.get(&key).await.unwrap() {
        Some(head) => (number(&head), Expect::modified_at(&key, head.modified)),
        None => (0, Expect::absent(&key)),
    };
    loop {
        n += 1;
        let revision = store.commit(commit(task, n, expect)).await.unwrap();
        say(&format!("ack {task} {n} {revision}"));
        expect = Expect::modified_at(&key, revision);
        if n % 5 == 0 {
            let refused = Commit::new().expect(Expect::absent(&key)).put("never", "v");
            let refused = store.commit(refused.put(format!("a/{task}"), "v")).await;
            assert!(matches!(refused, Err(Error::Conflict { .. })));
        }
    }
}

fn say(line: &str) {
    // In one write, so that a line is there or not.
    std::io::stdout().lock().write_all(format!("\n@{line}\n").as_bytes()).unwrap();
}

fn number(record: &Record) -> u64 {
    std::str::from_utf8(&record.value).unwrap().parse().unwrap()
}

// ---- the parent ----

/// What the children have told.
#[derive(Clone, Debug, Default)]
struct Told {
    /// The last number acknowledged to each task.
    last: [u64; TASKS],
    /// The revisions of acknowledged commits, by task and number.
    revisions: BTreeMap<(usize, u64), Revision>,
    /// The newest revision heard of.
    newest: Revision,
    acknowledged: usize,
}

impl Told {
    fn hear(&mut self, line: &str) {
        let Some(line) = line.strip_prefix('@') else { return };
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["open", revision] => {
                let revision = Revision(revision.parse().unwrap());
                assert!(revision >= self.newest, "opened at {revision}, was at {}", self.newest);
                self.newest = revision;
            }
            ["ack", task, n, revision] => {
                let (task, n): (usize, u64) = (task.parse().unwrap(), n.parse().unwrap());
                let revision = Revision(revision.parse().unwrap());
                assert!(n > self.last[task]);
                self.last[task] = n;
                self.revisions.insert((task, n), revision);
                self.newest = self.newest.max(revision);
                self.acknowledged += 1;
            }
            _ => panic!("the child said {line:?}"),
        }
    }

    /// Also what was not told is there, once it was seen.
    fn see(&mut self, heads: [u64; TASKS], revision: Revision) {
        self.last = heads;
        self.newest = revision;
        let kept = |task: usize, n: u64| n + LOGGED > heads[task];
        self.revisions.retain(|(task, n), _| kept(*task, *n));
    }
}

struct Victim {
    child: Child,
    lines: Receiver<String>,
}

impl Victim {
    fn start(path: &Path, checkpoint_pages: u32) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "the_process_that_is_killed"])
            .env(STORE, path)
            .env(CHECKPOINT, checkpoint_pages.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Self { child, lines }
    }

    /// Listens until `lines` lines have come, or until `limit` is over.
    fn listen(&self, told: &mut Told, lines: usize, limit: Duration) {
        let end = std::time::Instant::now() + limit;
        for _ in 0..lines {
            let left = end.saturating_duration_since(std::time::Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => told.hear(&line),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => panic!("the child ended by itself"),
            }
        }
    }

    /// Kills the child, and hears what it said to the end.
    fn kill(mut self, told: &mut Told) {
        self.child.kill().unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9), "{status}");
        self.lines.iter().for_each(|line| told.hear(&line));
    }
}

/// Kills the child anywhere: while it opens the store, or after some commits.
fn kill_somewhere(random: &mut StdRng, path: &Path, told: &mut Told) {
    let victim = Victim::start(path, *pick(random, &[1, 5, 50, 1000]));
    if random.random_ratio(1, 4) {
        let limit = Duration::from_micros(random.random_range(0..30_000));
        victim.listen(told, usize::MAX, limit);
    } else {
        // Half of the lines are empty.
        let lines = random.random_range(8..100);
        victim.listen(told, lines, Duration::from_secs(60));
        let limit = Duration::from_micros(random.random_range(0..2_000));
        victim.listen(told, usize::MAX, limit);
    }
    victim.kill(told);
}

fn pick<'a, T>(random: &mut StdRng, from: &'a [T]) -> &'a T {
    &from[random.random_range(0..from.len())]
}

/// All records by key.
async fn records(store: &SqliteStore, at: Revision) -> BTreeMap<String, Record> {
    let reply = store.range(RangeRequest::all().at(at)).await.unwrap();
    reply.records.into_iter().map(|record| (record.key.clone(), record)).collect()
}

/// Checks that a store holds whole commits only, each task's first ones without a gap. Returns how
/// many of each task.
async fn check_whole(store: &SqliteStore) -> [u64; TASKS] {
    let records = records(store, store.current().await.unwrap()).await;
    let mut expected = 0;
    let heads = std::array::from_fn(|task| {
        let Some(head) = records.get(&format!("head/{task}")) else { return 0 };
        let n = number(head);
        assert_eq!(head.version, n);
        let same = |key: String, n: u64| {
            let record = records.get(&key).unwrap_or_else(|| panic!("{key} is missing at {n}"));
            assert!(record.value == payload(task, n), "{key} is not that of commit {n}");
            record.modified
        };
        for key in ["a", "b"] {
            assert_eq!(same(format!("{key}/{task}"), n), head.modified);
        }
        let logged = n.saturating_sub(LOGGED) + 1..=n;
        expected += 3 + logged.clone().count();
        let revisions: Vec<Revision> =
            logged.map(|n| same(format!("log/{task}/{n:09}"), n)).collect();
        assert!(revisions.is_sorted_by(|a, b| a < b));
        assert_eq!(revisions.last(), Some(&head.modified));
        n
    });
    assert_eq!(records.len(), expected, "records that nobody committed");
    check_history(store, heads).await;
    heads
}

/// Checks that what a watch replays are whole commits, and that they lead to `heads`.
async fn check_history(store: &SqliteStore, heads: [u64; TASKS]) {
    let stats = store.stats().await.unwrap();
    let mut seen = stats.oldest;
    let mut changes = store.watch(WatchRequest::prefix("", seen)).await.unwrap();
    let mut counted: [Option<u64>; TASKS] = [None; TASKS];
    while seen < stats.revision {
        let batch = changes.next().await.unwrap().unwrap();
        assert_eq!(batch.revision, seen.next(), "a revision is missing");
        seen = batch.revision;
        let Event::Put { record: head, .. } = &batch.events[0] else { panic!("no head") };
        let (n, task) = (number(head), head.key[5..].parse::<usize>().unwrap());
        let old = usize::from(n > LOGGED);
        assert_eq!(batch.events.len(), 4 + old, "half a commit in {batch:?}");
        assert!(counted[task].is_none_or(|before| before + 1 == n));
        counted[task] = Some(n);
    }
    for (task, counted) in counted.into_iter().enumerate() {
        assert!(counted.is_none_or(|n| n == heads[task]));
    }
}

/// Checks that everything told is there, and at most one more of each task.
async fn check_told(store: &SqliteStore, told: &Told) -> [u64; TASKS] {
    let heads = check_whole(store).await;
    let current = store.current().await.unwrap();
    assert!(current >= told.newest, "at {current}, was at {}", told.newest);
    for (task, head) in heads.into_iter().enumerate() {
        let last = told.last[task];
        assert!((last..=last + 1).contains(&head), "task {task}: {head} there, {last} told");
    }
    let records = records(store, current).await;
    for ((task, n), revision) in &told.revisions {
        if n + LOGGED > heads[*task] {
            assert_eq!(records[&format!("log/{task}/{n:09}")].modified, *revision);
        }
    }
    heads
}

/// Copies the store, without the index of its log, which a reader makes anew.
fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
    let log = |path: &Path| PathBuf::from(format!("{}-wal", path.display()));
    match fs::copy(log(from), log(to)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        other => drop(other.unwrap()),
    }
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn random() -> (StdRng, u64) {
    let seed = setting("HULL_CRASH_SEED").unwrap_or_else(rand::random);
    (StdRng::seed_from_u64(seed), seed)
}

#[tokio::test]
async fn what_was_acknowledged_outlives_kills() {
    let rounds = setting("HULL_CRASH_ROUNDS").unwrap_or(150);
    let (mut random, seed) = random();
    println!("HULL_CRASH_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let mut told = Told { newest: Revision::FIRST, ..Told::default() };
    for round in 0..rounds {
        kill_somewhere(&mut random, &path, &mut told);
        if !path.exists() {
            assert_eq!(told.acknowledged, 0);
            continue;
        }
        // A look at a copy leaves the log to the next child, which then begins with a recovery.
        let look = tempfile::tempdir().unwrap();
        let at = if random.random_bool(0.5) {
            let at = look.path().join("state.db");
            copy(&path, &at);
            at
        } else {
            path.clone()
        };
        let store = SqliteStore::open(config(at, 1000)).await.unwrap();
        let heads = check_told(&store, &told).await;
        told.see(heads, store.current().await.unwrap());
        store.close().await;
        if round % 500 == 499 {
            println!("{} kills, {} commits acknowledged", round + 1, told.acknowledged);
        }
    }
    println!("{rounds} kills, {} commits acknowledged", told.acknowledged);
    assert!(told.acknowledged as u64 > rounds, "the children hardly ran");
}

/// Bytes at the beginning of the log that were synced for sure: what a checkpoint has begun to copy
/// into the file. After the last of it is copied the log is begun anew, in its index first; until
/// its own header follows, all that stands in it is of before and was synced.
/// (WalIndexHdr.aSalt, WalCkptInfo.nBackfillAttempted: <https://sqlite.org/walformat.html> 2.)
fn synced_log(path: &Path) -> u64 {
    let index = fs::read(format!("{}-shm", path.display())).unwrap();
    let log = fs::read(format!("{}-wal", path.display())).unwrap();
    if log.get(16..24) != Some(&index[32..40]) {
        return log.len() as u64;
    }
    let frames = u32::from_ne_bytes(index[128..132].try_into().unwrap());
    if frames == 0 { 0 } else { 32 + u64::from(frames) * (24 + 4096) }
}

/// What a power cut can do to a log that was not synced: the end is missing, or was never written.
fn damage_log(random: &mut StdRng, log: &Path, synced: u64) {
    let file = fs::File::options().write(true).open(log).unwrap();
    let size = file.metadata().unwrap().len();
    let from = random.random_range(synced.min(size)..=size);
    match random.random_range(0..3) {
        0 => file.set_len(from).unwrap(),
        1 => file.write_all_at(&vec![0; usize::try_from(size - from).unwrap()], from).unwrap(),
        _ => {
            // One sector.
            let mut garbage = [0; 512];
            random.fill(&mut garbage);
            file.write_all_at(&garbage, from).unwrap();
        }
    }
}

#[tokio::test]
async fn a_log_cut_anywhere_gives_an_earlier_whole_state() {
    let (mut random, seed) = random();
    println!("HULL_CRASH_SEED={seed}");
    let rounds = setting("HULL_CRASH_ROUNDS").unwrap_or(150) / 10;
    let mut earlier = 0;
    for _ in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut told = Told { newest: Revision::FIRST, ..Told::default() };
        let victim = Victim::start(&path, *pick(&mut random, &[20, 200, 1000]));
        victim.listen(&mut told, random.random_range(50..400), Duration::from_secs(60));
        victim.kill(&mut told);
        let synced = synced_log(&path);
        let cuts: Vec<PathBuf> = (0..10).map(|cut| dir.path().join(format!("cut{cut}"))).collect();
        for cut in &cuts {
            copy(&path, cut);
            damage_log(&mut random, &PathBuf::from(format!("{}-wal", cut.display())), synced);
        }
        let whole = SqliteStore::open(config(path, 1000)).await.unwrap();
        let oldest = whole.stats().await.unwrap().oldest;
        check_told(&whole, &told).await;
        for cut in cuts {
            let store = SqliteStore::open(config(cut, 1000)).await.unwrap();
            check_whole(&store).await;
            let at = store.current().await.unwrap();
            let now = whole.current().await.unwrap();
            assert!(at <= now);
            earlier += usize::from(at < now);
            if at >= oldest {
                assert_eq!(records(&store, at).await, records(&whole, at).await);
            }
        }
    }
    assert!(earlier as u64 > rounds, "the cuts hardly cut anything");
}
