//! Virtual machines: run, reached, ended, frozen, kept and refused with the words that containers know.
//!
//! The guest is `hull-tiny` (see `images/README.md`): a kernel and busybox, in which a script given as
//! first-boot data runs once.

use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testing::node::{Node, Setup, until, within};

use super::process::{Named, mortal, node};

/// A guest emulated on a busy machine takes its time.
pub const PATIENCE: Duration = Duration::from_secs(120);
const IMAGE: &str = "hull-tiny";
const SMALL: [&str; 2] = ["--memory", "192m"];

fn run<'a>(node: &'a Node, name: &'a str, flags: &[&str]) -> Named<'a> {
    let named = Named(node, name);
    node.ok(&[&["run", "-d", "--name", name], &SMALL[..], flags, &[IMAGE]].concat());
    named
}

/// Waits until the guest has started for the `count`th time since its log began.
fn up(node: &Node, name: &str, count: usize) {
    within(PATIENCE, &format!("{name} is up {count} times"), || {
        let log = node.ok(&["logs", name]);
        (log.matches("guest is up").count() >= count).then_some(())
    });
}

fn http(port: u16, path: &str) -> Option<String> {
    use std::io::Read;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.lines().next()?.contains(" 200 ").then_some(text)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Somebody at the guest's serial line.
pub(super) struct Line(Child);

impl Line {
    pub(super) fn of(node: &Node, name: &str) -> Self {
        let mut command = node.command(&["attach", "--no-sig-proxy", name]);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
    }

    pub(super) fn types(&mut self, text: &str) {
        let stdin = self.0.stdin.as_mut().unwrap();
        stdin.write_all(format!("{text}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Process ids of the monitor and of QEMU, which it started (proc(5), `children`).
fn processes(node: &Node, name: &str) -> Vec<i32> {
    let monitor = node.field(name, "/status/containers/0/pid");
    let monitor = i32::try_from(monitor.as_i64().expect("a process")).unwrap();
    let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    [monitor].into_iter().chain(children).collect()
}

pub(super) fn qemu(node: &Node, name: &str) -> i32 {
    let is_qemu = |pid: &i32| {
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with("/usr/bin/qemu-system")
    };
    *processes(node, name).iter().find(|pid| is_qemu(pid)).expect("a QEMU")
}

#[test]
fn a_machine_is_run_as_a_container_is() {
    let Some(node) = node() else { return };
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let it = run(node, "vm", &["-p", &publish]);
    let told = node.hull(&["ps"]).text();
    assert!(told.contains("machine"), "{told}\n{}", node.hull(&["inspect", "vm"]).text());
    let accelerator = node.field("vm", "/status/machine/accelerator");
    if accelerator == json!("tcg") {
        let warnings = node.field("vm", "/status/warnings").to_string();
        assert!(warnings.contains("without KVM"), "{warnings}");
    }
    up(node, "vm", 1);
    within(PATIENCE, "the guest answers at the published port", || http(port, "/"));
    // By its name, from a container beside it.
    node.ok(&["run", "--rm", "busybox", "wget", "-qO-", "http://vm/"]);
    walls(node, "vm");
    let started = std::time::Instant::now();
    node.ok(&["stop", "-t", "60", "vm"]);
    assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
    assert_eq!(node.field("vm", "/status/containers/0/exitCode"), json!(0));
    assert_eq!(node.field("vm", "/status/machine/end"), json!("shutdown"));
    node.ok(&["start", "vm"]);
    up(node, "vm", 2);
    within(PATIENCE, "the guest answers as before", || http(port, "/"));
    drop(it);
    let left = node.root().join("run/hull/machines");
    let left = std::fs::read_dir(left).map_or(0, |files| {
        files.flatten().filter(|file| file.file_name().to_string_lossy() == "vm").count()
    });
    assert_eq!(left, 0);
}

/// QEMU has a user of its own, no capability, and a filter; so has its monitor.
fn walls(node: &Node, name: &str) {
    let pids = processes(node, name);
    assert!(pids.len() >= 2, "{pids:?}");
    for pid in pids {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().to_owned()
        };
        let uid: u32 = field("Uid:").split_whitespace().next().unwrap().parse().unwrap();
        assert!(uid >= 0x7000_0000, "{uid}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set} of {pid}");
        }
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        assert!(std::fs::write(format!("/proc/{pid}/root/etc/x"), "x").is_err(), "a root to write");
        let inside = std::fs::read_dir(format!("/proc/{pid}/root/var/lib"));
        assert!(inside.is_err(), "the host's state is seen inside");
    }
}

#[test]
fn the_platform_ends_and_the_guest_does_not() {
    if node().is_none() {
        return;
    }
    let node = &Setup::new().unwrap().start().unwrap();
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let _it = run(node, "stays", &["--restart", "always", "-p", &publish]);
    up(node, "stays", 1);
    within(PATIENCE, "the guest answers", || http(port, "/"));
    let before = qemu(node, "stays");
    node.kill_daemon().unwrap();
    assert!(http(port, "/").is_some(), "while the platform is away");
    node.up();
    node.await_ready();
    assert_eq!(qemu(node, "stays"), before);
    assert!(node.ok(&["logs", "stays"]).contains("guest is up"), "a log that was cut");
    // What it says now is heard: the line is open as before.
    let mut line = Line::of(node, "stays");
    until("the line is heard", || {
        line.types("echo st''ill here");
        std::thread::sleep(Duration::from_millis(300));
        node.ok(&["logs", "stays"]).contains("still here").then_some(())
    });
    // QEMU is killed: the policy starts the machine again.
    testing::node::kill(before).unwrap();
    up(node, "stays", 2);
    assert_ne!(qemu(node, "stays"), before);
    node.ok(&["stop", "-t", "0", "stays"]);
}

#[test]
fn how_a_guest_ended_is_told() {
    let Some(node) = node() else { return };
    let _it = run(node, "fate", &[]);
    up(node, "fate", 1);
    let mut line = Line::of(node, "fate");
    line.types("reboot -f");
    node.await_field("fate", "/status/machine/reboots", &json!(1));
    assert_eq!(node.field("fate", "/status/phase"), json!("running"));
    assert_eq!(
        node.field("fate", "/status/restarts"),
        json!(0),
        "a guest's own restart is no other"
    );
    up(node, "fate", 2);
    line.types("echo c > /proc/sysrq-trigger");
    node.await_phase("fate", "exited");
    assert_eq!(node.field("fate", "/status/containers/0/exitCode"), json!(70));
    assert_eq!(node.field("fate", "/status/machine/end"), json!("panic"));
    assert_eq!(node.field("fate", "/status/reason/code"), json!("GuestPanicked"));
    let events = node.ok(&["events", "--since", "10m", "--filter", "object=fate"]);
    for action in ["reboot", "panic", "die"] {
        assert!(events.contains(action), "no {action} in {events}");
    }
    drop(line);
    node.ok(&["start", "fate"]);
    up(node, "fate", 3);
    testing::node::kill(qemu(node, "fate")).unwrap();
    node.await_phase("fate", "exited");
    assert_eq!(node.field("fate", "/status/containers/0/exitCode"), json!(137));
    assert_eq!(node.field("fate", "/status/machine/end"), json!("crash"));
}

/// A guest whose web page tells how often it was changed.
fn page(port: u16) -> Option<String> {
    let text = http(port, "/page")?;
    text.lines().last().map(str::to_owned)
}

#[test]
fn kept_taken_back_and_gone_on_from() {
    let Some(node) = node() else { return };
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let _it = run(node, "kept", &["-p", &publish, "--disk", "kept-data,size=64m"]);
    up(node, "kept", 1);
    let mut line = Line::of(node, "kept");
    let mut write = |text: &str| {
        until("the page is written", || {
            line.types(&format!("echo {text} > /www/page; sync"));
            std::thread::sleep(Duration::from_millis(200));
            (page(port)? == text).then_some(())
        });
    };
    write("one");
    node.ok(&["snapshot", "create", "kept", "disks"]);
    node.ok(&["snapshot", "create", "--memory", "kept", "whole"]);
    let taken = node.hull(&["snapshot", "create", "kept", "disks"]);
    assert_eq!(taken.code, 4, "{}", taken.text());
    let list = node.ok(&["snapshot", "ls", "kept", "-o", "json"]);
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list[0]["disks"], json!(["root", "kept-data"]));
    write("two");
    node.ok(&["restore", "kept", "whole"]);
    within(PATIENCE, "the page is as it was", || (page(port)? == "one").then_some(()));
    write("three");
    drop(line);
    // With its memory: what it was doing goes on.
    let before = node.ok(&["logs", "kept"]).matches("guest is up").count();
    node.ok(&["stop", "--save", "kept"]);
    assert_eq!(node.field("kept", "/status/machine/end"), json!("saved"));
    node.ok(&["start", "kept"]);
    within(PATIENCE, "the page is there at once", || (page(port)? == "three").then_some(()));
    assert_eq!(node.ok(&["logs", "kept"]).matches("guest is up").count(), before, "it booted");
    // Of the disks alone: it is stopped and started around it.
    node.ok(&["restore", "kept", "disks"]);
    within(PATIENCE, "the page of the first", || (page(port)? == "one").then_some(()));
    node.ok(&["snapshot", "rm", "kept", "disks", "whole"]);
    assert_eq!(node.ok(&["snapshot", "ls", "kept", "-o", "name"]), "");
    assert_eq!(node.hull(&["restore", "kept", "whole"]).code, 3);
}

#[test]
fn frozen_grown_and_bounded() {
    let Some(node) = node() else { return };
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    let flags = ["-p", &publish, "--max-cpus", "2", "--max-memory", "512m", "--cpus", "1"];
    let _it = run(node, "grows", &flags);
    up(node, "grows", 1);
    node.ok(&["pause", "grows"]);
    assert!(http(port, "/").is_none(), "a frozen guest answers");
    node.ok(&["unpause", "grows"]);
    within(PATIENCE, "it goes on", || http(port, "/"));
    let has = || {
        let told = node.ok(&["exec", "grows", "grep", "MemTotal", "/proc/meminfo"]);
        told.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    node.ok(&["exec", "grows", "sh", "-c", "dd if=/dev/zero of=/root/zeros bs=1M count=3; sync"]);
    let stats: Value =
        serde_json::from_str(&node.ok(&["stats", "--no-stream", "-o", "json", "grows"])).unwrap();
    let disks = &stats[0]["stats"]["block"];
    assert!(disks[0].as_u64().unwrap() > 0 && disks[1].as_u64().unwrap() >= 3 << 20, "{stats}");
    let before = has();
    node.ok(&["update", "--cpus", "2", "--memory", "448m", "grows"]);
    node.await_field("grows", "/status/machine/cpus", &json!(2));
    node.await_field("grows", "/status/machine/memory", &json!(448 << 20));
    assert_eq!(node.ok(&["exec", "grows", "nproc"]).trim(), "2");
    assert!(has() > before + (100 << 10), "the guest has {} kB", has());
    node.ok(&["update", "--memory", "2g", "grows"]);
    until("what waits is said", || {
        let pending = node.field("grows", "/status/machine/pending").to_string();
        pending.contains("2 GiB of memory").then_some(())
    });
    assert!(http(port, "/").is_some());
}

#[test]
fn what_no_machine_can_have() {
    let Some(node) = node() else { return };
    let refused = |flags: &[&str], image: &str, word: &str| {
        let _it = Named(node, "none");
        let told = node.hull(&[&["run", "-d", "--name", "none"], flags, &[image]].concat());
        assert_ne!(told.code, 0, "{flags:?} was taken");
        assert!(told.stderr.contains(word), "{flags:?}: {}", told.stderr);
        let paths = node.root().join("run/hull/machines");
        let left = std::fs::read_dir(paths).map_or(0, |files| files.flatten().count());
        (told, left)
    };
    refused(&["--memory", "9000g"], IMAGE, "the node has");
    refused(&["--pci", "0000:ff:1f.7"], IMAGE, "no PCI device");
    refused(&["--pci", "nonsense"], IMAGE, "is not a PCI address");
    refused(&["--root-size", "1m"], IMAGE, "smaller than the image's");
    refused(&["--network", "host"], IMAGE, "network of its own");
    refused(&["--firmware", "floppy"], IMAGE, "is no firmware");
    refused(&["--tpm"], "busybox", "carries no disk");
    refused(&["--disk", "none-data"], "busybox", "as a directory");
    let seed = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(seed.path(), "#cloud-config\nusers: [").unwrap();
    refused(&["--cloud-init", seed.path().to_str().unwrap()], IMAGE, "line 2");
    let container = Named(node, "plain");
    node.ok(&["run", "-d", "--name", "plain", "busybox", "sleep", "600"]);
    for words in [&["snapshot", "create", "plain"][..], &["stop", "--save", "plain"]] {
        let told = node.hull(words);
        assert!(told.code == 1 && told.stderr.contains("is no machine"), "{}", told.stderr);
    }
    drop(container);
    let never = Named(node, "never");
    node.ok(&["create", "--name", "never", IMAGE]);
    let file = seed.path().to_str().unwrap();
    for words in [["cp", file, "never:/root/f"], ["cp", "never:/etc/hostname", "-"]] {
        let told = node.hull(&words);
        assert!(told.code != 0 && told.stderr.contains("is not running"), "{}", told.stderr);
    }
    drop(never);
    node.hull(&["volume", "rm", "none-data"]);
}

/// On a network with IPv6 a machine has the instance's address, a route by its gateway, and its name.
#[test]
fn a_machine_with_an_address_of_each_family() {
    let Some(node) = node() else { return };
    // One of a try before is as good.
    node.hull(&["network", "create", "--ipv6", "six"]);
    let it = run(node, "sixth", &["--network", "six"]);
    up(node, "sixth", 1);
    let address = node.field("sixth", "/spec/placement/interfaces/0/ipv6");
    let address = address.as_str().unwrap().split('/').next().unwrap().to_owned();
    within(PATIENCE, "the router has told the guest of itself", || {
        let routes = node.hull(&["exec", "sixth", "ip", "-6", "route"]).text();
        routes.contains("default via fe80::").then_some(())
    });
    let script = format!("ping -6 -c 3 -W 5 {address} && nslookup -type=AAAA sixth");
    let told = node.ok(&["run", "--rm", "--network", "six", "busybox", "sh", "-c", &script]);
    assert!(told.contains(&format!("Address: {address}")), "{told}");
    drop(it);
    node.ok(&["network", "rm", "six"]);
}

/// A machine as it is becomes an image, running or not, and a machine of that image has its own identity.
#[test]
fn an_image_is_made_of_a_machine() {
    let Some(node) = node() else { return };
    let _first = run(node, "model", &[]);
    up(node, "model", 1);
    node.ok(&["exec", "model", "sh", "-c", "echo made > /www/page; sync"]);
    node.ok(&["commit", "model", "made-of-model:1"]);
    node.ok(&["exec", "model", "sh", "-c", "echo later > /www/page; sync"]);
    node.ok(&["stop", "-t", "60", "model"]);
    node.ok(&["commit", "model", "made-of-model:2"]);
    for (name, image, page) in
        [("cast1", "made-of-model:1", "made"), ("cast2", "made-of-model:2", "later")]
    {
        let _it = Named(node, name);
        node.ok(&[&["run", "-d", "--name", name], &SMALL[..], &[image]].concat());
        up(node, name, 1);
        assert_eq!(node.ok(&["exec", name, "cat", "/www/page"]), page);
        assert_eq!(node.ok(&["exec", name, "hostname"]), name);
    }
    assert_eq!(node.hull(&["commit", "model"]).code, 2, "an image without a name");
    node.ok(&["image", "rm", "made-of-model:1", "made-of-model:2"]);
}

/// An application of two containers and a machine, healthy, each found by its name.
#[test]
fn a_machine_among_containers() {
    let Some(node) = node() else { return };
    let script = tempfile::NamedTempFile::new().unwrap();
    // The database of the story: it serves what it has fetched from the front, by its name.
    std::fs::write(
        script.path(),
        "#!/bin/sh\n(while ! wget -qO /www/front http://mixed-front/; do sleep 1; done) &\n",
    )
    .unwrap();
    let often = ["--health-interval", "1s", "--health-retries", "120"];
    let front = Named(node, "mixed-front");
    node.ok(&[
        &["run", "-d", "--name", "mixed-front", "--health-http", "80/"],
        &often[..],
        &["nginx"],
    ]
    .concat());
    let seed = script.path().to_str().unwrap();
    let flags = ["--cloud-init", seed, "--health-http", "80/front"];
    let db = run(node, "mixed-db", &[&flags[..], &often].concat());
    let app = Named(node, "mixed-app");
    let loops =
        "while :; do wget -qO- http://mixed-db/front && break; sleep 1; done; exec sleep 600";
    node.ok(&["run", "-d", "--name", "mixed-app", "busybox", "sh", "-c", loops]);
    within(PATIENCE, "the machine is healthy", || {
        (node.field("mixed-db", "/status/health") == json!("healthy")).then_some(())
    });
    within(PATIENCE, "the container reached the machine by its name", || {
        node.ok(&["logs", "mixed-app"]).contains("nginx").then_some(())
    });
    drop((front, db, app));
}

/// A guest that has no agent, no first-boot data and nobody at its serial line boots too, from a
/// kernel, an initramfs and a bare disk that nobody here made.
#[test]
fn a_guest_nobody_here_made() {
    let Some(node) = node() else { return };
    // Built when somebody names it: it is fetched from farther away than the others.
    if http(testing::node::REGISTRY.port(), "/v2/hull-test/alpine-machine/tags/list").is_none() {
        println!("passed over: `make images SUBSET=alpine-machine` builds it");
        return;
    }
    let named = Named(node, "foreign");
    node.ok(&["run", "-d", "--name", "foreign", "--memory", "512m", "hull-test/alpine-machine"]);
    within(PATIENCE, "it has started all it starts", || {
        node.ok(&["logs", "foreign"]).contains("starting pid").then_some(())
    });
    drop(named);
}

#[test]
fn the_platform_dies_at_work_on_a_machine() {
    if node().is_none() {
        return;
    }
    let Some(node) = &mortal() else { return };
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:80");
    node.ok(&["image", "pull", IMAGE]);
    let dies_at = |place: &str, during: &[&str]| node.dies_at(place, during);
    let answers = |after: &str| {
        within(PATIENCE, &format!("the guest answers after a death at {after}"), || {
            http(port, "/")
        });
    };
    let start = [&["run", "-d", "--name", "mortal", "-p", &publish], &SMALL[..], &[IMAGE]].concat();
    dies_at("network.links", &start);
    let _it = Named(node, "mortal");
    answers("network.links");
    // A snapshot that no list has does not stand in the way of another.
    dies_at("snapshot.taken", &["snapshot", "create", "mortal", "one"]);
    answers("snapshot.taken");
    node.ok(&["snapshot", "create", "mortal", "one"]);
    dies_at("snapshot.removed", &["snapshot", "rm", "mortal", "one"]);
    node.ok(&["snapshot", "rm", "mortal", "one"]);
    assert_eq!(node.ok(&["snapshot", "ls", "mortal", "-o", "name"]), "");
    // Between the writing of its memory and its end: the wish stands, and is done by the next.
    dies_at("save.written", &["stop", "--save", "mortal"]);
    node.await_phase("mortal", "exited");
    assert_eq!(node.field("mortal", "/status/machine/end"), json!("saved"));
    // Begun, and not told to go on.
    dies_at("resume.begun", &["start", "mortal"]);
    answers("resume.begun");
    dies_at("save.marked", &["stop", "--save", "mortal"]);
    node.await_phase("mortal", "exited");
    node.ok(&["start", "mortal"]);
    answers("save.marked");
    dies_at("remove.network", &["rm", "-f", "mortal"]);
    until("nothing is left of it", || {
        let left = std::fs::read_dir(node.root().join("run/hull/machines"));
        (node.ok(&["ps", "-a", "-o", "name"]).is_empty()
            && left.map_or(0, |files| files.flatten().count()) == 0)
            .then_some(())
    });
}
