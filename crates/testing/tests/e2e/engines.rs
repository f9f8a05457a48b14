//! Another version of containerd takes the place of the one that runs.

use serde_json::json;
use testing::node::{Setup, until};

use super::process::{able, begin};

/// A start on the machine's own containerd, then the one that `HULL_CONTAINERD` names: what
/// `scripts/engines` goes through.
#[test]
fn an_upgrade_of_containerd_stops_nothing() {
    if !able() {
        return;
    }
    let Some(newer) = std::env::var_os("HULL_CONTAINERD") else {
        return println!("passed over: HULL_CONTAINERD names no other containerd");
    };
    let node = Setup::new().unwrap().containerd("containerd".into()).start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bind = format!("{}:/d", dir.path().display());
    let count = "i=0; until [ -e /d/go ]; do i=$((i+1)); echo $i; usleep 10000; done; exit 6";
    let _counts = begin(&node, "counts", &["-v", &bind], count);
    let pid = node.field("counts", "/status/containers/0/pid");
    let before = node.containerd().unwrap();

    node.use_containerd(&newer).unwrap();
    node.kill_daemon().unwrap();
    node.await_ready();
    assert_ne!(node.containerd().unwrap(), before);
    let program = std::fs::read_link(format!("/proc/{}/exe", node.containerd().unwrap())).unwrap();
    assert_eq!(program, std::fs::canonicalize(&newer).unwrap());
    assert_eq!(node.field("counts", "/status/containers/0/pid"), pid);
    assert_eq!(node.ok(&["exec", "counts", "echo", "in"]), "in");
    let lines = || node.ok(&["logs", "counts"]).lines().count();
    let seen = lines();
    until("it goes on", || (lines() > seen + 10).then_some(()));

    // It ends while the new containerd is away, and its code is known all the same.
    node.ok(&["down"]);
    testing::node::kill(node.containerd().unwrap()).unwrap();
    std::fs::write(dir.path().join("go"), "").unwrap();
    let process = format!("/proc/{pid}");
    until("it ends", || (!std::path::Path::new(&process).exists()).then_some(()));
    assert_eq!(node.up().code, 0, "{}", node.log());
    node.await_phase("counts", "exited");
    assert_eq!(node.field("counts", "/status/containers/0/exitCode"), json!(6));
    let text = node.ok(&["logs", "counts"]);
    let all: Vec<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(all, (1..=u32::try_from(all.len()).unwrap()).collect::<Vec<_>>());
    node.ok(&["run", "--rm", "busybox", "true"]);
}
