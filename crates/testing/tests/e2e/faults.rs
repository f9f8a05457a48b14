//! Bad things that happen to a node: a full disk, too little memory, an engine that hangs, a clock that
//! jumps, no nft. What runs runs on; what is asked for is done or told why not, and nothing is left.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use testing::disk::Disk;
use testing::inventory::Inventory;
use testing::node::{Node, Outcome, Setup, until, within};

use super::network::free_port;
use super::process::{able, begin, node};

/// Failed so, named these things and what to do.
fn refused(done: &Outcome, code: i32, named: &[&str]) {
    assert_eq!(done.code, code, "{}", done.stderr);
    for name in named.iter().chain(&["try:"]) {
        assert!(done.stderr.contains(name), "{name:?} is not in: {}", done.stderr);
    }
}

#[test]
fn a_registry_that_does_not_answer() {
    let Some(node) = node() else { return };
    let closed = format!("127.0.0.1:{}", free_port());
    let image = format!("{closed}/some/thing");
    refused(&node.hull(&["run", "--name", "unreached", &image]), 5, &[&image, "cannot be reached"]);
    assert!(node.inspect("unreached").is_none());
    refused(&node.hull(&["image", "pull", &image]), 5, &[&image, "cannot be reached"]);
}

#[test]
fn a_full_disk() {
    if !able() {
        return;
    }
    let setup = Setup::new().unwrap().root("disk/node");
    let disk = Disk::mount(setup.base(), "disk", 192 << 20).unwrap();
    let node = setup.start().unwrap();
    let _works = begin(&node, "works", &[], "exec sleep 600");
    let pid = node.field("works", "/status/containers/0/pid");
    let before = Inventory::at_rest(&node);
    disk.fill().unwrap();

    refused(&node.hull(&["image", "pull", "nginx"]), 1, &["no room", "disk"]);
    let run = node.hull(&["run", "-d", "--name", "toomuch", "busybox", "sleep", "600"]);
    if run.code == 0 {
        // What it took was found somewhere.
        node.ok(&["rm", "-f", "toomuch"]);
    } else {
        refused(&run, 1, &["disk"]);
    }
    assert_eq!(node.hull(&["ps"]).code, 0);
    // Also when it starts on a full disk it is there once there is room.
    node.kill_daemon().unwrap();
    disk.free().unwrap();
    within(Duration::from_secs(90), "the daemon is back", || {
        (node.hull(&["status"]).code == 0).then_some(())
    });

    assert_eq!(node.field("works", "/status/containers/0/pid"), pid);
    assert_eq!(node.ok(&["exec", "works", "echo", "on"]), "on");
    assert_eq!(node.ok(&["run", "--rm", "busybox", "echo", "again"]), "again");
    node.hull(&["rm", "-f", "toomuch"]);
    before.await_again(&node, "a full disk");
}

#[test]
fn memory_that_does_not_suffice() {
    let Some(node) = node() else { return };
    let greedy = super::process::Named(node, "greedy");
    node.ok(&["run", "-d", "--name", "greedy", "-m", "16m", "busybox", "tail", "/dev/zero"]);
    node.await_phase("greedy", "exited");
    assert_eq!(node.field("greedy", "/status/containers/0/exitCode"), json!(137));
    assert_eq!(node.field("greedy", "/status/containers/0/oomKilled"), json!(true));
    drop(greedy);
    // The least that a runtime starts in.
    let run = node.hull(&["run", "--rm", "-m", "1m", "busybox", "true"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("6 MiB") && run.stderr.contains("memory"), "{}", run.stderr);
}

#[test]
fn more_memory_than_the_node_has() {
    let Some(node) = node() else { return };
    let flags = ["--memory-reservation", "100t", "--name", "vast"];
    let run = |more: &[&str]| node.hull(&[&["run"], &flags[..], more, &["busybox"]].concat());
    refused(&run(&["--rm"]), 4, &["vast", "100 TiB", "left unreserved", "reserve less"]);
    until("it does not stay to begin later", || node.inspect("vast").is_none().then_some(()));
    // Left to wait, it says why.
    let _it = super::process::Named(node, "vast");
    refused(&run(&[]), 4, &["vast", "100 TiB"]);
    assert_eq!(node.field("vast", "/status/phase"), json!("pending"));
    assert_eq!(node.field("vast", "/status/reason/code"), json!("NoMemory"));
}

#[test]
fn a_port_that_is_taken() {
    let Some(node) = node() else { return };
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let publish = format!("{port}:80");
    let _it = super::process::Named(node, "second");
    let run = |name: &str| {
        node.hull(&["run", "-d", "--name", name, "-p", &publish, "busybox", "sleep", "600"])
    };
    refused(&run("second"), 4, &["second", &format!("port {port}/tcp"), "taken"]);
    assert!(!tasks_of(node, "second"), "nothing of it runs");
    drop(listener);
    node.ok(&["start", "second"]);
    let _third = super::process::Named(node, "third");
    refused(&run("third"), 4, &["third", &port.to_string(), "second"]);
}

/// Whether containerd runs anything of an instance.
fn tasks_of(node: &Node, name: &str) -> bool {
    let id = node.field(name, "/meta/id").as_str().unwrap().to_owned();
    let dir = node.root().join("run/hull/containerd/state/io.containerd.runtime.v2.task/hull");
    let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().starts_with(&id))
}

