//! What cannot be: each names the object, the reason and the next step, and leaves nothing.

use super::process::{begin, node};

#[test]
fn an_image_that_does_not_exist() {
    let Some(node) = node() else { return };
    let run = node.hull(&["run", "--name", "imageless", "127.0.0.1:5555/no/such"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("no/such") && run.stderr.contains("try:"), "{}", run.stderr);
    assert!(node.inspect("imageless").is_none());
}

#[test]
fn an_instance_that_does_not_exist() {
    let Some(node) = node() else { return };
    for verb in ["inspect", "stop", "start", "kill", "logs", "rm", "wait", "pause"] {
        let run = node.hull(&[verb, "nobody"]);
        assert_eq!(run.code, 3, "{verb}: {}", run.stderr);
        assert!(run.stderr.contains("nobody"), "{verb}: {}", run.stderr);
    }
}

#[test]
fn a_name_that_is_taken() {
    let Some(node) = node() else { return };
    let _it = begin(node, "taken", &[], "exec sleep 600");
    let run = node.hull(&["run", "-d", "--name", "taken", "busybox"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stderr.contains("taken") && run.stderr.contains("try:"), "{}", run.stderr);
}

#[test]
fn values_that_are_wrong() {
    let Some(node) = node() else { return };
    for flags in
        [["-m", "1k"], ["-w", "relative"], ["--sysctl", "kernel.panic=1"], ["--name", "Not a name"]]
    {
        let run = node.hull(&["run", "--rm", flags[0], flags[1], "busybox", "true"]);
        assert_eq!(run.code, 2, "{flags:?}: {}", run.stderr);
    }
}

#[test]
fn an_instance_that_runs_is_not_removed() {
    let Some(node) = node() else { return };
    let _it = begin(node, "busy", &[], "exec sleep 600");
    let run = node.hull(&["rm", "busy"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
}
