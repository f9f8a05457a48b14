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
    for (flag, value) in [
        ("-m", "1k"),
        ("-w", "relative"),
        ("--sysctl", "kernel.panic=1"),
        ("--name", "Not a name"),
        ("--stop-signal", "FOO"),
        ("--cap-add", "FLY"),
        ("--ulimit", "wings=1"),
        ("--pids-limit", "-5"),
        ("--memory-swappiness", "101"),
        ("--cpuset-cpus", "few"),
        ("--blkio-weight", "5"),
        ("--oom-score-adj", "5000"),
        ("--restart", "sometimes"),
        ("-p", "99999:80"),
        ("-p", "1-2:1-3"),
        ("-v", "data:relative"),
        ("--mount", "type=cloud,target=/x"),
        ("--health-tcp", "0"),
        ("--mac-address", "zz"),
        ("--add-host", "nothing"),
        ("--userns", "somebody"),
        ("--pid", "anyones"),
        ("--log-opt", "colour=red"),
        ("--pull", "perhaps"),
    ] {
        let run = node.hull(&["run", "-l", "e2e=wrong", flag, value, "busybox", "true"]);
        assert_eq!(run.code, 2, "{flag} {value}: {}", run.stderr);
    }
    assert_eq!(node.ok(&["ps", "-aq", "-l", "e2e=wrong"]), "", "nothing is left of them");
}

#[test]
fn an_instance_that_runs_is_not_removed() {
    let Some(node) = node() else { return };
    let _it = begin(node, "busy", &[], "exec sleep 600");
    let run = node.hull(&["rm", "busy"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
}

#[test]
fn words_of_later_and_of_nobody() {
    let Some(node) = node() else { return };
    for words in [&["stack", "deploy", "-c", "x"][..], &["storage", "ls"], &["route", "--help"]] {
        let run = node.hull(words);
        assert_eq!((run.code, run.stderr.lines().count()), (1, 1), "{words:?}: {}", run.stderr);
        assert!(run.stderr.contains("not there yet"), "{}", run.stderr);
    }
    assert_eq!(node.hull(&["fly"]).code, 2);
    assert_eq!(node.hull(&["ps", "-o", "wide"]).code, 2);
}

#[test]
fn a_platform_that_does_not_answer() {
    let Some(node) = node() else { return };
    for host in ["https://127.0.0.1:1", "unix:///no/such/socket"] {
        let run = node.hull(&["--host", host, "ps"]);
        assert_eq!(run.code, 5, "{}", run.stderr);
        assert!(run.stderr.contains(host) && run.stderr.contains("try:"), "{}", run.stderr);
    }
}

#[test]
fn who_waits_for_a_place_says_why_and_goes_when_nobody_waits() {
    let Some(node) = node() else { return };
    let run = node.hull(&["run", "--rm", "--name", "huge", "--cpus", "4000", "busybox", "true"]);
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(
        run.stderr.contains("4000 processors") && run.stderr.contains("try:"),
        "{}",
        run.stderr
    );
    assert!(node.inspect("huge").is_none_or(|it| it["meta"]["deleted"].is_string()));
}
