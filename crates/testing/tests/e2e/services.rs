//! Services: instances kept of a template, and changed to another.

use std::time::Duration;

use serde_json::{Value, json};
use testing::node::{Node, until, within_or};

use super::process::{able, node};

/// A service that goes with the test.
struct Kept<'a>(&'a Node, &'a str);

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.0.hull(&["service", "rm", self.1]);
    }
}

const LOOP: &str = "trap 'exit 0' TERM; while :; do usleep 50000; done";

fn make<'a>(node: &'a Node, name: &'a str, flags: &[&str]) -> Kept<'a> {
    let words = ["service", "create", "--name", name];
    node.ok(&[&words[..], flags, &["busybox", "sh", "-c", LOOP]].concat());
    Kept(node, name)
}

fn show(node: &Node, name: &str) -> Value {
    serde_json::from_str(&node.ok(&["service", "show", name, "-o", "json"])).unwrap()
}

/// Name, revision and phase of each instance.
fn members(node: &Node, name: &str) -> Vec<(String, String, String)> {
    let all: Value =
        serde_json::from_str(&node.ok(&["service", "ps", name, "-o", "json"])).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |it: &Value| {
        let revision = text(&it["meta"]["labels"]["io.monohull.service.revision"]);
        (text(&it["meta"]["name"]), revision, text(&it["status"]["phase"]))
    };
    all.as_array().unwrap().iter().map(row).collect()
}

/// All that is known of a service and its instances, for who has to find out why it is not as it should be.
pub fn everything(node: &Node, name: &str) -> String {
    let all: Value =
        serde_json::from_str(&node.ok(&["service", "ps", name, "-o", "json"])).unwrap();
    let mut service = show(node, name)["status"].clone();
    service.as_object_mut().unwrap().remove("revisions");
    let row = |it: &Value| {
        let revision = &it["meta"]["labels"]["io.monohull.service.revision"];
        let (meta, status) = (&it["meta"], &it["status"]);
        format!("{} r{revision} deleted {} {status}", meta["name"], meta["deleted"])
    };
    let rows: Vec<_> = all.as_array().unwrap().iter().map(row).collect();
    format!("{service}\n{}\n{}", rows.join("\n"), node.log())
}

fn names(node: &Node, name: &str) -> Vec<String> {
    members(node, name).into_iter().map(|(name, ..)| name).collect()
}

#[test]
fn so_many_are_kept_and_answer_to_one_name() {
    let Some(node) = node() else { return };
    let it = make(node, "kept", &["--replicas", "2"]);
    assert_eq!(names(node, "kept"), ["kept-1", "kept-2"]);
    let before = node.inspect("kept-1").unwrap()["meta"]["id"].clone();
    node.ok(&["rm", "-f", "kept-1"]);
    until("another one takes its slot", || {
        let now = node.inspect("kept-1")?;
        (now["meta"]["id"] != before && now["status"]["phase"] == "running").then_some(())
    });
    // Scaling waits until it is so.
    node.ok(&["service", "scale", "kept=3"]);
    assert_eq!(show(node, "kept")["status"]["ready"], json!(3));
    until("all three answer to their common name", || {
        let told = node.hull(&["run", "--rm", "busybox", "nslookup", "tasks.kept"]);
        (told.text().matches("Name:\ttasks.kept").count() == 3).then_some(())
    });
    node.ok(&["service", "scale", "kept=1"]);
    until("the others are gone", || (names(node, "kept") == ["kept-1"]).then_some(()));
    let refused = node.hull(&["service", "scale", "kept=many"]);
    assert!(refused.code != 0 && refused.stderr.contains("web=5"), "{}", refused.stderr);
    drop(it);
    assert!(node.inspect("kept-1").is_none(), "its instances go with a service");
}