#[test]
fn fields_and_types_that_are_wrong() {
    let Some(node) = node() else { return };
    for (spec, named) in [
        ("containers: [{name: main, image: busybox, comand: [x]}]", "comand"),
        ("containers: [{name: main, image: busybox, command: 5}]", "command"),
        ("containers: 5", "containers"),
        ("{containers: [{name: main, image: busybox}], restart: perhaps}", "restart"),
    ] {
        let run = ["run", "-d", "--name", "wrong", "-f", "-"];
        let done = node.hull_with(&run, Some(spec.as_bytes()));
        assert_eq!(done.code, 2, "{spec}: {}", done.stderr);
        assert!(done.stderr.contains(named), "{spec}: {}", done.stderr);
        assert!(node.inspect("wrong").is_none(), "{spec}");
    }
}

#[test]
fn programs_that_cannot_be_run_end_as_in_a_shell() {
    let Some(node) = node() else { return };
    for (program, code) in [("nosuch", 127), ("/nosuch", 127), ("/etc", 126), ("/etc/passwd", 126)]
    {
        for detached in [&[][..], &["-d"]] {
            let words = [&["run", "--rm"], detached, &["busybox", program]].concat();
            let run = node.hull(&words);
            assert_eq!(run.code, code, "{words:?}: {}", run.stderr);
        }
    }
    // Its name alone makes nothing of it that was not found.
    let words = ["run", "--rm", "--user", "no such file", "busybox", "true"];
    let run = node.hull(&words);
    assert!(run.stderr.contains("no such file"), "{}", run.stderr);
    assert_eq!(run.code, 2, "{}", run.stderr);
}

#[test]
fn a_request_that_is_too_long() {
    let Some(node) = node() else { return };
    let value = "x".repeat(3 << 20);
    let spec = format!("containers: [{{name: main, image: busybox, env: [\"A={value}\"]}}]");
    let run = ["run", "-d", "--name", "huge", "-f", "-"];
    let done = node.hull_with(&run, Some(spec.as_bytes()));
    assert_eq!(done.code, 2, "{}", done.stderr);
    assert!(done.stderr.contains("longer than 2097152 bytes"), "{}", done.stderr);
    assert!(node.inspect("huge").is_none());
}

#[test]
fn a_containerd_that_hangs() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    let _works = begin(&node, "works", &[], "exec sleep 600");
    let pid = node.field("works", "/status/containers/0/pid");
    let hung = node.containerd().unwrap();
    kill_process(Pid::from_raw(hung).unwrap(), Signal::STOP).unwrap();
    let asked = Instant::now();
    assert_eq!(node.field("works", "/status/phase"), json!("running"));
    assert!(asked.elapsed() < Duration::from_secs(5), "what is known is told at once");
    // Whoever needs it at once is told; what only has to begin does when another has taken its place.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exec = node.hull(&["exec", "works", "true"]);
            refused(&exec, 5, &["container", "containerd answers again"]);
        });
        let flags = ["run", "-d", "--name", "late", "--pull", "never"];
        let run = node.hull(&[&flags[..], &["busybox", "sleep", "600"]].concat());
        assert_eq!(run.code, 0, "{}\n{}", run.stderr, node.log());
    });
    assert_ne!(node.containerd().unwrap(), hung);
    assert_eq!(node.field("works", "/status/containers/0/pid"), pid);
    assert_eq!(node.ok(&["exec", "works", "echo", "on"]), "on");
    node.ok(&["rm", "-f", "late"]);
}

/// A directory of all programs there are, but for those of this name.
fn programs_but(name: &str, base: &Path) -> PathBuf {
    let place = base.join("programs");
    std::fs::create_dir(&place).unwrap();
    for dir in std::env::split_paths(&std::env::var_os("PATH").unwrap()) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_name() != name {
                // The first of a name is the one that is found.
                let _ = symlink(entry.path(), place.join(entry.file_name()));
            }
        }
    }
    place
}

