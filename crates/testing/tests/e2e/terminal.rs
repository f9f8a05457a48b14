//! Instances at a terminal: keys, sizes, leaving and coming back.

use testing::node::{Node, until};
use testing::terminal::Terminal;

use super::process::{Named, begin, node, sh};

fn open(node: &Node, arguments: &[&str]) -> Terminal {
    Terminal::open(&node.command(arguments), 80, 24).unwrap()
}

#[test]
fn a_shell_at_a_terminal() {
    let Some(node) = node() else { return };
    let mut shell = open(node, &["run", "-it", "--rm", "busybox", "sh"]);
    shell.expect("/ # ");
    assert!(shell.is_raw(), "every key goes to the process");
    shell.send("stty size; tty\r");
    shell.expect("24 80\r\n/dev/pts/0\r\n");
    shell.resize(100, 30).unwrap();
    shell.send("until stty size | grep '30 100'; do usleep 10000; done\r");
    shell.expect("\r\n30 100\r\n");
    // Quotes tell what is printed from what is echoed.
    shell.send("sh -c 'trap \"echo in\"ter\"rupted; exit\" INT; echo at\"\"work; while :; do usleep 10000; done'\r");
    shell.expect("atwork");
    shell.send("\x03");
    shell.expect("interrupted");
    shell.send("exit 7\r");
    assert_eq!(shell.wait(), 7);
    assert!(!shell.is_raw(), "the terminal is as it was");
}

#[test]
fn a_further_shell_at_a_terminal() {
    let Some(node) = node() else { return };
    let _it = begin(node, "tty-exec", &[], "exec sleep 600");
    let mut shell = open(node, &["exec", "-it", "tty-exec", "sh"]);
    shell.expect("/ # ");
    shell.send("stty size; exit 9\r");
    shell.expect("24 80");
    assert_eq!(shell.wait(), 9);
    assert!(!shell.is_raw());
}

#[test]
fn left_and_come_back_to() {
    let Some(node) = node() else { return };
    let _it = Named(node, "tty-left");
    let mut shell = open(node, &["run", "-it", "--name", "tty-left", "busybox", "sh"]);
    shell.expect("/ # ");
    shell.send("X=5\r");
    shell.expect("X=5\r\n/ # ");
    shell.send("\x10\x11");
    assert_eq!(shell.wait(), 0);
    assert!(!shell.is_raw());
    assert_eq!(node.field("tty-left", "/status/phase"), "running");
    let mut again = open(node, &["attach", "--detach-keys", "ctrl-a,x", "tty-left"]);
    again.send("echo it=$X\r");
    again.expect("it=5");
    again.send("\x01x");
    assert_eq!(again.wait(), 0);
    let mut end = open(node, &["attach", "tty-left"]);
    end.send("exit 3\r");
    assert_eq!(end.wait(), 3);
    assert_eq!(node.ok(&["wait", "tty-left"]), "3");
}

#[test]
fn input_of_an_instance_that_runs() {
    let Some(node) = node() else { return };
    for round in 0..5 {
        let name = format!("fed-{round}");
        let _it = begin(node, &name, &["-i"], "read word; echo got $word; exit 4");
        let fed = node.hull_with(&["attach", &name], Some(b"words\n"));
        assert_eq!((fed.text().as_str(), fed.code), ("got words", 4), "{}", fed.stderr);
    }
    let _it = begin(node, "unfed", &[], "exec sleep 600");
    let watched = node.hull(&["exec", "-i", "unfed", "cat"]);
    assert_eq!((watched.text().as_str(), watched.code), ("", 0), "{}", watched.stderr);
}

#[test]
fn interrupting_again_and_again_leaves() {
    let Some(node) = node() else { return };
    let _it = Named(node, "deaf-ears");
    // Process 1 gets no signal that it has no handler for.
    let run = ["run", "--name", "deaf-ears", "busybox", "sh", "-c", "echo on; exec sleep 600"];
    let mut run = open(node, &run);
    run.expect("on");
    assert_eq!(run.send_to_end("\x03"), 130);
    assert_eq!(node.field("deaf-ears", "/status/phase"), "running");
}

#[test]
fn tables_fit_a_terminal() {
    let Some(node) = node() else { return };
    let name = "a-name-that-is-nearly-as-long-as-names-may-be-and-then-some";
    let ports = ["-p", "80", "-p", "81", "-p", "82", "-p", "83"];
    let _it = begin(node, name, &ports, "exec sleep 600");
    for command in [
        &["ps", "-a"][..],
        &["stats", "--no-stream"],
        &["top", name],
        &["image", "ls"],
        &["volume", "ls"],
        &["network", "ls"],
        &["node", "ls"],
        &["operation", "ls"],
        &["token", "ls"],
        &["project", "ls"],
    ] {
        let mut table = open(node, command);
        assert_eq!(table.wait(), 0, "{command:?}");
        for line in table.seen().lines() {
            assert!(line.chars().count() <= 80, "{command:?}: {line}");
        }
    }
}

#[test]
fn fast_output_is_whole() {
    let Some(node) = node() else { return };
    // A log far smaller than what is written: who watches is waited for.
    let flags = ["--log-opt", "max-size=1m", "--log-opt", "max-file=2"];
    let printed = sh(node, &flags, "seq 1 300000");
    assert!(
        printed.lines().eq((1..=300_000).map(|n| n.to_string())),
        "{} lines",
        printed.lines().count()
    );
}

#[test]
fn output_that_nobody_reads_holds_nothing_up() {
    let Some(node) = node() else { return };
    let flags = ["--log-opt", "max-size=64k", "--log-opt", "max-file=2"];
    let _it = begin(node, "unread", &flags, "seq 1 1000000");
    assert_eq!(node.ok(&["wait", "unread"]), "0");
    assert_eq!(node.ok(&["logs", "-n", "1", "unread"]), "1000000");
}

#[test]
fn a_view_of_all_is_driven_by_keys() {
    let Some(node) = node() else { return };
    let it = begin(node, "tty-view", &[], "echo printed; exec sleep 600");
    let printed: serde_json::Value =
        serde_json::from_str(&node.ok(&["top", "-o", "json"])).unwrap();
    assert!(printed.as_array().unwrap().iter().any(|row| row["name"] == "tty-view"), "{printed}");
    let mut view = open(node, &["top"]);
    view.expect("tty-view");
    assert!(view.is_raw(), "keys need no Enter");
    // Only that one, so that it is the selected one.
    view.send("/tty-view\r");
    // What stands there already is not drawn again: only texts that are wholly new are waited for.
    view.expect("\"tty-view\"");
    view.send("l");
    view.expect("printed");
    view.send("\x1b");
    view.send("x");
    view.expect("and re");
    view.send("n");
    view.expect("stays");
    assert_eq!(node.field("tty-view", "/status/phase"), "running");
    view.send("x");
    view.expect("and re");
    view.send("y");
    until("it is gone", || (node.hull(&["inspect", "tty-view"]).code != 0).then_some(()));
    view.send("q");
    assert_eq!(view.wait(), 0);
    assert!(!view.is_raw(), "the terminal is as it was");
    drop(it);
    let nowhere = node.hull(&["top"]);
    assert!(nowhere.code != 0 && nowhere.stderr.contains("hull stats"), "{}", nowhere.stderr);
}
