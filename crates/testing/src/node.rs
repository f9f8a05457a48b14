//! A real node for tests: a root of its own, the platform on it, and the command line.
//!
//! Whatever a node leaves on the machine is swept by `sweep.sh`, a process that waits for the end of
//! the test's, so that nothing stays behind when a test is killed.

use std::ffi::{OsStr, OsString};
use std::hash::{Hash, Hasher};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::land::Land;

/// Where the starter images are served.
pub const REGISTRY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5555);

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

const SWEEP: &str = include_str!("sweep.sh");

/// What takes a node off a machine.
pub const CLEAN_NODE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/clean-node");

/// What a command did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its exit code; 128 + n when signal n ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: String,
}

impl Outcome {
    /// What it printed, without white space around it.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }
}

/// A node of this machine below a root of its own. Taken down when dropped.
#[derive(Debug)]
pub struct Node {
    root: PathBuf,
    hull: PathBuf,
    environment: Vec<(OsString, OsString)>,
    sweeper: Option<Child>,
}

/// What a node has that others have not.
#[derive(Debug)]
pub struct Setup {
    /// Everything of the node, and what it stands on, is below here and goes with it.
    base: PathBuf,
    root: PathBuf,
    settings: String,
    containerd: Option<OsString>,
    environment: Vec<(OsString, OsString)>,
}

/// Why no node can run here, if so.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can run a node".into());
    }
    if Command::new("containerd").arg("--version").output().is_err() {
        return Some("containerd is not installed".into());
    }
    if TcpStream::connect_timeout(&REGISTRY, Duration::from_secs(2)).is_err() {
        return Some(format!(
            "no registry answers at {REGISTRY}; `make images SUBSET=test` starts it"
        ));
    }
    match binary() {
        Ok(_) => None,
        Err(error) => Some(format!("{error:#}")),
    }
}

/// The node's `hull.toml`, but for the container engine. Nodes that share a machine have pools of their own, or two could choose the
/// same subnet at the same moment.
fn settings(root: &Path) -> String {
    let name = root.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "");
    let mut hash = std::hash::DefaultHasher::new();
    root.hash(&mut hash);
    let first = hash.finish() % POOLS;
    let place = claim(root, first).unwrap_or(first);
    let (second, third) = (64 + (place >> 2), place % 4 * 64);
    format!(
        "[node]\nname = \"e2e{}\"\n[api]\nlisten = \"127.0.0.1:0\"\n\
         [network]\npool = \"10.{second}.{third}.0/18\"\n\
         [registries.\"docker.io\"]\nmirrors = [\"http://{REGISTRY}\"]\n",
        name.get(4..12).unwrap_or(&name)
    )
}

/// How many pools there are for nodes of one machine.
const POOLS: u64 = 256;

/// The first pool from this one on that no other node has: each is claimed by a file that names the node's
/// root, and is free again when that is gone.
fn claim(root: &Path, first: u64) -> std::io::Result<u64> {
    let claims = std::env::temp_dir().join("hull-pools");
    std::fs::create_dir_all(&claims)?;
    let lock = std::fs::File::create(claims.join("lock"))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let file = |place: u64| claims.join(place.to_string());
    let free = |place: &u64| {
        let owner = std::fs::read_to_string(file(*place)).unwrap_or_default();
        owner.is_empty() || !Path::new(&owner).exists()
    };
    let places = (first..first + POOLS).map(|place| place % POOLS);
    let place = places.into_iter().find(free).unwrap_or(first);
    std::fs::write(file(place), root.as_os_str().as_encoded_bytes())?;
    Ok(place)
}

/// The container engine's part of it.
fn engine_settings(containerd: &OsStr) -> String {
    format!("[containerd]\nbinary = {:?}\n", containerd.to_string_lossy())
}

