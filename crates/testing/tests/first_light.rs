//! The main job on real parts: a node is started, images are pulled, containers run, the platform is
//! killed, and everything is as it was.
//!
//! Needs root, containerd and the starter images' registry. Without them it does nothing, but says so;
//! with `HULL_E2E=1` their absence is a failure.

#![expect(clippy::unwrap_used, reason = "a test that cannot look fails")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const REGISTRY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1)), 5555);
const PATIENCE: Duration = Duration::from_secs(60);

/// A node of its own, below a directory of its own. Taken down when dropped.
struct Node {
    root: tempfile::TempDir,
    hull: PathBuf,
}

/// What is missing to run, if anything.
fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".into());
    }
    if Command::new("containerd").arg("--version").output().is_err() {
        return Some("containerd is not installed".into());
    }
    if TcpStream::connect_timeout(&REGISTRY, Duration::from_secs(2)).is_err() {
        return Some(format!("no registry answers at {REGISTRY} (make images)"));
    }
    let hull = binary();
    (!hull.exists()).then(|| format!("{} is not built", hull.display()))
}

fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("HULL_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("hull")
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

impl Node {
    fn start() -> Option<Self> {
        if let Some(why) = missing() {
            assert!(std::env::var("HULL_E2E").is_err(), "cannot run end to end: {why}");
            println!("passed over: {why}");
            return None;
        }
        let root = tempfile::Builder::new().prefix("hull-e2e-").tempdir().unwrap();
        let etc = root.path().join("etc/hull");
        std::fs::create_dir_all(&etc).unwrap();
        let config = format!(
            "[node]\nname = \"n1\"\n[api]\nlisten = \"127.0.0.1:{}\"\n\
             [registries.\"docker.io\"]\nmirrors = [\"http://{REGISTRY}\"]\n",
            free_port()
        );
        std::fs::write(etc.join("hull.toml"), config).unwrap();
        let node = Self { root, hull: binary() };
        node.ok(&["up"]);
        Some(node)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.hull);
        command.arg("--root").arg(self.root.path()).args(arguments).stdin(Stdio::null());
        for variable in ["HULL_HOST", "HULL_ROOT", "HULL_PROJECT", "HULL_TOKEN"] {
            command.env_remove(variable);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?} failed: {told}\n{}", self.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn code(&self, arguments: &[&str]) -> i32 {
        self.run(arguments).status.code().unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.root.path().join("var/lib/hull/daemon.log"))
            .unwrap_or_default()
    }

    fn inspect(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["inspect", name])).unwrap()
    }

    fn pid(&self, name: &str) -> u64 {
        self.inspect(name)["status"]["containers"][0]["pid"].as_u64().unwrap()
    }

    /// The daemon's own process, by its supervisor.
    fn daemon(&self) -> rustix::process::Pid {
        let path = self.root.path().join("run/hull/supervisor.pid");
        let supervisor = std::fs::read_to_string(path).unwrap();
        let children = format!("/proc/{0}/task/{0}/children", supervisor.trim());
        let child = std::fs::read_to_string(children).unwrap();
        let child = child.split_whitespace().next().and_then(|pid| pid.parse().ok()).unwrap();
        rustix::process::Pid::from_raw(child).unwrap()
    }

    /// Kills the daemon as a power cut of its own would, and waits until the next one is ready.
    fn kill_daemon(&self) {
        let before = self.daemon();
        rustix::process::kill_process(before, rustix::process::Signal::KILL).unwrap();
        until("the next daemon is ready", || {
            let status = self.run(&["status"]);
            status.status.success() && self.daemon() != before
        });
    }

    fn containerd(&self) -> Option<i32> {
        let run = self.root.path().join("run/hull/containerd");
        let record = std::fs::read_to_string(run.join("containerd.json")).ok()?;
        let record: serde_json::Value = serde_json::from_str(&record).ok()?;
        record["pid"].as_i64().and_then(|pid| pid.try_into().ok())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let clean = testing::checkout().join("scripts/clean-node");
        let clean = Command::new(clean)
            .arg(self.root.path())
            .env("FORCE", "1")
            .env("HULL", &self.hull)
            .output();
        if !clean.as_ref().is_ok_and(|it| it.status.success()) {
            println!("the node is not wholly gone: {clean:?}");
        }
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn get(port: u16) -> String {
    let mut answer = String::new();
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return answer };
    let _ = stream.write_all(b"GET / HTTP/1.0\r\nHost: x\r\n\r\n");
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn the_main_job() {
    let Some(node) = Node::start() else { return };

    // Output, exit codes, refusals.
    assert_eq!(node.ok(&["run", "--rm", "busybox", "echo", "hello"]), "hello\n");
    assert_eq!(node.code(&["run", "--rm", "busybox", "sh", "-c", "exit 7"]), 7);
    assert_eq!(node.code(&["run", "--rm", "busybox", "absent-program"]), 127);
    assert_eq!(node.code(&["logs", "absent"]), 3);
    assert!(
        node.ok(&["run", "--rm", "busybox", "cat", "/proc/self/status"]).contains("Seccomp:\t2")
    );

    // A service with a published port and a name.
    let port = free_port();
    let publish = format!("{port}:80");
    node.ok(&["run", "-d", "--name", "web", "-p", &publish, "nginx"]);
    until("nginx answers", || get(port).contains("200 OK"));
    assert_eq!(node.code(&["run", "-d", "--name", "web", "nginx"]), 4, "the name is taken");
    assert_eq!(node.code(&["run", "-d", "--name", "web2", "-p", &publish, "nginx"]), 4);
    let page = node.ok(&["run", "--rm", "busybox", "wget", "-qO-", "http://web/"]);
    assert!(page.contains("nginx"), "{page}");
    assert!(node.ok(&["exec", "web", "id"]).contains("uid=0"));

    // A volume keeps what is written, whoever comes and goes.
    let write = "echo kept > /d/file";
    node.ok(&["run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", write]);
    assert_eq!(node.ok(&["run", "--rm", "-v", "data:/d", "busybox", "cat", "/d/file"]), "kept\n");

    // The platform is killed: what runs, runs on; what it said and how it ended is known.
    let count = "i=0; while true; do i=$((i+1)); echo $i; usleep 10000; done";
    node.ok(&["run", "-d", "--name", "count", "busybox", "sh", "-c", count]);
    node.ok(&["run", "-d", "--name", "short", "busybox", "sh", "-c", "sleep 1; exit 9"]);
    let pid = node.pid("count");
    node.kill_daemon();
    assert_eq!(node.pid("count"), pid);
    assert!(get(port).contains("200 OK"), "published ports outlive the platform");
    until("the end of the short one is known", || {
        node.inspect("short")["status"]["containers"][0]["exitCode"].as_i64() == Some(9)
    });
    until("a hundred lines are there", || node.ok(&["logs", "count"]).lines().count() > 100);
    let text = node.ok(&["logs", "count"]);
    let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected, "no line is lost or out of order");

    // containerd is killed: the same.
    let engine = node.containerd().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(engine, rustix::process::Signal::KILL).unwrap();
    until("containers can be entered again", || node.code(&["exec", "count", "true"]) == 0);
    assert_eq!(node.pid("count"), pid);

    // Removal leaves nothing.
    node.ok(&["rm", "-f", "count", "short", "web"]);
    assert_eq!(node.ok(&["ps", "-aq"]), "");
    until("no network namespace is left", || {
        let left = std::fs::read_dir(node.root.path().join("run/hull/netns"));
        left.is_ok_and(|mut entries| entries.next().is_none())
    });
}
