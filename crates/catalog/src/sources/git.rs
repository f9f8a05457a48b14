//! A branch of a git repository: its last commit alone, by the smart HTTP protocol. No program is run
//! and no setting of this machine is read.
//!
//! Without keys, who can write to the repository, or stand in its place without TLS, decides what is
//! installed from it. With keys, one of them must have signed the commit (decision 148).

use std::num::NonZeroU32;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gix::protocol::transport::client::blocking_io::http;
use gix::remote::Direction;
use gix::remote::fetch::{Shallow, Tags};
use model::{Error, Result};

use crate::signers::Signers;
use crate::tree::{MAX_FILE, Tree};

/// Longest time for all of it.
const TIME: Duration = Duration::from_secs(120);
/// Longest time in which nothing comes.
const SILENCE: Duration = Duration::from_secs(30);
/// Most bytes of a fetched repository on the disk.
const MAX_DISK: u64 = 512 << 20;
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Where the branch is written.
const HERE: &str = "refs/remotes/origin/catalog";

/// Reads the files of a branch, and says of which commit they are. What comes over the network is put
/// into `scratch`, a directory that is not there yet, and removed again. Blocks.
///
/// # Errors
/// `Unavailable` for a repository that cannot be reached, or not in time; `NotFound` for a branch that is
/// not there; `Forbidden` for a commit that none of these signed; those of [`Tree::add`].
pub fn read(
    url: &str,
    branch: Option<&str>,
    signers: Option<Signers>,
    scratch: &Path,
) -> Result<(Tree, String)> {
    let stop = Arc::new(AtomicBool::new(false));
    let (done, outcome) = mpsc::channel();
    let work = {
        let (url, branch) = (url.to_owned(), branch.map(str::to_owned));
        let (scratch, stop) = (scratch.to_owned(), stop.clone());
        move || {
            let read = fetch(&url, branch.as_deref(), signers.as_ref(), &scratch, &stop);
            // What cannot be removed now is before the next fetch.
            let _ = std::fs::remove_dir_all(&scratch);
            // Whoever waited has given up.
            let _ = done.send(read);
        }
    };
    // A thread of its own: one that waits for a silent server is left behind, and ends with it.
    let thread = std::thread::Builder::new().name("git".into()).spawn(work);
    thread.map_err(|error| {
        Error::exhausted("no thread for a repository can be started").caused_by(error)
    })?;
    let end = Instant::now() + TIME;
    let (mut seen, mut silent_from) = (0, Instant::now());
    loop {
        match outcome.recv_timeout(LOOK) {
            Ok(outcome) => return outcome,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Error::internal(format!("reading {url} failed")));
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() > end {
            stop.store(true, Ordering::Relaxed);
            return Err(Error::unavailable(format!(
                "{url} did not give its files within {} s",
                TIME.as_secs()
            ))
            .next("try again, or download an archive of it and add that"));
        }
        let size = size(scratch);
        if size != seen {
            (seen, silent_from) = (size, Instant::now());
        }
        if silent_from.elapsed() > SILENCE {
            stop.store(true, Ordering::Relaxed);
            return Err(Error::unavailable(format!(
                "{url} gave nothing for {} s",
                SILENCE.as_secs()
            ))
            .next("try again, or download an archive of it and add that"));
        }
        if size > MAX_DISK {
            stop.store(true, Ordering::Relaxed);
            return Err(Error::exhausted(format!("{url} has more than {} MB", MAX_DISK >> 20)));
        }
    }
}

/// The bytes of all files below a directory.
fn size(dir: &Path) -> u64 {
    let mut sum = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => open.push(entry.path()),
                Ok(about) => sum += about.len(),
                Err(_) => {}
            }
        }
    }
    sum
}