#[test]
fn instances_are_changed_one_after_the_other() {
    let Some(node) = node() else { return };
    let _it = make(node, "rolls", &["--replicas", "3"]);
    node.ok(&["service", "update", "-d", "-e", "STEP=2", "rolls"]);
    until("all are of the second revision", || {
        let service = show(node, "rolls");
        let (ready, phase) = (&service["status"]["ready"], &service["status"]["phase"]);
        assert!(ready.as_u64().unwrap() >= 2, "{ready} run");
        let present = service["status"]["revision"] == 2 && service["status"]["updated"] == 3;
        (phase == "steady" && present).then_some(())
    });
    let step = || node.ok(&["exec", "rolls-1", "sh", "-c", "echo step $STEP"]);
    assert_eq!(step(), "step 2");
    node.ok(&["service", "rollback", "rolls"]);
    assert_eq!(step(), "step");
    let history = node.ok(&["service", "history", "rolls"]);
    assert!(history.lines().count() == 4 && history.contains("present"), "{history}");
    let same = node.ok(&["service", "update", "--plan", "-e", "STEP=4", "rolls"]);
    assert!(same.contains("STEP=4"), "{same}");
    assert_eq!(show(node, "rolls")["status"]["revision"], json!(3));
}

#[test]
fn what_fails_is_held_or_taken_back() {
    let Some(node) = node() else { return };
    let _it = make(node, "fragile", &["--replicas", "2"]);
    let update = |policy: &str| {
        // It never runs, not for a moment.
        let bad = ["service", "update", "--on-failure", policy, "--image", "no-such-image"];
        node.hull(&[&bad[..], &["fragile"]].concat())
    };
    let held = update("pause");
    assert!(held.code != 0 && held.stderr.contains("failed"), "{}", held.stderr);
    let running = |count: usize| {
        let all = members(node, "fragile");
        let good = all.iter().filter(|(_, revision, phase)| revision != "2" && phase == "running");
        assert_eq!(good.count(), count, "{all:?}");
    };
    running(1);
    node.ok(&["service", "rollback", "fragile"]);
    running(2);
    let back = update("rollback");
    assert!(back.code != 0 && back.stderr.contains("was taken back"), "{}", back.stderr);
    // What was never changed is left alone.
    let all = members(node, "fragile");
    let good =
        |(_, revision, phase): &(String, String, String)| revision != "4" && phase == "running";
    assert!(all.len() == 2 && all.iter().all(good), "{all:?}");
}

#[test]
fn a_job_ends_when_its_runs_have() {
    let Some(node) = node() else { return };
    let it = Kept(node, "sum");
    let job =
        ["service", "create", "--name", "sum", "--job", "--completions", "3", "--at-once", "2"];
    node.ok(&[&job[..], &["busybox", "true"]].concat());
    assert_eq!(show(node, "sum")["status"]["succeeded"], json!(3));
    assert_eq!(names(node, "sum"), ["sum-1", "sum-2", "sum-3"]);
    drop(it);
    let it = Kept(node, "lost");
    let job =
        ["service", "create", "--name", "lost", "--job", "--retries", "0", "busybox", "false"];
    let lost = node.hull(&job);
    assert!(lost.code != 0 && lost.stderr.contains("1 runs failed"), "{}", lost.stderr);
    drop(it);
}

#[test]
fn a_rollout_outlives_the_platform() {
    if !able() {
        return;
    }
    let node = Node::start().unwrap();
    let _it = make(&node, "lasting", &["--replicas", "4"]);
    node.ok(&["service", "update", "-d", "-e", "STEP=2", "lasting"]);
    for least in 1..4 {
        until("it goes on", || {
            let updated = show(&node, "lasting")["status"]["updated"].as_u64()?;
            (updated >= least).then_some(())
        });
        node.kill_daemon().unwrap();
        node.await_ready();
    }
    let steady = || {
        let status = &show(&node, "lasting")["status"];
        (status["phase"] == "steady" && status["revision"] == 2).then_some(())
    };
    within_or(Duration::from_secs(120), "all are changed, each once", steady, || {
        everything(&node, "lasting")
    });
    let all = members(&node, "lasting");
    let wanted = |(index, (name, revision, _)): (usize, &(String, String, String))| {
        *name == format!("lasting-{}", index + 1) && revision == "2"
    };
    assert!(all.len() == 4 && all.iter().enumerate().all(wanted), "{all:?}");
}
