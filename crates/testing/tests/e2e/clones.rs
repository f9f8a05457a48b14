//! Machines made of snapshots of others.

use std::time::Duration;

use serde_json::{Value, json};
use testing::node::{Node, within};

use super::process::{Named, begin, mortal, node};

/// A guest emulated on a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(120);

fn answers(node: &Node, name: &str) {
    within(PATIENCE, &format!("the agent of {name} answers"), || {
        (node.hull(&["exec", name, "true"]).code == 0).then_some(())
    });
}

fn machine<'a>(node: &'a Node, name: &'a str, flags: &[&str]) -> Named<'a> {
    let named = Named(node, name);
    let words = ["run", "-d", "--name", name, "--memory", "192m"];
    node.ok(&[&words, flags, &["hull-tiny"]].concat());
    answers(node, name);
    named
}

fn guest(node: &Node, name: &str, script: &str) -> String {
    node.ok(&["exec", name, "sh", "-c", script])
}

/// Writes a word to the root disk and to the disk of that serial number.
fn write(node: &Node, name: &str, disk: &str, word: &str) {
    let script = format!(
        "echo {word} > /root/word; for d in /sys/block/vd*; do \
         [ \"$(cat $d/serial)\" = {disk} ] && echo {word} > /dev/${{d##*/}}; done; sync"
    );
    guest(node, name, &script);
}

/// The words on both, as one line.
fn read(node: &Node, name: &str, disk: &str) -> String {
    let script = format!(
        "cat /root/word; for d in /sys/block/vd*; do \
         [ \"$(cat $d/serial)\" = {disk} ] && head -n 1 /dev/${{d##*/}}; done; true"
    );
    guest(node, name, &script).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_machine_is_made_of_a_snapshot() {
    let Some(node) = node() else { return };
    let origin = machine(node, "origin", &["--disk", "origin-data,size=32m", "-l", "tier=db"]);
    write(node, "origin", "origin-data", "then");
    node.ok(&["snapshot", "create", "origin", "moment"]);
    write(node, "origin", "origin-data", "now");

    let words = ["snapshot", "clone", "origin", "moment", "copy"];
    node.ok(&[&words[..], &["--plan"]].concat());
    assert_eq!(node.hull(&["inspect", "copy"]).code, 3, "a plan made something");
    let copy = Named(node, "copy");
    node.ok(&words);
    answers(node, "copy");
    assert_eq!(read(node, "copy", "origin-data"), "then then");
    assert_eq!(read(node, "origin", "origin-data"), "now now");
    // Asked again it is the same one.
    let id = node.field("copy", "/meta/id");
    node.ok(&words);
    assert_eq!(node.field("copy", "/meta/id"), id);

    let identity = "hostname; cat /sys/class/net/eth0/address /sys/class/dmi/id/product_uuid; \
                    ip -4 -o addr show eth0 | awk '{print $4}'";
    let lines = |name| guest(node, name, identity).lines().map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (lines("origin"), lines("copy"));
    assert_eq!((first.len(), second.len(), second[0].as_str()), (4, 4, "copy"));
    assert!(first.iter().zip(&second).all(|(one, other)| one != other), "{first:?} {second:?}");
    assert_eq!(node.field("copy", "/spec/placement/interfaces/0/ipv4"), json!(second[3]));
    assert_eq!(node.field("copy", "/meta/labels"), json!({}));

    // It needs nothing of the other any more, and is grown, stopped and started as any other.
    node.ok(&["snapshot", "rm", "origin", "moment"]);
    drop(origin);
    node.ok(&["update", "--disk", "copy-origin-data,size=48m", "copy"]);
    node.ok(&["restart", "-t", "0", "copy"]);
    answers(node, "copy");
    assert_eq!(read(node, "copy", "origin-data"), "then then");
    drop(copy);
    node.ok(&["volume", "rm", "origin-data", "copy-origin-data"]);
}

#[test]
fn what_a_clone_waits_for_is_kept() {
    let Some(node) = node() else { return };
    let source = machine(node, "source", &["--disk", "src,size=16m"]);
    write(node, "source", "src", "then");
    node.ok(&["stop", "-t", "60", "source"]);
    node.ok(&["snapshot", "create", "source", "moment"]);
    let later = Named(node, "later");
    node.ok(&["snapshot", "clone", "--no-start", "source", "moment", "later"]);
    for words in [&["snapshot", "rm", "source", "moment"][..], &["rm", "source"]] {
        let refused = node.hull(words);
        assert!(refused.code == 4 && refused.stderr.contains("later"), "{}", refused.stderr);
    }
    node.ok(&["start", "later"]);
    answers(node, "later");
    assert_eq!(read(node, "later", "src"), "then then");
    node.ok(&["snapshot", "rm", "source", "moment"]);
    drop(later);

    let refused = |words: &[&str], code: i32, word: &str| {
        let told = node.hull(&[&["snapshot", "clone"], words].concat());
        assert!(told.code == code && told.stderr.contains(word), "{words:?}: {}", told.stderr);
    };
    node.ok(&["snapshot", "create", "source", "other"]);
    refused(&["source", "none", "fresh"], 3, "no snapshot");
    refused(&["source", "other", "source"], 4, "source");
    refused(&["source", "other", "No Name"], 2, "name");
    refused(&["nobody", "other", "fresh"], 3, "nobody");
    let container = begin(node, "plainly", &[], "sleep 600");
    refused(&["plainly", "other", "fresh"], 1, "is no machine");
    drop(container);
    // Force takes away what it waits for, and the clone says so.
    let orphan = Named(node, "orphan");
    node.ok(&["snapshot", "clone", "--no-start", "source", "other", "orphan"]);
    drop(source);
    let told = node.hull(&["start", "orphan"]);
    assert!(told.code != 0 && told.stderr.contains("is gone"), "{}", told.stderr);
    drop(orphan);
    assert_eq!(node.hull(&["inspect", "fresh"]).code, 3);
    node.ok(&["volume", "rm", "src", "later-src", "orphan-src"]);
}

#[test]
fn the_platform_dies_while_it_copies() {
    if node().is_none() {
        return;
    }
    let Some(node) = &mortal() else { return };
    let first = machine(node, "first", &["--disk", "data,size=16m"]);
    write(node, "first", "data", "then");
    node.ok(&["snapshot", "create", "first", "moment"]);
    write(node, "first", "data", "now");
    for (place, name) in [("clone.volume", "second"), ("clone.root", "third")] {
        node.dies_at(place, &["snapshot", "clone", "first", "moment", name]);
        let _it = Named(node, name);
        answers(node, name);
        assert_eq!(read(node, name, "data"), "then then", "after a death at {place}");
        let id = node.field(name, "/meta/id");
        let directory = node.root().join("var/lib/hull/instances").join(id.as_str().unwrap());
        for draft in ["root.qcow2", "base-of-clone"] {
            let left = std::fs::read_dir(&directory).unwrap().flatten();
            let left = left.map(|entry| entry.file_name());
            assert!(left.into_iter().all(|it| it != draft), "{draft} is left");
        }
        assert_eq!(node.field(name, "/status/restarts"), Value::from(0));
    }
    assert_eq!(read(node, "first", "data"), "now now");
    drop(first);
}