#[test]
fn nft_is_not_there() {
    if !able() {
        return;
    }
    let setup = Setup::new().unwrap();
    let programs = programs_but("nft", setup.base());
    let node = setup.environment("PATH", &programs).start().unwrap();
    node.ok(&["image", "pull", "busybox"]);
    // What needs no firewall needs no nft.
    assert_eq!(node.ok(&["run", "--rm", "--network", "none", "busybox", "echo", "on"]), "on");
    let fail = || {
        let run = node.hull(&["run", "--name", "walled", "busybox", "true"]);
        refused(&run, 1, &["walled", "nft is not installed", "apt install nftables"]);
        assert_eq!(node.field("walled", "/status/phase"), json!("failed"));
        node.ok(&["rm", "walled"]);
    };
    // The first makes the project's network, which stays.
    fail();
    let before = Inventory::at_rest(&node);
    fail();
    before.await_again(&node, "without nft");
}

#[test]
fn nft_that_fails() {
    if !able() {
        return;
    }
    let setup = Setup::new().unwrap();
    let programs = programs_but("nft", setup.base());
    let broken = setup.base().join("broken");
    let nft = ["/usr/sbin/nft", "/sbin/nft"].into_iter().find(|path| Path::new(path).exists());
    let script = format!(
        "#!/bin/sh\nif [ -e {} ]; then echo 'Error: out of rules' >&2; exit 1; fi\nexec {} \"$@\"\n",
        broken.display(),
        nft.unwrap()
    );
    std::fs::write(programs.join("nft"), script).unwrap();
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(programs.join("nft"), mode).unwrap();
    let node = setup.environment("PATH", &programs).start().unwrap();
    let port = free_port();
    let publish = format!("{port}:80");
    node.ok(&["image", "pull", "busybox"]);
    node.ok(&["run", "-d", "--name", "web", "-p", &publish, "nginx"]);
    let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).ok();
    until("the port answers", answers);
    let before = Inventory::at_rest(&node);

    std::fs::write(&broken, "").unwrap();
    let other = format!("{}:80", free_port());
    let run = node.hull(&["run", "-d", "--name", "walled", "-p", &other, "busybox", "true"]);
    refused(&run, 1, &["walled", "firewall", "out of rules", "hull check"]);
    // A daemon that starts now looks after what runs all the same.
    node.kill_daemon().unwrap();
    node.await_ready();
    until("what runs can be entered", || {
        (node.hull(&["exec", "web", "true"]).code == 0).then_some(())
    });
    until("the port still answers", answers);

    std::fs::remove_file(&broken).unwrap();
    node.ok(&["rm", "-f", "walled"]);
    before.await_again(&node, "once nft works again");
    node.ok(&["run", "--rm", "busybox", "true"]);
    until("the port still answers", answers);
}

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// Processor time that a process has taken.
fn cpu(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // USER_HZ is 100 on all machines Linux runs on here.
    Duration::from_millis(ticks * 10)
}

#[test]
fn a_clock_that_jumps() {
    if !able() {
        return;
    }
    if !Path::new(FAKETIME).exists() {
        assert!(std::env::var_os("HULL_E2E").is_none(), "{FAKETIME} is not there");
        return println!("passed over: {FAKETIME} is not there");
    }
    let setup = Setup::new().unwrap();
    let clock = setup.base().join("clock");
    std::fs::write(&clock, "+0").unwrap();
    let setup = setup
        .environment("LD_PRELOAD", FAKETIME)
        .environment("FAKETIME_TIMESTAMP_FILE", &clock)
        .environment("FAKETIME_NO_CACHE", "1")
        // What jumps is the time of day.
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let node = setup.start().unwrap();
    let checked = ["--health-cmd", "test -e /well", "--health-interval", "100ms"];
    let _patient = begin(&node, "patient", &checked, "exec sleep 600");
    let _again = begin(&node, "again", &["--restart", "always"], "exit 1");
    let mut events = node.command(&["events", "--follow"]);
    let mut events = events.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let restarts = || node.field("again", "/status/restarts").as_u64().unwrap_or(0);
    let health = |health: &str| node.await_field("patient", "/status/health", &json!(health));
    let daemon = node.daemon().unwrap();

    for (jump, well) in [("+1d", true), ("-2d", false), ("+0", true)] {
        std::fs::write(&clock, jump).unwrap();
        let (began, spent, before) = (Instant::now(), cpu(daemon), restarts());
        until("restarts go on", || (restarts() > before).then_some(()));
        let script = if well { "touch /well" } else { "rm /well" };
        node.ok(&["exec", "patient", "sh", "-c", script]);
        health(if well { "healthy" } else { "unhealthy" });
        assert_eq!(node.ok(&["run", "--rm", "busybox", "echo", jump]), jump);
        let (took, used) = (began.elapsed(), cpu(daemon) - spent);
        assert!(used < took, "{jump}: {used:?} of processor in {took:?}");
    }
    assert_eq!(node.daemon().unwrap(), daemon, "it did not fall over");
    // Whoever watched all along is told of what came after.
    events.kill().unwrap();
    let told = events.wait_with_output().unwrap().stdout;
    let told = String::from_utf8_lossy(&told).into_owned();
    assert!(told.matches("die").count() > 3, "{told}");
}
