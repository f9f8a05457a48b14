//! Starting the platform, and settings that it takes while it runs. A node of its own: it is stopped.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use testing::node::Node;

use super::process::able;

fn own_node() -> Option<Node> {
    able().then(|| Node::start().unwrap())
}

fn settings(node: &Node) -> std::path::PathBuf {
    node.root().join("etc/hull/hull.toml")
}

#[test]
fn a_start_that_fails_says_why_at_once() {
    let Some(node) = own_node() else { return };
    node.ok(&["down"]);
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let before = std::fs::read_to_string(settings(&node)).unwrap();
    let after = before.replace("127.0.0.1:0", &taken.to_string());
    assert_ne!(before, after);
    std::fs::write(settings(&node), after).unwrap();

    let begun = Instant::now();
    let up = node.hull(&["up"]);
    assert_eq!(up.code, 5, "{}", up.stderr);
    assert!(begun.elapsed() < Duration::from_secs(20), "it took {:?}", begun.elapsed());
    let says = |text: &str| up.stderr.contains(text);
    assert!(says(&taken.to_string()) && says("in use") && says("try:"), "{}", up.stderr);

    drop(holder);
    node.ok(&["up"]);
    assert!(node.ok(&["up"]).contains("nothing was changed"));
}

#[test]
fn a_setting_that_is_wrong_is_said_with_its_line() {
    let Some(node) = own_node() else { return };
    node.ok(&["down"]);
    std::fs::write(settings(&node), "[api]\nlisten = 7\n").unwrap();
    let up = node.hull(&["up"]);
    assert_ne!(up.code, 0);
    assert!(up.stderr.contains("hull.toml") && up.stderr.contains("line 2"), "{}", up.stderr);
}

#[test]
fn a_mirror_that_is_added_needs_no_restart() {
    let Some(node) = own_node() else { return };
    let image = "mirrored.invalid/library/busybox";
    let run = node.hull(&["run", "--rm", image, "true"]);
    assert_ne!(run.code, 0, "there is no such registry");
    let mut file = std::fs::OpenOptions::new().append(true).open(settings(&node)).unwrap();
    let mirror = format!("http://{}", testing::node::REGISTRY);
    write!(file, "[registries.\"mirrored.invalid\"]\nmirrors = [\"{mirror}\"]\n").unwrap();
    drop(file);
    node.ok(&["run", "--rm", image, "true"]);
}
