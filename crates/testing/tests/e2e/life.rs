//! The life of an instance: stop, restart, freeze, health, names.

use serde_json::{Value, json};

use super::process::{begin, node};

#[test]
fn stopping_gives_time_to_end() {
    let Some(node) = node() else { return };
    let _it = begin(
        node,
        "polite",
        &[],
        "trap 'echo bye; exit 5' TERM; touch /on; while :; do usleep 10000; done",
    );
    testing::node::until("the trap is set", || {
        (node.hull(&["exec", "polite", "ls", "/on"]).code == 0).then_some(())
    });
    node.ok(&["stop", "polite"]);
    assert_eq!(node.field("polite", "/status/containers/0/exitCode"), json!(5));
    assert_eq!(node.ok(&["logs", "polite"]), "bye");
}

#[test]
fn who_does_not_stop_is_killed() {
    let Some(node) = node() else { return };
    let _it = begin(node, "deaf", &[], "trap '' TERM; while :; do usleep 10000; done");
    node.ok(&["stop", "-t", "1", "deaf"]);
    assert_eq!(node.field("deaf", "/status/containers/0/exitCode"), json!(137));
    node.ok(&["start", "deaf"]);
    node.await_phase("deaf", "running");
}

#[test]
fn who_goes_at_its_end_leaves_its_name_to_the_next() {
    let Some(node) = node() else { return };
    for _ in 0..3 {
        node.ok(&["run", "-d", "--rm", "--name", "brief", "busybox", "sleep", "1000"]);
        node.ok(&["stop", "-t", "0", "brief"]);
        assert_eq!(node.ok(&["run", "--rm", "--name", "brief", "busybox", "echo", "next"]), "next");
    }
}

#[test]
fn failures_are_tried_again_so_often() {
    let Some(node) = node() else { return };
    let _it = begin(node, "fails", &["--restart", "on-failure:2"], "echo try; exit 4");
    node.await_phase("fails", "exited");
    assert_eq!(node.ok(&["logs", "fails"]), "try\ntry\ntry");
    assert_eq!(node.field("fails", "/status/restarts"), json!(2));
    assert_eq!(node.field("fails", "/status/containers/0/exitCode"), json!(4));
}

#[test]
fn frozen_and_thawed() {
    let Some(node) = node() else { return };
    let _it = begin(node, "ice", &[], "exec sleep 600");
    node.ok(&["pause", "ice"]);
    assert_eq!(node.field("ice", "/status/phase"), json!("paused"));
    node.ok(&["unpause", "ice"]);
    assert_eq!(node.field("ice", "/status/phase"), json!("running"));
    assert_eq!(node.ok(&["exec", "ice", "echo", "on"]), "on");
}

#[test]
fn health_is_checked() {
    let Some(node) = node() else { return };
    let flags =
        ["--health-cmd", "test -e /well", "--health-interval", "200ms", "--health-retries", "2"];
    let _it = begin(node, "patient", &flags, "exec sleep 600");
    node.await_field("patient", "/status/health", &json!("unhealthy"));
    node.ok(&["exec", "patient", "touch", "/well"]);
    node.ok(&["wait", "--for", "healthy", "-t", "30s", "patient"]);
    assert_eq!(node.field("patient", "/status/health"), json!("healthy"));
}

#[test]
fn health_over_the_network() {
    let Some(node) = node() else { return };
    for (name, flags, health) in [
        ("by-http", ["--health-http", "80/"], "healthy"),
        ("by-http-not", ["--health-http", "80/none"], "unhealthy"),
        ("by-tcp", ["--health-tcp", "80"], "healthy"),
        ("by-grpc-not", ["--health-grpc", "80/any"], "unhealthy"),
    ] {
        let _it = super::process::Named(node, name);
        let often = ["--health-interval", "200ms", "--health-retries", "3"];
        node.ok(&[&["run", "-d", "--name", name], &flags[..], &often, &["nginx"]].concat());
        node.await_field(name, "/status/health", &json!(health));
    }
}

#[test]
fn another_name() {
    let Some(node) = node() else { return };
    let _it = begin(node, "after", &[], "exec sleep 600");
    node.ok(&["rename", "after", "before"]);
    assert_eq!(node.hull(&["inspect", "after"]).code, 3);
    node.ok(&["rename", "before", "after"]);
    assert_eq!(node.field("after", "/meta/name"), json!("after"));
}

#[test]
fn the_end_is_waited_for() {
    let Some(node) = node() else { return };
    // From outside: a process inside would die with the container, before or after its own end.
    let dir = tempfile::tempdir().unwrap();
    let bind = format!("{}:/d", dir.path().display());
    let script = "until [ -e /d/go ]; do usleep 10000; done; exit 6";
    let _it = begin(node, "ends", &["-v", &bind], script);
    let mut waiter = node.command(&["wait", "ends"]);
    let waiter = waiter.stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::fs::write(dir.path().join("go"), "").unwrap();
    let output = waiter.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "6");
}

#[test]
fn the_list_is_json() {
    let Some(node) = node() else { return };
    let _it = begin(node, "listed", &["-l", "e2e=listed"], "exec sleep 600");
    let list: Value =
        serde_json::from_str(&node.ok(&["ps", "-o", "json", "-l", "e2e=listed"])).unwrap();
    let items = list.as_array().or_else(|| list["items"].as_array()).unwrap();
    assert_eq!(items.len(), 1, "{list}");
    assert_eq!(items[0]["meta"]["name"], "listed");
}

#[test]
fn nothing_is_left_of_what_was_removed() {
    let Some(node) = node() else { return };
    let it = begin(node, "gone", &[], "exec sleep 600");
    let id = node.field("gone", "/meta/id").as_str().unwrap().to_owned();
    drop(it);
    assert!(!node.root().join("run/hull/netns").join(&id).exists());
    assert!(!node.root().join("var/lib/hull/logs").join(&id).exists());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&id), "{mounts}");
}
