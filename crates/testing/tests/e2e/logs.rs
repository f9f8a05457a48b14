//! What instances printed, also when its files have been rotated.

use super::process::{begin, node};

#[test]
fn the_last_lines() {
    let Some(node) = node() else { return };
    let _it = begin(node, "tail", &[], "seq 1 100");
    node.ok(&["wait", "tail"]);
    assert_eq!(node.ok(&["logs", "-n", "2", "tail"]), "99\n100");
    assert_eq!(node.ok(&["logs", "tail"]).lines().count(), 100);
}

#[test]
fn lines_since_a_time() {
    let Some(node) = node() else { return };
    let _it = begin(node, "since", &[], "echo early; sleep 1; echo late; exec sleep 600");
    let stamped = testing::node::until("both lines are there", || {
        let all = node.ok(&["logs", "-t", "since"]);
        (all.lines().count() == 2).then_some(all)
    });
    let (time, line) = stamped.lines().last().unwrap().split_once(' ').unwrap();
    assert_eq!(line, "late");
    assert_eq!(node.ok(&["logs", "--since", time, "since"]), "late");
}

#[test]
fn following_sees_every_line_across_rotation() {
    let Some(node) = node() else { return };
    // Room for all of it, a record's head included: a follower that falls behind loses nothing.
    let flags = ["--log-opt", "max-size=16k", "--log-opt", "max-file=200"];
    // The first line waits for the follower, which is there before the second.
    let _it = begin(node, "follow", &flags, "until [ -e /go ]; do usleep 10000; done; seq 1 20000");
    let mut follower = node.command(&["logs", "-f", "follow"]);
    let follower = follower.stdout(std::process::Stdio::piped()).spawn().unwrap();
    node.ok(&["exec", "follow", "touch", "/go"]);
    let output = follower.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let wanted: String = (1..=20000).map(|n| format!("{n}\n")).collect();
    assert!(text == wanted, "{} lines, the last {:?}", text.lines().count(), text.lines().last());
}

#[test]
fn both_streams_are_kept_apart() {
    let Some(node) = node() else { return };
    let _it = begin(node, "streams", &[], "echo out; echo err >&2");
    node.ok(&["wait", "streams"]);
    let logs = node.hull(&["logs", "streams"]);
    assert_eq!((logs.text().as_str(), logs.stderr.trim()), ("out", "err"));
}
