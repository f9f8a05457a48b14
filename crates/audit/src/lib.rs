//! The audit log: who asked for what, from where, and what they were answered.
//!
//! One line of JSON for each request that changes something, enters an instance or carries out what is in one or in an
//! image ([`is_written`]), each sign-in, and each request that was refused at the door, whichever door it was. Lines are
//! appended to a file of root's and never changed. A daemon that is killed loses none; a machine that loses power may lose the last seconds'. When the file is full
//! another is begun, and the oldest goes when there are too many.
//!
//! Queries and bodies are not in it: they may hold secrets. What was refused has files of its own, so that whoever
//! knocks all the time cannot push out what was done.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::error::Context;
use model::{Error, ErrorKind, Result, Time};
use serde::{Deserialize, Serialize};

/// A file is full at this size, bytes.
const FULL: u64 = 8 << 20;
/// Longest path that is kept, bytes.
const LONGEST_PATH: usize = 512;
/// Files kept, the one that is written among them.
const KEPT: usize = 16;
/// What the names of files begin with that hold what was done, and what was refused. Full ones
/// have the time of their last line behind it.
const SERIES: [&str; 2] = ["audit", "refused"];

/// A request, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditEntry)]
pub struct Entry {
    /// When it was answered. No two have the same time, so it also tells entries apart.
    pub time: Time,
    /// The token, user of the platform, user of the machine or certificate that asked; empty when nobody known did.
    pub by: String,
    /// The user whose token it was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// From where: an address, or a user of the machine.
    pub from: String,
    /// Through which door: `api` or `docker`.
    pub door: String,
    /// The request's method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// The status of the answer (RFC 9110, section 15); 0 when the client left before it.
    pub status: u16,
    /// Why it was refused at the door.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Ends of routes, at either door, that are asked for as reads are, and enter an instance or carry out what is in it,
/// in an app's files or in an image.
const ENTERING: [&str; 10] = [
    "/archive",
    "/attach",
    "/attach/ws",
    "/console/screenshot",
    "/console/vnc",
    "/exec",
    "/export",
    "/files",
    "/get",
    "/images/save",
];
/// Ends of routes that change nothing, though they are posted to.
const WAITING: [&str; 2] = ["/settle", "/wait"];

/// Whether a request of somebody known is written, at either door. The route is the path with names of parameters in
/// the place of their values, lest an object's name be taken for a verb.
pub fn is_written(method: &str, route: &str) -> bool {
    let ends = |ends: &[&str]| ends.iter().any(|end| route.ends_with(end));
    match method {
        "GET" | "HEAD" => ends(&ENTERING),
        "POST" => !ends(&WAITING),
        _ => true,
    }
}

/// A request that is being answered: it is written when this is dropped, also where its client leaves before that.
#[derive(Debug)]
pub struct Request {
    log: Arc<Log>,
    /// What is known of it. Its status is 0 until it has an answer.
    pub entry: Entry,
}

impl Request {
    /// One that came to a door just now.
    pub fn new(log: &Arc<Log>, door: &str, from: String, method: &str, path: &str) -> Self {
        let entry = Entry {
            time: Time::now(),
            by: String::new(),
            user: String::new(),
            from,
            door: door.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            status: 0,
            reason: String::new(),
        };
        Self { log: log.clone(), entry }
    }

    /// Says why it is refused at the door.
    pub fn refuse(mut self, status: u16, reason: &str) {
        self.entry.status = status;
        reason.clone_into(&mut self.entry.reason);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.entry.time = Time::now();
        let Entry { by: caller, from, method, path, status, reason, .. } = &self.entry;
        match reason.is_empty() {
            true => tracing::info!(target: "audit", caller, from, method, path, status, "write"),
            false => tracing::info!(target: "audit", caller, from, reason, "refused"),
        }
        self.log.write(self.entry.clone());
    }
}

/// Which entries are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Nothing older.
    pub since: Option<Time>,
    /// Only what is older than this: the time of the last entry of a page asks for the next one.
    pub before: Option<Time>,
    /// Of this token or user.
    pub by: String,
    /// Whose path has this in it.
    pub path: String,
    /// Only what was refused or failed: statuses from 400 on.
    pub failed: bool,
    /// At most so many, the newest.
    pub limit: usize,
}