/// The binary under test: `HULL_BIN`, else the one built beside the test.
fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("HULL_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    let beside = test.ancestors().skip(1).map(|dir| dir.join("hull")).find(|path| path.is_file());
    beside.with_context(|| format!("no hull beside {}; build it, or set HULL_BIN", test.display()))
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not within [`PATIENCE`].
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// The same; what `tell` knows is in the panic.
///
/// # Panics
/// When it does not within `time`.
pub fn within_or<T>(
    time: Duration,
    what: &str,
    mut look: impl FnMut() -> Option<T>,
    tell: impl FnOnce() -> String,
) -> T {
    let end = Instant::now() + time;
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("waited {time:?} in vain: {what}; {}", tell())
}

/// Waits until `look` finds something.
///
/// # Panics
/// When it does not in time.
pub fn within<T>(time: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + time;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "waited {time:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Setup {
    /// The usual node, in a directory of its own.
    pub fn new() -> Result<Self> {
        Ok(Self::at(tempfile::Builder::new().prefix("hull-").tempdir()?.keep()))
    }

    fn at(root: PathBuf) -> Self {
        let settings = settings(&root);
        let containerd = std::env::var_os("HULL_CONTAINERD");
        Self { base: root.clone(), root, settings, containerd, environment: Vec::new() }
    }

    /// Where everything of the node, and what it stands on, is.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Its root is this directory below the base.
    #[must_use]
    pub fn root(mut self, below: &str) -> Self {
        self.root = self.base.join(below);
        self
    }

    /// Adds these lines to its configuration file.
    #[must_use]
    pub fn settings(mut self, lines: &str) -> Self {
        self.settings.push_str(lines);
        self.settings.push('\n');
        self
    }

    /// It runs this containerd, rather than the one that `HULL_CONTAINERD` names or the usual one.
    #[must_use]
    pub fn containerd(mut self, program: OsString) -> Self {
        self.containerd = Some(program);
        self
    }

    /// Its daemon has this in its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Starts it.
    pub fn start(self) -> Result<Node> {
        self.prepare()?.started()
    }

    /// Its root is a btrfs of so many bytes.
    pub fn on_btrfs(self, size: u64) -> Result<Self> {
        let (image, mount) = (self.base.join("btrfs.img"), self.base.join("btrfs"));
        std::fs::File::create(&image)?.set_len(size)?;
        std::fs::create_dir(&mount)?;
        let mut make = Command::new("mkfs.btrfs");
        make.arg("--quiet").arg(&image);
        let mut attach = Command::new("mount");
        attach.args(["-o", "loop"]).args([&image, &mount]);
        for command in [make, attach] {
            let outcome = finish(command, None)?;
            ensure!(outcome.code == 0, "no btrfs: {}", outcome.stderr);
        }
        Ok(self.root("btrfs"))
    }

    /// Everything but the start itself.
    pub fn prepare(self) -> Result<Node> {
        let Self { base, root, mut settings, containerd, environment } = self;
        settings.extend(containerd.as_deref().map(engine_settings));
        let hull = binary()?;
        let etc = root.join("etc/hull");
        std::fs::create_dir_all(&etc)?;
        std::fs::write(etc.join("hull.toml"), settings)?;
        let sweeper = Command::new("sh")
            .args(["-c", SWEEP, "sweep"])
            .args([&hull, &root, Path::new(CLEAN_NODE), &base])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("the sweeper cannot be started")?;
        Ok(Node { root, hull, environment, sweeper: Some(sweeper) })
    }
}

impl Node {
    /// Starts a node that nobody else uses.
    pub fn start() -> Result<Self> {
        Setup::new()?.start()
    }

    /// The node that all tests of this run share. Under nextest, where each test is a process, the
    /// first starts it and the sweeper waits for the runner's end.
    pub fn shared() -> Result<Self> {
        let Some((run, runner)) = std::env::var("NEXTEST_RUN_ID").ok().zip(runner()) else {
            return Self::start();
        };
        let root = std::env::temp_dir().join(format!("hull-{run}"));
        let lock = std::fs::File::create(root.with_extension("lock"))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        if root.exists() {
            let environment = Vec::new();
            return Ok(Self { root, hull: binary()?, environment, sweeper: None });
        }
        std::fs::create_dir(&root)?;
        let mut node = Setup::at(root).prepare()?;
        node.tell_sweeper(&format!("runner {runner}"))?;
        let mut node = node.started()?;
        // It outlives this test.
        node.sweeper = None;
        Ok(node)
    }

    /// Starts a node of its own in a land, whose resolvers this resolv.conf(5) names.
    pub fn start_in_land(land: &Land, resolv_conf: &str) -> Result<Self> {
        let mut node = Setup::new()?.prepare()?;
        node.tell_sweeper(&format!("land {}", land.name()))?;
        land.reach_registry()?;
        let file = node.root.join("resolv.conf");
        std::fs::write(&file, resolv_conf)?;
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let mut up = land.inside(&["unshare", "--mount", "sh", "-c", script]);
        up.arg(file).arg(&node.hull).arg("--root").arg(&node.root).arg("up");
        let up = finish(up, None)?;
        ensure!(up.code == 0, "hull up: {}\n{}", up.stderr, node.log());
        Ok(node)
    }

    fn started(self) -> Result<Self> {
        let up = self.up();
        ensure!(up.code == 0, "hull up: {}\n{}", up.stderr, self.log());
        Ok(self)
    }

    fn tell_sweeper(&mut self, line: &str) -> Result<()> {
        let stdin = self.sweeper.as_mut().and_then(|sweeper| sweeper.stdin.as_mut());
        Ok(writeln!(stdin.context("nobody sweeps")?, "{line}")?)
    }

    /// What the names of the node's links, tables and cgroups carry.
    ///
    /// # Panics
    /// When the node has not written it down.
    pub fn tag(&self) -> String {
        let path = self.root.join("var/lib/hull/tag");
        let tag = std::fs::read_to_string(&path);
        tag.unwrap_or_else(|error| panic!("{}: {error}", path.display())).trim().to_owned()
    }

    /// What the API's local socket answers to a read that must succeed.
    pub fn get(&self, path: &str) -> Result<Value> {
        let (status, answer) = self.call("GET", path, None)?;
        ensure!(status == 200, "{path}: {status} {answer}");
        Ok(answer)
    }

    /// What the API's local socket answers: the status, and the body, which is null if it is no JSON.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let mut socket = UnixStream::connect(self.root.join("run/hull/api.sock"))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        write!(
            socket,
            "{method} {path} HTTP/1.0\r\nHost: hull\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.context("no HTTP status")?, serde_json::from_str(body).unwrap_or_default()))
    }

    /// The binary under test.
    pub fn binary(&self) -> &Path {
        &self.hull
    }

    /// Where everything of the node is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The daemon's log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("var/lib/hull/daemon.log")).unwrap_or_default()
    }

    /// A command line, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.hull);
        command.arg("--root").arg(&self.root).args(arguments).env_remove("HULL_HOST");
        command
    }

    /// Runs `hull up`, with what the node's daemon is to have in its environment.
    ///
    /// # Panics
    /// As [`Node::hull`].
    pub fn up(&self) -> Outcome {
        let mut up = self.command(&["up"]);
        up.envs(self.environment.iter().map(|(name, value)| (name, value)));
        match finish(up, None) {
            Ok(outcome) => outcome,
            Err(error) => panic!("hull up: {error:#}"),
        }
    }

    /// Runs a command line to its end.
    ///
    /// # Panics
    /// When it cannot be started, or does not end within [`PATIENCE`].
    pub fn hull(&self, arguments: &[&str]) -> Outcome {
        self.hull_with(arguments, None)
    }

    /// The same with standard input.
    ///
    /// # Panics
    /// As [`Node::hull`].
    pub fn hull_with(&self, arguments: &[&str], input: Option<&[u8]>) -> Outcome {
        match finish(self.command(arguments), input) {
            Ok(outcome) => outcome,
            Err(error) => panic!("hull {}: {error:#}", arguments.join(" ")),
        }
    }

    /// Runs a command line that must succeed; what it printed, without white space around it.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let outcome = self.hull(arguments);
        assert_eq!(outcome.code, 0, "hull {}: {}", arguments.join(" "), outcome.stderr);
        outcome.text()
    }

    /// Whether the command line knows this command.
    pub fn knows(&self, command: &str) -> bool {
        self.hull(&[command, "--help"]).code == 0
    }

    /// Everything known of an instance; nothing when it is not there.
    pub fn inspect(&self, name: &str) -> Option<Value> {
        let outcome = self.hull(&["inspect", name]);
        (outcome.code == 0).then(|| serde_json::from_slice(&outcome.stdout).ok()).flatten()
    }

    /// A value of an instance, by JSON pointer.
    pub fn field(&self, name: &str, pointer: &str) -> Value {
        let all = self.inspect(name).unwrap_or_default();
        all.pointer(pointer).cloned().unwrap_or_default()
    }

    /// Waits until a value of an instance is this.
    ///
    /// # Panics
    /// When it does not become so in time.
    pub fn await_field(&self, name: &str, pointer: &str, wanted: &Value) {
        let mut last = Value::Null;
        let end = Instant::now() + PATIENCE;
        while last != *wanted {
            if Instant::now() >= end {
                let why = self.field(name, "/status/reason");
                panic!("{name}{pointer} stays {last}, not {wanted}; its reason is {why}");
            }
            last = self.field(name, pointer);
        }
    }

    /// Waits until an instance is in this phase.
    ///
    /// # Panics
    /// When it does not get there in time.
    pub fn await_phase(&self, name: &str, phase: &str) {
        self.await_field(name, "/status/phase", &Value::from(phase));
    }

    /// The daemon's process.
    pub fn daemon(&self) -> Result<i32> {
        let supervisor = std::fs::read_to_string(self.root.join("run/hull/supervisor.pid"))?;
        let supervisor: i32 = supervisor.trim().parse()?;
        let daemon = processes().find(|pid| parent(*pid) == Some(supervisor));
        daemon.context("no daemon runs")
    }

    /// containerd's process.
    pub fn containerd(&self) -> Result<i32> {
        let record = std::fs::read(self.root.join("run/hull/containerd/containerd.json"))?;
        let record: Value = serde_json::from_slice(&record)?;
        let pid = record.get("pid").and_then(Value::as_i64).context("no containerd is recorded")?;
        Ok(i32::try_from(pid)?)
    }

    /// From its next start on, the daemon runs this containerd.
    pub fn use_containerd(&self, program: &OsStr) -> Result<()> {
        let path = self.root.join("etc/hull/hull.toml");
        let old = std::fs::read_to_string(&path)?;
        let (before, _) = old.split_once("[containerd]\n").context("no containerd is named")?;
        Ok(std::fs::write(path, before.to_owned() + &engine_settings(program))?)
    }

    /// Kills the daemon where it stands. Its supervisor starts it again.
    pub fn kill_daemon(&self) -> Result<()> {
        kill(self.daemon()?)
    }

    /// Waits until the API answers.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn await_ready(&self) {
        until("the daemon is back", || (self.hull(&["status"]).code == 0).then_some(()));
    }

    /// Works in the network namespace of an instance: what listens there is reached as the
    /// instance's own.
    ///
    /// # Panics
    /// When it does not run.
    pub fn inside<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        let pid = self.field(name, "/status/containers/0/pid");
        match crate::land::within(Path::new(&format!("/proc/{pid}/ns/net")), work) {
            Ok(done) => done,
            Err(error) => panic!("the namespace of {name}, process {pid}: {error:#}"),
        }
    }

    /// Network namespaces of instances.
    pub fn namespaces(&self) -> usize {
        std::fs::read_dir(self.root.join("run/hull/netns")).map_or(0, Iterator::count)
    }

    /// Containers that containerd runs.
    pub fn tasks(&self) -> usize {
        let dir = "run/hull/containerd/state/io.containerd.runtime.v2.task/hull";
        std::fs::read_dir(self.root.join(dir)).map_or(0, Iterator::count)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut sweeper) = self.sweeper.take() {
            drop(sweeper.stdin.take());
            // A sweeper that failed has no one to tell.
            let _ = sweeper.wait();
        }
    }
}

