//! The machine is started anew: what should run runs, where it was, with what it had.

use serde_json::json;
use testing::node::{Setup, until, within};

use super::machines::PATIENCE;
use super::network::free_port;
use super::process::able;

/// Says its name once, then counts.
const COUNT: &str = "echo run; i=0; while :; do i=$((i+1)); echo $i; usleep 20000; done";

#[test]
fn after_a_power_cut() {
    if !able() {
        return;
    }
    let node = Setup::new().unwrap().prepare().unwrap();
    let up = node.boot("7fd7e4a3-0000-4000-8000-000000000001");
    assert_eq!(up.code, 0, "{}\n{}", up.stderr, node.log());
    let port = free_port();
    let publish = format!("{port}:80");
    node.ok(&["volume", "create", "--size", "64m", "sized"]);
    node.ok(&["network", "create", "--subnet", "10.213.77.0/24", "own"]);
    let run = |name: &str, flags: &[&str], script: &str| {
        let head = ["run", "-d", "--name", name];
        node.ok(&[&head[..], flags, &["busybox", "sh", "-c", script]].concat());
    };
    run("always", &["--restart", "always", "-v", "data:/d", "-v", "sized:/s"], COUNT);
    run(
        "unless",
        &["--restart", "unless-stopped", "--network", "own", "--ip", "10.213.77.9"],
        COUNT,
    );
    run("failing", &["--restart", "on-failure"], COUNT);
    run("by-hand", &["--restart", "unless-stopped"], COUNT);
    run("once", &[], COUNT);
    run("brief", &["--rm"], COUNT);
    node.ok(&["create", "--name", "made", "busybox", "true"]);
    node.ok(&["run", "-d", "--name", "web", "--restart", "always", "-p", &publish, "nginx"]);
    node.ok(&["stop", "-t", "0", "by-hand"]);
    node.ok(&["exec", "always", "sh", "-c", "echo kept >/d/file; echo sized >/s/file; sync"]);
    let names = ["always", "unless", "web", "failing"];
    let address = |name: &str| node.field(name, "/spec/placement/interfaces/0/ipv4");
    let addresses = names.map(address);
    let lines = |name: &str| node.ok(&["logs", name]).lines().count();
    for name in ["always", "once"] {
        until("it has said something", || (lines(name) > 20).then_some(()));
    }

    node.cut_power().unwrap();
    let up = node.boot("7fd7e4a3-0000-4000-8000-000000000002");
    assert_eq!(up.code, 0, "{}\n{}", up.stderr, node.log());

    for name in names {
        node.await_phase(name, "running");
        assert_eq!(node.field(name, "/status/containers/0/restarts"), json!(1), "{name}");
        assert_eq!(node.ok(&["exec", name, "cat", "/sys/class/net/lo/flags"]), "0x9", "{name}");
    }
    assert_eq!(names.map(address), addresses, "addresses stay");
    assert!(node.ok(&["exec", "unless", "ip", "addr"]).contains("10.213.77.9/24"));
    assert_eq!(node.ok(&["exec", "always", "cat", "/d/file", "/s/file"]), "kept\nsized");
    assert!(node.ok(&["exec", "always", "grep", " /s ", "/proc/mounts"]).contains("ext4"));
    until("the published port answers", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    until("names are answered", || {
        (node.hull(&["exec", "always", "wget", "-qO-", "http://web/"]).code == 0).then_some(())
    });

    // What nothing starts again says why it ended; what did not run does not.
    node.await_phase("once", "exited");
    assert_eq!(node.field("once", "/status/containers/0/exitCode"), json!(255));
    assert_eq!(node.field("once", "/status/reason/code"), json!("MachineRestarted"));
    assert_eq!(node.field("by-hand", "/status/phase"), json!("exited"));
    assert_eq!(node.field("made", "/status/phase"), json!("pending"));
    until("what was to go at its end is gone", || node.inspect("brief").is_none().then_some(()));

    // Logs are whole: a run begins at 1 and leaves nothing out.
    until("it goes on", || {
        (node.ok(&["logs", "always"]).matches("run").count() == 2).then_some(())
    });
    for name in ["always", "once"] {
        let text = node.ok(&["logs", name]);
        for run in text.split("run\n").skip(1) {
            let numbers: Vec<u32> = run.lines().map(|line| line.parse().unwrap()).collect();
            let expected: Vec<u32> = (1..=u32::try_from(numbers.len()).unwrap()).collect();
            assert_eq!(numbers, expected, "{name}");
        }
    }
    node.ok(&["start", "once"]);
    node.ok(&["rm", "-fv", "once"]);
}

#[test]
fn a_guest_after_a_power_cut() {
    if !able() {
        return;
    }
    let node = Setup::new().unwrap().prepare().unwrap();
    let boot = |id: u8| {
        let up = node.boot(&format!("7fd7e4a3-0000-4000-8000-00000000000{id}"));
        assert_eq!(up.code, 0, "{}\n{}", up.stderr, node.log());
    };
    boot(1);
    for (name, policy) in [("vm", "always"), ("once", "no")] {
        let disk = format!("{name}-data,size=16m");
        let flags = ["--memory", "192m", "--restart", policy, "--disk", &disk, "hull-tiny"];
        node.ok(&[&["run", "-d", "--name", name][..], &flags].concat());
    }
    let answers = || {
        within(PATIENCE, "the agent answers", || {
            (node.hull(&["exec", "vm", "true"]).code == 0).then_some(())
        });
    };
    answers();
    node.ok(&["exec", "vm", "sh", "-c", "echo kept > /root/file; sync"]);
    let address = || node.field("vm", "/spec/placement/interfaces/0/ipv4");
    let before = address();
    node.cut_power().unwrap();
    boot(2);
    answers();
    assert_eq!(node.ok(&["exec", "vm", "cat", "/root/file"]), "kept");
    assert_eq!(address(), before);
    assert_eq!(node.field("vm", "/status/containers/0/restarts"), json!(1));
    node.await_phase("once", "exited");
    assert_eq!(node.field("once", "/status/reason/code"), json!("MachineRestarted"));
    node.ok(&["rm", "-fv", "vm", "once"]);
}