impl Filter {
    fn wants(&self, entry: &Entry) -> bool {
        self.since.is_none_or(|since| entry.time >= since)
            && self.before.is_none_or(|before| entry.time < before)
            && (self.by.is_empty() || entry.by == self.by || entry.user == self.by)
            && entry.path.contains(&self.path)
            && (!self.failed || entry.status >= 400)
    }
}

/// The log of this node.
#[derive(Debug)]
pub struct Log {
    known: Series,
    unknown: Series,
}

impl Log {
    /// Opens the log in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(directory: &Path) -> Result<Self> {
        let open = |name| Series::open(directory, name);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        let [known, unknown] = made
            .and_then(|()| Ok([open(SERIES[0])?, open(SERIES[1])?]))
            .context(ErrorKind::Unavailable, || {
                format!("the audit log in {} cannot be opened", directory.display())
            })?;
        Ok(Self { known, unknown })
    }

    /// Adds what somebody known asked for; what they were refused stands where it cannot push out what was done. What cannot be written is told to the daemon's log, and nobody is kept
    /// from working by it.
    pub fn write(&self, entry: Entry) {
        match entry.status {
            400.. => self.unknown.write(entry),
            _ => self.known.write(entry),
        }
    }

    /// Entries, newest first. It reads files: not for a thread that others wait for.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(&self, filter: &Filter) -> Result<Vec<Entry>> {
        let mut found = self.known.read(filter)?;
        found.extend(self.unknown.read(filter)?);
        found.sort_by_key(|entry| std::cmp::Reverse(entry.time));
        found.truncate(filter.limit);
        Ok(found)
    }
}

/// Files that follow each other.
struct Series {
    directory: PathBuf,
    name: &'static str,
    writer: Mutex<Writer>,
}

struct Writer {
    file: File,
    size: u64,
    last: Time,
    /// The last line could not be written: said once, not for each.
    failing: bool,
}

impl Series {
    fn open(directory: &Path, name: &'static str) -> io::Result<Self> {
        let writer = Mutex::new(Writer::open(&current(directory, name))?);
        Ok(Self { directory: directory.to_owned(), name, writer })
    }