/// Kills a process of the node and waits until it is gone.
pub fn kill(pid: i32) -> Result<()> {
    let began = started(pid);
    let handle = Pid::from_raw(pid).context("0 is no process")?;
    rustix::process::kill_process(handle, Signal::KILL)?;
    // One that had ended before, and whom nobody has waited for yet, never had a beginning to tell it by.
    until("a killed process is gone", || (began.is_none() || started(pid) != began).then_some(()));
    Ok(())
}

/// Runs a command to its end, and kills it when that takes too long.
pub fn finish(mut command: Command, input: Option<&[u8]>) -> Result<Outcome> {
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    let mut child = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        if let Some((mut stdin, input)) = stdin.zip(input) {
            // A program may end before it has read everything.
            scope.spawn(move || drop(stdin.write_all(input)));
        }
        let out = scope.spawn(move || drain(stdout));
        let err = scope.spawn(move || drain(stderr));
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if Instant::now() > end {
                child.kill()?;
                child.wait()?;
                bail!("did not end within {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let bytes = |result: std::thread::Result<Vec<u8>>| {
            result.map_err(|_| anyhow!("the output could not be read"))
        };
        let signal = std::os::unix::process::ExitStatusExt::signal(&status).unwrap_or(0);
        Ok(Outcome {
            code: status.code().unwrap_or(128 + signal),
            stdout: bytes(out.join())?,
            stderr: String::from_utf8_lossy(&bytes(err.join())?).into_owned(),
        })
    })
}

fn drain(from: Option<impl Read>) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(mut from) = from {
        // What came before the error is what there is.
        let _ = from.read_to_end(&mut all);
    }
    all
}

pub(crate) fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Fields of `/proc/<pid>/stat` behind the name (`proc_pid_stat`(5)); the first is the state.
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn parent(pid: i32) -> Option<i32> {
    let fields = stat(pid)?;
    if fields.first().is_some_and(|state| state == "Z") {
        return None;
    }
    fields.get(1)?.parse().ok()
}

/// When a living process was started, in ticks of this boot; tells it from a later one of its number.
fn started(pid: i32) -> Option<u64> {
    let fields = stat(pid)?;
    if fields.first().is_some_and(|state| state == "Z") {
        return None;
    }
    fields.get(19)?.parse().ok()
}

/// The nextest that runs this test.
fn runner() -> Option<i32> {
    let mut pid = i32::try_from(std::process::id()).ok()?;
    loop {
        pid = parent(pid).filter(|pid| *pid > 1)?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        if name.trim_end() == "cargo-nextest" {
            return Some(pid);
        }
    }
}
