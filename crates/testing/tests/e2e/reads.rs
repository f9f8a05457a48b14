//! What is said of instances: lists, numbers, processes, events, in every form.

use std::process::Stdio;

use serde_json::Value;
use testing::node::until;

use super::process::{begin, node};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_list_in_every_form() {
    let Some(node) = node() else { return };
    let _it = begin(node, "forms", &["-l", "e2e=forms", "-p", "80"], "exec sleep 600");
    let list = |more: &[&str]| node.ok(&[&["ps", "-l", "e2e=forms"], more].concat());
    assert_eq!(list(&["-o", "name"]), "forms");
    assert_eq!(json(&list(&["-o", "json"]))[0]["meta"]["name"], "forms");
    assert!(list(&["-o", "yaml"]).contains("name: forms"));
    let table = list(&[]);
    let (head, row) = table.split_once('\n').unwrap();
    assert!(head.starts_with("NAME") && row.starts_with("forms"), "{table}");
    assert!(row.contains("running") && row.contains("->80/tcp"), "{table}");
    let id = list(&["-q", "--no-trunc"]);
    assert_eq!(id, node.field("forms", "/meta/id").as_str().unwrap());
    assert_eq!(list(&["-f", "status.phase=exited", "-q"]), "");
    // A field that nothing has would select nothing, silently.
    assert_eq!(node.hull(&["ps", "-f", "name=forms"]).code, 2);
    assert_eq!(node.hull(&["--project", "nobodys", "ps"]).code, 3);
}

#[test]
fn the_list_is_watched() {
    let Some(node) = node() else { return };
    let mut watch = node.command(&["ps", "-a", "-w", "-o", "json", "-l", "e2e=watched"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let seen = std::io::BufReader::new(watch.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut phases = Vec::new();
        for line in std::io::BufRead::lines(seen) {
            let change = json(&line.unwrap());
            let removed = change["type"] == "removed";
            phases.push(change["object"]["status"]["phase"].as_str().unwrap_or("").to_owned());
            if removed {
                break;
            }
        }
        phases
    });
    drop(begin(node, "watched", &["-l", "e2e=watched"], "exec sleep 600"));
    until("the removal is seen", || reader.is_finished().then_some(()));
    let phases = reader.join().unwrap();
    assert!(phases.iter().any(|phase| phase == "running"), "{phases:?}");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn what_is_used_is_measured() {
    let Some(node) = node() else { return };
    let _it = begin(node, "uses", &["-m", "64m"], "while :; do :; done");
    let stats = until("it uses a processor", || {
        let all = json(&node.ok(&["stats", "--no-stream", "-o", "json", "uses"]));
        (all[0]["cpus"].as_f64()? > 0.1).then_some(all)
    });
    let stats = &stats[0]["stats"];
    assert_eq!(stats["memoryLimit"], 64 << 20);
    assert!(stats["memory"].as_u64().unwrap() > 0 && stats["pids"].as_u64().unwrap() > 0);
    let table = node.ok(&["stats", "--no-stream", "uses"]);
    assert!(table.lines().nth(1).is_some_and(|row| row.starts_with("uses")), "{table}");
    assert_eq!(node.hull(&["stats", "--no-stream", "nobody"]).code, 3);
}

#[test]
fn the_processes() {
    let Some(node) = node() else { return };
    let _it = begin(node, "procs", &[], "sleep 601 & exec sleep 602");
    let table = until("both are there", || {
        let table = node.ok(&["top", "procs"]);
        (table.contains("sleep 601") && table.contains("sleep 602")).then_some(table)
    });
    assert!(table.starts_with("UID"), "{table}");
    let some = node.ok(&["top", "procs", "--", "-eo", "pid,comm"]);
    assert_eq!(
        some.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["PID", "COMMAND"]
    );
    assert_eq!(some.lines().count(), 3, "{some}");
}

#[test]
fn what_happened_is_told() {
    let Some(node) = node() else { return };
    let follow = ["events", "-f", "-o", "json", "--filter", "object=told"];
    let mut follower = node.command(&follow).stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(follower.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let mut actions = Vec::new();
        for line in std::io::BufRead::lines(lines) {
            let event = json(&line.unwrap());
            let action = event["action"].as_str().unwrap().to_owned();
            let last = action == "destroy";
            actions.push((action, event));
            // One that was there before the follower is not told whole.
            if last && actions[0].0 == "create" {
                break;
            }
            if last {
                actions.clear();
            }
        }
        actions
    });
    // A follower sees what happens from when it is there.
    until("the follower is there", || {
        drop(begin(node, "told", &[], "exit 3"));
        reader.is_finished().then_some(())
    });
    let events = reader.join().unwrap();
    let actions: Vec<_> = events.iter().map(|(action, _)| action.as_str()).collect();
    assert!(actions.ends_with(&["destroy"]), "{actions:?}");
    let died = events.iter().find(|(action, _)| action == "die").map(|(_, event)| event).unwrap();
    assert_eq!(died["details"]["exitCode"], "3");
    // The same again, from the past: since its death, until its death.
    let time = died["time"].as_str().unwrap();
    let past =
        ["events", "--since", time, "--until", time, "-o", "json", "--filter", "object=told"];
    assert_eq!(json(&node.ok(&past))["action"], "die");
    let actions = ["events", "--filter", "object=told", "--filter", "action=die", "-n", "1"];
    let told = node.ok(&actions);
    assert!(told.contains("instance told  die") && told.contains("exitCode=3"), "{told}");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn everything_is_known_of_an_instance() {
    let Some(node) = node() else { return };
    let _it = begin(node, "known", &["-m", "64m", "-e", "A=1"], "exec sleep 600");
    let all = json(&node.ok(&["inspect", "known", "known"]));
    assert_eq!(all.as_array().map(Vec::len), Some(2), "{all}");
    assert_eq!(node.field("known", "/spec/containers/0/resources/memory"), Value::from(64 << 20));
    assert!(node.ok(&["inspect", "-o", "yaml", "known"]).contains("A=1"));
    assert_eq!(node.ok(&["inspect", "-o", "name", "known"]), "known");
    let some = node.hull(&["inspect", "known", "nobody"]);
    assert_eq!(some.code, 3, "{}", some.stderr);
}