    fn write(&self, mut entry: Entry) {
        if entry.path.len() > LONGEST_PATH {
            let end = (0..=LONGEST_PATH).rev().find(|at| entry.path.is_char_boundary(*at));
            entry.path.truncate(end.unwrap_or_default());
            entry.path.push('…');
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.append(&mut writer, &mut entry);
        if let (Err(error), false) = (&outcome, writer.failing) {
            let directory = self.directory.display();
            tracing::error!(%error, %directory, "the audit log cannot be written");
        }
        writer.failing = outcome.is_err();
    }

    /// The entry's time is made later than that of the one before it.
    fn append(&self, writer: &mut Writer, entry: &mut Entry) -> io::Result<()> {
        if entry.time <= writer.last {
            let next = writer.last.0.checked_add(Duration::from_nanos(1));
            entry.time = next.map_or(writer.last, Time);
        }
        let mut line = serde_json::to_vec(entry)?;
        if writer.failing {
            // What could not be written whole is not the beginning of this one.
            line.insert(0, b'\n');
        }
        line.push(b'\n');
        if writer.size > 0 && writer.size + line.len() as u64 > FULL {
            self.turn(writer)?;
        }
        // One call: a line is there whole or not at all, whenever the daemon is killed.
        writer.file.write_all(&line)?;
        writer.size += line.len() as u64;
        writer.last = entry.time;
        Ok(())
    }

    /// Begins another file, and removes the oldest of too many.
    fn turn(&self, writer: &mut Writer) -> io::Result<()> {
        let last = writer.last;
        let full = format!("{}-{:020}.jsonl", self.name, last.0.as_nanosecond());
        let current = current(&self.directory, self.name);
        match std::fs::rename(&current, self.directory.join(full)) {
            // An earlier try got so far.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        *writer = Writer { last, ..Writer::open(&current)? };
        let files = self.full_files()?;
        for surplus in &files[..files.len().saturating_sub(KEPT - 1)] {
            std::fs::remove_file(surplus)?;
        }
        Ok(())
    }

    fn read(&self, filter: &Filter) -> Result<Vec<Entry>> {
        let failed = || format!("the audit log in {} cannot be read", self.directory.display());
        let mut files = self.full_files().context(ErrorKind::Unavailable, failed)?;
        files.push(current(&self.directory, self.name));
        let mut found = Vec::new();
        for path in files.iter().rev() {
            let entries = read_file(path).context(ErrorKind::Unavailable, failed)?;
            let first = entries.first().map(|entry| entry.time);
            let wanted = entries.into_iter().rev().filter(|entry| filter.wants(entry));
            found.extend(wanted.take(filter.limit.saturating_sub(found.len())));
            let all_older = filter.since.zip(first).is_some_and(|(since, first)| first < since);
            if found.len() >= filter.limit || all_older {
                break;
            }
        }
        Ok(found)
    }

    /// Files that are full, oldest first: their names sort by time.
    fn full_files(&self) -> io::Result<Vec<PathBuf>> {
        let begin = format!("{}-", self.name);
        let mut files = Vec::new();
        for file in std::fs::read_dir(&self.directory)? {
            let path = file?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with(&begin) && name.ends_with(".jsonl") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
}

impl std::fmt::Debug for Series {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Series").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Writer {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.append(true).create(true).mode(0o600).open(path)?;
        let mut size = file.metadata()?.len();
        // A line that a full disk cut short must not be the beginning of the next one.
        if size > 0 && !ends_with_newline(path, size)? {
            file.write_all(b"\n")?;
            size += 1;
        }
        let last = read_file(path)?.last().map_or(Time::from_unix(0, 0), |entry| entry.time);
        Ok(Self { file, size, last, failing: false })
    }
}

/// The file that is written.
fn current(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.jsonl"))
}

fn ends_with_newline(path: &Path, size: u64) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let mut last = [0];
    File::open(path)?.read_exact_at(&mut last, size - 1)?;
    Ok(last == *b"\n")
}

/// The entries of a file. A line that is none is passed over: one that a full disk cut short.
fn read_file(path: &Path) -> io::Result<Vec<Entry>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut entries = Vec::new();
    for line in BufReader::new(file).split(b'\n') {
        if let Ok(entry) = serde_json::from_slice(&line?) {
            entries.push(entry);
        }
    }
    Ok(entries)
}

/// A page asked for with a limit of none, or of too many.
///
/// # Errors
/// `Invalid` for more than can be read at once.
pub fn page(limit: Option<u32>) -> Result<usize> {
    const USUAL: u32 = 200;
    const MOST: u32 = 10_000;
    match limit.unwrap_or(USUAL) {
        limit if limit <= MOST => Ok(limit as usize),
        _ => Err(Error::invalid(format!("a page has at most {MOST} entries"))
            .at("limit")
            .next("ask for the next page with `before`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(second: i64, by: &str, path: &str, status: u16) -> Entry {
        Entry {
            time: Time::from_unix(second, 0),
            by: by.into(),
            user: String::new(),
            from: "127.0.0.1:1".into(),
            door: "api".into(),
            method: "POST".into(),
            path: path.into(),
            status,
            reason: String::new(),
        }
    }

    #[test]
    fn what_is_written_is_the_same_at_both_doors() {
        for (method, route, written) in [
            ("GET", "/v1/projects/{project}/instances/{name}/archive", true),
            ("GET", "/containers/{name}/archive", true),
            ("HEAD", "/v1/projects/{project}/instances/{name}/archive", true),
            ("HEAD", "/containers/{name}/archive", true),
            ("GET", "/v1/projects/{project}/instances/{name}/export", true),
            ("GET", "/containers/{name}/export", true),
            ("GET", "/v1/images/save", true),
            ("GET", "/images/get", true),
            ("GET", "/images/busybox/get", true),
            ("GET", "/v1/projects/{project}/instances/{name}/attach", true),
            ("GET", "/containers/{name}/attach/ws", true),
            ("POST", "/containers/{name}/attach", true),
            ("POST", "/v1/projects/{project}/instances/{name}/wait", false),
            ("POST", "/containers/{name}/wait", false),
            ("GET", "/v1/projects/{project}/instances/{name}", false),
            ("GET", "/containers/{name}/json", false),
            ("DELETE", "/v1/projects/{project}/instances/{name}", true),
            ("DELETE", "/containers/{name}", true),
            ("DELETE", "/images/team/wait", true),
        ] {
            assert_eq!(is_written(method, route), written, "{method} {route}");
        }
    }

    fn all(log: &Log) -> Vec<Entry> {
        log.read(&Filter { limit: 1_000_000, ..Filter::default() }).unwrap()
    }

    #[test]
    fn what_is_written_is_read_newest_first_also_by_the_next_daemon() {
        let place = tempfile::tempdir().unwrap();
        let log = Log::open(place.path()).unwrap();
        log.write(entry(1, "ann", "/v1/a", 200));
        log.write(entry(2, "bob", "/v1/b", 403));
        drop(log);
        let log = Log::open(place.path()).unwrap();
        log.write(entry(0, "ann", "/v1/c", 201));
        let seen = all(&log);
        let paths: Vec<_> = seen.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, ["/v1/b", "/v1/c", "/v1/a"]);
        assert!(seen.windows(2).all(|pair| pair[0].time > pair[1].time), "times tell them apart");
        let filter = Filter { limit: 9, ..Filter::default() };
        let by = log.read(&Filter { by: "ann".into(), ..filter.clone() }).unwrap();
        assert_eq!(by.len(), 2);
        let failed = log.read(&Filter { failed: true, ..filter.clone() }).unwrap();
        assert_eq!(failed[0].by, "bob");
        let next = log.read(&Filter { before: Some(seen[1].time), ..filter }).unwrap();
        assert_eq!(next, seen[2..]);
        use std::os::unix::fs::PermissionsExt;
        let mode =
            std::fs::metadata(current(place.path(), SERIES[0])).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn full_files_make_room_and_the_newest_stay() {
        let place = tempfile::tempdir().unwrap();
        let log = Log::open(place.path()).unwrap();
        let from = "x".repeat(1_000_000);
        for second in 0..200 {
            log.write(Entry { from: from.clone(), ..entry(second, "ann", "/v1/a", 200) });
        }
        assert_eq!(log.known.full_files().unwrap().len(), KEPT - 1);
        let seen = all(&log);
        assert_eq!(seen[0].time, Time::from_unix(199, 0));
        assert!(seen.len() < 200 && seen.len() > 8 * (KEPT - 1) - 20, "{}", seen.len());
    }

    #[test]
    fn who_knocks_all_the_time_pushes_nothing_out() {
        let place = tempfile::tempdir().unwrap();
        let log = Log::open(place.path()).unwrap();
        log.write(entry(1, "ann", "/v1/a", 200));
        let from = "x".repeat(1_000_000);
        for second in 2..200 {
            let knock = entry(second, "", &"/x".repeat(1000), 401);
            log.write(Entry { from: from.clone(), ..knock });
        }
        log.write(entry(300, "ann", "/v1/b", 200));
        let by = log.read(&Filter { by: "ann".into(), limit: 9, ..Filter::default() }).unwrap();
        assert_eq!(by.len(), 2);
        let seen = all(&log);
        assert_eq!((seen[0].status, seen[1].status), (200, 401), "newest first, of both");
        assert!(seen[1].path.len() < 600, "a path takes all the room");
    }

    #[test]
    fn a_line_cut_short_costs_itself_alone() {
        let place = tempfile::tempdir().unwrap();
        let log = Log::open(place.path()).unwrap();
        log.write(entry(1, "ann", "/v1/a", 200));
        drop(log);
        let current = current(place.path(), SERIES[0]);
        let mut text = std::fs::read(&current).unwrap();
        text.extend_from_slice(b"{\"time\":\"20");
        std::fs::write(&current, text).unwrap();
        let log = Log::open(place.path()).unwrap();
        log.write(entry(2, "ann", "/v1/b", 200));
        assert_eq!(all(&log).len(), 2);
    }
}
