//! Containers held still for a moment, and let go again whatever happens.
//!
//! What is frozen stays so until somebody thaws it, also when whoever froze it has died. So a process of its
//! own does it (`hull hold`): it freezes the cgroups, and thaws them when it is told, when whoever told it is
//! gone (its standard input ends), or when the time is over. The engine takes no part, so nobody takes the
//! containers for paused; but no process may begin in them meanwhile ([`crate::Engine::none_begins`]). What even that does not cover (both killed at once) is resumed when the node's
//! containers are taken over again.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::engine::ContainerId;
use crate::host::CGROUPS;

/// The word that makes `hull` hold containers.
pub const MODE: &str = "hold";

/// What the process is told when the work was done.
const DONE: &[u8] = b"d";
/// What it tells: all are still.
const HELD: &str = "held";
/// They were still all the time.
const KEPT: &str = "kept";
/// They were not, or not all.
const LOST: &str = "lost";
/// Longest wait until all are still: a process in the middle of a system call is not before its end.
const SETTLING: Duration = Duration::from_secs(1);
/// Longest wait for a word of the process, beside what it waits for itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// The file of a cgroup of the first version's freezer.
const STATE: &str = "freezer.state";
/// How often it is looked whether all are still.
const LOOK: Duration = Duration::from_millis(1);

/// The cgroup of a container that can be held still: it is there, and frozen by nobody else.
#[must_use]
pub fn cgroup(parent: &str, id: &ContainerId) -> Option<PathBuf> {
    let below = Path::new(parent.trim_start_matches('/')).join(id.as_str());
    let found = |root: &str, file: &str, thawed: &str| {
        let path = Path::new(root).join(&below);
        (read(&path, file).as_deref() == Some(thawed)).then_some(path)
    };
    let first = format!("{CGROUPS}/freezer");
    found(CGROUPS, "cgroup.freeze", "0").or_else(|| found(&first, STATE, "THAWED"))
}

/// Containers that are held still. Dropped, they are let go.
#[derive(Debug)]
pub struct Hold {
    cgroups: Vec<PathBuf>,
    child: Child,
    told: BufReader<ChildStdout>,
}

impl Hold {
    /// Holds what is in these cgroups still, for `limit` at most. None when not all of it came to rest.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub async fn begin(
        program: &Path,
        cgroups: Vec<PathBuf>,
        limit: Duration,
    ) -> std::io::Result<Option<Self>> {
        let mut child = Command::new(program)
            .arg(MODE)
            .arg(limit.as_millis().to_string())
            .args(&cgroups)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let told = child.stdout.take().ok_or_else(|| std::io::Error::other("no output"))?;
        let mut hold = Self { cgroups, child, told: BufReader::new(told) };
        let began = hold.word().await.as_deref() == Some(HELD);
        if !began {
            hold.let_go();
        }
        Ok(began.then_some(hold))
    }

    /// Lets go. Whether all were still from the beginning until now.
    pub async fn end(mut self) -> bool {
        let told = match self.child.stdin.as_mut() {
            Some(input) => input.write_all(DONE).await.is_ok(),
            None => false,
        };
        let word = self.word().await;
        if word.is_none() {
            // It is gone, and did not say that it thawed them.
            self.let_go();
        }
        told && word.as_deref() == Some(KEPT)
    }

    async fn word(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(PATIENCE, self.told.read_line(&mut line)).await;
        matches!(read, Ok(Ok(1..))).then(|| line.trim().to_owned())
    }

    fn let_go(&self) {
        self.cgroups.iter().for_each(|path| set(path, false));
    }
}

/// The process that holds: `hull hold MILLISECONDS CGROUP...`.
#[must_use]
pub fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(2);
    let limit = words.next().and_then(|word| word.to_str()?.parse().ok());
    let Some(limit) = limit.map(Duration::from_millis) else { return ExitCode::FAILURE };
    let cgroups: Vec<PathBuf> = words.map(PathBuf::from).collect();
    // What ends those beside us must not end us while they are frozen.
    let _ = rustix::process::setsid();
    cgroups.iter().for_each(|path| set(path, true));
    let kept = all_still(&cgroups) && say(HELD) && told_in_time(limit);
    // One that somebody thawed meanwhile went on.
    let kept = kept && cgroups.iter().all(|path| is_still(path));
    cgroups.iter().for_each(|path| set(path, false));
    say(if kept { KEPT } else { LOST });
    ExitCode::SUCCESS
}

/// Waits until all are still.
fn all_still(cgroups: &[PathBuf]) -> bool {
    let end = Instant::now() + SETTLING;
    while !cgroups.iter().all(|path| is_still(path)) {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// Waits for the word that the work was done.
fn told_in_time(limit: Duration) -> bool {
    let input = std::io::stdin();
    let limit = Timespec::try_from(limit).ok();
    let mut wait = [PollFd::new(&input, PollFlags::IN)];
    let told = matches!(poll(&mut wait, limit.as_ref()), Ok(1..));
    let mut word = [0];
    told && input.lock().read(&mut word).is_ok_and(|read| read == 1 && word == DONE)
}

fn say(word: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}").and_then(|()| out.flush()).is_ok()
}

/// A container that is gone is as still as can be.
fn is_still(cgroup: &Path) -> bool {
    match (read(cgroup, STATE), read(cgroup, "cgroup.events")) {
        (Some(state), _) => state == "FROZEN",
        (None, Some(events)) => events.lines().any(|line| line == "frozen 1"),
        (None, None) => !cgroup.exists(),
    }
}

fn set(cgroup: &Path, frozen: bool) {
    let first = cgroup.join(STATE);
    // One that is gone needs nothing.
    let _ = match (first.exists(), frozen) {
        (true, true) => std::fs::write(first, "FROZEN"),
        (true, false) => std::fs::write(first, "THAWED"),
        (false, true) => std::fs::write(cgroup.join("cgroup.freeze"), "1"),
        (false, false) => std::fs::write(cgroup.join("cgroup.freeze"), "0"),
    };
}

fn read(cgroup: &Path, file: &str) -> Option<String> {
    let text = std::fs::read_to_string(cgroup.join(file)).ok()?;
    Some(text.trim().to_owned())
}