fn fetch(
    url: &str,
    branch: Option<&str>,
    signers: Option<&Signers>,
    scratch: &Path,
    stop: &AtomicBool,
) -> Result<(Tree, String)> {
    let failed = |what: &str, error: String| {
        let text = format!("{url} {what}");
        Error::unavailable(text).caused_by(std::io::Error::other(error))
    };
    let unreachable = |error: String| match branch {
        Some(branch) => failed(&format!("has no branch {branch}, or cannot be fetched"), error),
        None => failed("cannot be fetched", error),
    };
    let from = branch.map_or("HEAD".to_owned(), |branch| format!("refs/heads/{branch}"));
    // One may be installed already; a client without any panics.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let repository = gix::ThreadSafeRepository::init_opts(
        scratch,
        gix::create::Kind::Bare,
        gix::create::Options::default(),
        gix::open::Options::isolated(),
    );
    let repository = repository.map_err(|error| unreachable(error.to_string()))?.to_thread_local();
    let remote = repository.remote_at(url).map_err(|error| unreachable(error.to_string()))?;
    let wanted = format!("+{from}:{HERE}");
    let remote = remote
        .with_refspecs([wanted.as_str()], Direction::Fetch)
        .map_err(|error| unreachable(error.to_string()))?
        .with_fetch_tags(Tags::None);
    let connection =
        remote.connect(Direction::Fetch).map_err(|error| unreachable(chain(&error)))?;
    let connection = connection.with_transport_options(Box::new(options()));
    let prepared = connection
        .prepare_fetch(gix::progress::Discard, gix::remote::ref_map::Options::default())
        .map_err(|error| unreachable(chain(&error)))?;
    prepared
        .with_shallow(Shallow::DepthAtRemote(NonZeroU32::MIN))
        .receive(gix::progress::Discard, stop)
        .map_err(|error| unreachable(chain(&error)))?;
    let mut tip = repository.find_reference(HERE).map_err(|error| {
        Error::not_found(format!("{url} has no branch {}", branch.unwrap_or("of its own choice")))
            .caused_by(std::io::Error::other(error.to_string()))
    })?;
    let commit = tip.peel_to_id().map_err(|error| unreachable(error.to_string()))?;
    let commit = repository.find_commit(commit).map_err(|error| unreachable(error.to_string()))?;
    signers.map_or(Ok(()), |signers| signed(&commit, signers, url))?;
    let tree = commit.tree().map_err(|error| unreachable(error.to_string()))?;
    Ok((files(&repository, &tree, url)?, commit.id.to_string()))
}

/// That one of these signed a commit, as it was read.
fn signed(commit: &gix::Commit<'_>, signers: &Signers, url: &str) -> Result<()> {
    let refused = |why: &str| {
        Error::forbidden(format!("commit {} {why}, in {url}", commit.id.to_hex_with_len(12))).next(
            "have it signed by one of the catalog's keys (git commit -S with gpg.format=ssh), or add \
             the catalog with the key of who signs",
        )
    };
    let found = commit.signature().map_err(|error| {
        refused("cannot be read").caused_by(std::io::Error::other(error.to_string()))
    })?;
    let (signature, rest) = found.ok_or_else(|| refused("is not signed"))?;
    signers
        .check(&String::from_utf8_lossy(&signature), &rest.to_bstring())
        .map_err(|fault| refused(&fault.to_string()))
}

/// How the other side is asked: no request outlives who waits for it.
fn options() -> http::Options {
    let bounded = http::reqwest::Options {
        configure_request: Some(Box::new(|request| {
            *request.timeout_mut() = Some(TIME);
            Ok(())
        })),
        ..http::reqwest::Options::default()
    };
    http::Options { backend: Some(Arc::new(Mutex::new(bounded))), ..http::Options::default() }
}

/// The files of a commit.
fn files(repository: &gix::Repository, of: &gix::Tree<'_>, url: &str) -> Result<Tree> {
    let broken = |error: String| {
        Error::unavailable(format!("{url} gave files that cannot be read"))
            .caused_by(std::io::Error::other(error))
    };
    let entries = of.traverse().breadthfirst.files().map_err(|error| broken(error.to_string()))?;
    let mut tree = Tree::default();
    for entry in entries.into_iter().filter(|entry| entry.mode.is_blob_or_symlink()) {
        let path = entry.filepath.to_string();
        let header =
            repository.find_header(entry.oid).map_err(|error| broken(error.to_string()))?;
        if header.size() > MAX_FILE {
            tree.leave_out(&path);
            continue;
        }
        let object =
            repository.find_object(entry.oid).map_err(|error| broken(error.to_string()))?;
        let data = object.detach().data;
        if entry.mode.is_link() {
            tree.add_link(&path, &String::from_utf8_lossy(&data))?;
            continue;
        }
        tree.add(&path, data)?;
        if entry.mode.is_executable() {
            tree.mark_program(&path);
        }
    }
    Ok(tree)
}

/// An error with all that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
