//! The platform killed at bad moments. Each test has a node of its own.

use serde_json::json;
use testing::node::{Node, kill, until};

use super::process::{able, begin};

fn own() -> Option<Node> {
    able().then(|| Node::start().unwrap())
}

#[test]
fn a_killed_daemon_loses_no_line() {
    let Some(node) = own() else { return };
    let _it =
        begin(&node, "writer", &[], "i=0; while :; do i=$((i+1)); echo $i; usleep 10000; done");
    let pid = node.field("writer", "/status/containers/0/pid");
    let lines = |least: usize| {
        until("it goes on writing", || {
            let logs = node.hull(&["logs", "writer"]);
            let lines: Vec<u32> =
                logs.text().lines().filter_map(|line| line.parse().ok()).collect();
            (lines.len() >= least).then_some(lines)
        })
    };
    for _ in 0..3 {
        let before = lines(20).len();
        node.kill_daemon().unwrap();
        node.await_ready();
        lines(before + 50);
    }
    let all = lines(100);
    assert_eq!(all, (1..=u32::try_from(all.len()).unwrap()).collect::<Vec<_>>());
    assert_eq!(node.field("writer", "/status/containers/0/pid"), pid);
    assert_eq!(node.field("writer", "/status/containers/0/restarts"), json!(0));
}

#[test]
fn ends_that_nobody_saw_are_told() {
    let Some(node) = own() else { return };
    let dir = tempfile::tempdir().unwrap();
    let bind = format!("{}:/d", dir.path().display());
    let script = |code: u8| {
        format!("echo x >>/d/runs-{code}; until [ -e /d/go ]; do usleep 10000; done; exit {code}")
    };
    let _once = begin(&node, "once", &["-v", &bind], &script(3));
    let _again = begin(&node, "again", &["-v", &bind, "--restart", "on-failure:1"], &script(4));
    // Its end is told by the host: the process is gone.
    let ended = ["once", "again"].map(|name| node.field(name, "/status/containers/0/pid"));
    node.kill_daemon().unwrap();
    std::fs::write(dir.path().join("go"), "").unwrap();
    until("both end", || {
        let gone =
            |pid: &serde_json::Value| !std::path::Path::new(&format!("/proc/{pid}")).exists();
        ended.iter().all(gone).then_some(())
    });
    node.await_ready();
    node.await_phase("once", "exited");
    assert_eq!(node.field("once", "/status/containers/0/exitCode"), json!(3));
    node.await_phase("again", "exited");
    assert_eq!(node.field("again", "/status/containers/0/exitCode"), json!(4));
    assert_eq!(std::fs::read_to_string(dir.path().join("runs-3")).unwrap(), "x\n");
    assert_eq!(std::fs::read_to_string(dir.path().join("runs-4")).unwrap(), "x\nx\n");
}

#[test]
fn a_killed_containerd_takes_nothing_along() {
    let Some(node) = own() else { return };
    let _it = begin(&node, "survivor", &[], "exec sleep 600");
    let pid = node.field("survivor", "/status/containers/0/pid");
    kill(node.containerd().unwrap()).unwrap();
    until("programs can be run again", || {
        (node.hull(&["exec", "survivor", "true"]).code == 0).then_some(())
    });
    assert_eq!(node.field("survivor", "/status/containers/0/pid"), pid);
    node.ok(&["kill", "survivor"]);
    assert_eq!(node.ok(&["wait", "survivor"]), "137");
}

#[test]
fn killed_amid_twenty_starts() {
    const STARTS: usize = 20;
    let Some(node) = own() else { return };
    node.ok(&["run", "--rm", "busybox", "true"]);
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let node = &node;
        let starts: Vec<_> = (0..STARTS)
            .map(|i| {
                let name = format!("start-{i}");
                scope.spawn(move || {
                    let run = node.hull(&["run", "-d", "--name", &name, "busybox", "sleep", "600"]);
                    (run.code == 0).then_some(name)
                })
            })
            .collect();
        until("some run", || (node.tasks() >= 3).then_some(()));
        node.kill_daemon().unwrap();
        starts.into_iter().filter_map(|start| start.join().unwrap()).collect()
    });
    node.await_ready();
    for name in &acknowledged {
        node.await_phase(name, "running");
    }
    // Those recorded but not acknowledged are finished or told why not.
    let all: Vec<_> = until("all come to rest", || {
        let list = node.get("/v1/projects/default/instances").ok()?;
        let items = list["items"].as_array()?.clone();
        let rests = |phase: &serde_json::Value| phase == "running" || phase == "failed";
        items.iter().all(|item| rests(&item["status"]["phase"])).then_some(items)
    });
    let running = all.iter().filter(|item| item["status"]["phase"] == "running").count();
    for item in all.iter().filter(|item| item["status"]["phase"] == "failed") {
        assert!(item["status"]["reason"]["message"].is_string(), "{item}");
    }
    until("no container is left beyond them", || (node.tasks() == running).then_some(()));
    until("no namespace is left beyond them", || (node.namespaces() <= all.len()).then_some(()));
    let names = node.ok(&["ps", "-aq"]);
    node.ok(&[&["rm", "-f"], names.lines().collect::<Vec<_>>().as_slice()].concat());
    until("nothing is left", || (node.tasks() + node.namespaces() == 0).then_some(()));
}
