//! How a store is set up.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration, time::SystemTime};

/// How a [`SqliteStore`](super::SqliteStore) is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file; made when it is not there, in a directory that is. Beside it stand its log
    /// (`-wal`, `-shm`) and its lock (`.lock`).
    pub path: PathBuf,
    /// How much of the past is kept.
    pub history: History,
    /// Most connections that read at the same time; they are opened when needed.
    pub readers: usize,
    /// Most bytes of recent changes held in memory for watches that keep up; older ones are read
    /// from the file.
    pub window_bytes: usize,
    /// Bytes the file may grow to; commits past it fail with [`Error::Full`](crate::Error::Full).
    /// `None`: the disk is the limit.
    pub max_bytes: Option<u64>,
    /// Pages (4 KiB) of the write-ahead log after which it is merged into the file.
    pub checkpoint_pages: u32,
    /// What tells the time, for the age of history.
    pub clock: Clock,
    /// The machine's present boot (`/proc/sys/kernel/random/boot_id`). When the store was last open
    /// in another one, deferred commits may be lost, and their revisions must not come again with
    /// another content: many are left out. `None`: there are no deferred commits to lose.
    pub boot: Option<String>,
}

impl Config {
    /// A store at `path` with the usual settings.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            history: History::default(),
            readers: 4,
            window_bytes: 4 << 20,
            max_bytes: None,
            checkpoint_pages: 1000,
            clock: Clock::default(),
            boot: None,
        }
    }
}

/// How much of the past is kept: what is beyond any one of the three bounds is compacted, as
/// commits go by. The bounds are kept to about an eighth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// No longer than this.
    pub keep_for: Duration,
    /// No more revisions than this.
    pub keep_revisions: u64,
    /// No more bytes of keys and values than this.
    pub keep_bytes: u64,
}

impl Default for History {
    /// Ten minutes (twice what the Kubernetes API server keeps of its etcd), 100,000 revisions,
    /// 256 MiB.
    fn default() -> Self {
        Self { keep_for: Duration::from_secs(600), keep_revisions: 100_000, keep_bytes: 256 << 20 }
    }
}

/// What tells the time: the system's clock, or one that a test owns.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// A clock that shows what `now` returns.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Seconds since 1970; 0 before that.
    pub(super) fn seconds(&self) -> i64 {
        let since = (self.0)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
